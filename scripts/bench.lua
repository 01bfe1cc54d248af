-- See scripts/bench.
local mare = require "mare"
local nn, optim = mare.nn, mare.optim

local as_json = ... == "--json"
local results = {}

--- Median seconds of one call of `run`, after warm-up (compilation, tuning).
local function median(run, runs)
    for _ = 1, 3 do run() end
    mare.synchronize()
    local times = {}
    for i = 1, runs do
        local start = mare.fs.time()
        run()
        mare.synchronize()
        times[i] = mare.fs.time() - start
    end
    table.sort(times)
    return times[(#times + 1) // 2]
end

local function report(name, value, unit)
    results[#results + 1] = string.format('"%s": {"value": %.6g, "unit": "%s"}', name, value, unit)
    if not as_json then print(string.format("%-34s %10.3f %s", name, value, unit)) end
end

local device = mare.device()
if not as_json then print(device.name .. ", " .. device.driver) end

for _, n in ipairs { 512, 1024 } do
    local a, b = mare.randn(n, n), mare.randn(n, n)
    mare.eval(a, b)
    local seconds = median(function()
        local c <close> = a:matmul(b)
        c:eval()
    end, 9)
    report(string.format("matmul %d^3 f32", n), 2 * n ^ 3 / seconds / 1e9, "GFLOP/s")
end

do
    local n = 16 * 1024 * 1024
    local a, b = mare.rand(n), mare.rand(n)
    mare.eval(a, b)
    local seconds = median(function()
        local c <close> = a:add(b)
        c:eval()
    end, 9)
    report("add, 16.8 M elements f32", 3 * 4 * n / seconds / 1e9, "GB/s")
end

-- The network of examples/mnist, batch 64.
do
    local model = nn.Sequential {
        nn.Conv2d(1, 32, 3, { padding = 1 }), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, { padding = 1 }), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
    }
    local opt = optim.Adam(model:parameters(), { lr = 1e-3 })
    local x, y = mare.rand(64, 1, 28, 28), mare.randperm(64) % 10
    mare.eval(x, y)
    local seconds = median(function()
        opt:zero_grad()
        local loss = model(x):cross_entropy(y)
        loss:backward()
        opt:step()
    end, 15)
    report("MNIST training step, batch 64", 1 / seconds, "steps/s")
    report("MNIST training", 64 / seconds, "images/s")
end

if as_json then print("{" .. table.concat(results, ", ") .. "}") end
