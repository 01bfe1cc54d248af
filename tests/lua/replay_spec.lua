-- Long loops: once their plan is known nothing is made any more, and memory stays flat.

local mare = require "mare"
local check = require "check"
local nn = require "mare.nn"
local optim = require "mare.optim"

local function small_loop()
    mare.manual_seed(1)
    local model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    local opt = optim.Adam(model:parameters(), { lr = 1e-3 })
    local loss_of = nn.MSELoss()
    return function(i)
        opt.groups[1].lr = 1e-3 / i
        local x, y = mare.randn(4, 4), mare.tensor { { 1, i % 3 }, { 0, 1 }, { 1, 0 }, { 0, 0 } }
        opt:zero_grad()
        local loss = loss_of(model(x), y)
        loss:backward()
        opt:step(loss)
    end
end

-- Kibibytes of the process in memory; 0 where the system does not tell, with a sanitizer, which
-- keeps what was freed, and with the validation layer, whose own notes of submissions grow.
local function resident()
    if os.getenv "MARE_VALIDATE" then return 0 end
    local maps = io.open "/proc/self/maps"
    local text = maps and maps:read "a" or "asan"
    if maps then maps:close() end
    if text:find("asan", 1, true) then return 0 end
    local file = io.open "/proc/self/statm"
    if not file then return 0 end
    local _, pages = file:read("n", "n")
    file:close()
    return pages * 4
end

describe("a long loop", function()
    it("of 10,000 steps with a rate that changes keeps its memory, and makes nothing", function()
        if os.getenv "MARE_EAGER" or os.getenv "MARE_CHECK" then skip "not one plan a step" end
        local step, most = small_loop(), {}
        -- The most of each figure over the steps of a window.
        local function window(from, to)
            local seen = { nodes = 0, bytes = 0, lua = 0, resident = 0 }
            for i = from, to do
                step(i)
                local m = mare.memory()
                seen.nodes = math.max(seen.nodes, mare.stats().nodes)
                seen.bytes = math.max(seen.bytes, m.used + m.cached)
                seen.lua = math.max(seen.lua, collectgarbage "count")
                if i % 100 == 0 then seen.resident = math.max(seen.resident, resident()) end
            end
            return seen
        end
        window(1, 2)
        local before = mare.stats()
        most.early = window(3, 3000)
        window(3001, 7000)
        most.late = window(7001, 10000)
        local after = mare.stats()
        for _, name in ipairs { "plans", "pipelines", "shaders_compiled", "tuned" } do
            check.equal(after[name], before[name], name)
        end
        check.equal(after.hits - before.hits, 9998, "hits")
        for _, name in ipairs { "nodes", "bytes", "lua" } do
            if most.late[name] > most.early[name] * 1.05 then
                error(("%s: %g at first, %g at last"):format(name, most.early[name],
                    most.late[name]))
            end
        end
        -- A driver and the C library may keep some of what they were given.
        if most.late.resident > most.early.resident + 4096 then
            error(("resident: %d KiB at first, %d at last"):format(most.early.resident,
                most.late.resident))
        end
    end)
end)
