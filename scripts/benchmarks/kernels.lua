--- The families gemm and add: single operations.

local mare = require "mare"
local measure, report = require "measure", require "report"

local kernels = {}

local WARM, RUNS = 3, 9 -- the tuner chooses while it warms up

-- Median seconds of evaluating what make() gives.
local function seconds(make)
    local function run()
        local y <close> = make()
        y:eval()
    end
    measure.each(WARM, run)
    local times = {}
    for i = 1, RUNS do times[i] = measure.each(1, run) end
    return measure.median(times)
end

function kernels.gemm()
    for _, n in ipairs { 512, 1024 } do
        local a, b = mare.randn(n, n):eval(), mare.randn(n, n):eval()
        local s = seconds(function() return a:matmul(b) end)
        report.add("gemm", n .. "^3", { { "f32", 2 * n ^ 3 / s / 1e9, "GFLOP/s" } })
    end
end

function kernels.add()
    local n = 16 * 1024 * 1024
    local a, b = mare.rand(n):eval(), mare.rand(n):eval()
    local s = seconds(function() return a:add(b) end)
    report.add("add", "16.8 M", { { "f32", 3 * 4 * n / s / 1e9, "GB/s" } })
end

return kernels
