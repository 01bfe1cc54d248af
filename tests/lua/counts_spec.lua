-- How many launches a training step takes, exactly: a pass that does more changes the figures here.

local mare = require "mare"
local check = require "check"

package.path = (arg[0]:match("^(.*/)") or "./") .. "../../scripts/benchmarks/?.lua;" .. package.path
local nets = require "nets"

-- Drivers that have uniform loads lay out the factors of products, in launches that are not counted
-- here.
if not os.getenv "MARE_CAPS" then mare.init { caps = "-uniform_loads" } end

-- Launches of a step with no pass and with all, on a CPU's driver (a GPU's takes fewer). Without
-- passes, every node that is not a view takes its own; an update of Adam takes 13 a parameter, of
-- AdamW 15, of SGD with momentum and decay 6.
local launches = {
    -- 6 parameters (78); 35 for three layers, loss and gradients
    mlp = { none = 113, all = 22 },
    -- 8 parameters (104); 15 of convolutions with their gradients, 42 for the rest
    cnn = { none = 161, all = 43 },
    -- 11 parameters (143); 650 of the recurrence (64 steps, 2 layers, forward and back), 47 others
    lstm = { none = 840, all = 696 },
    -- 52 parameters (780); 75 products, 31 norms and softmaxes, 170 others
    gpt = { none = 1056, all = 250 },
}

-- What the counters gain in one step.
local function gained(step)
    local before, gain = mare.stats(), {}
    step()
    for name, value in pairs(mare.stats()) do gain[name] = value - before[name] end
    return gain
end

describe("a training step", function()
    for name, expected in pairs(launches) do
        it("takes its number of launches and, once it is known, no plan and no pipeline: " .. name,
            function()
                for _, variable in ipairs { "MARE_EAGER", "MARE_CHECK", "MARE_CAPS" } do
                    if os.getenv(variable) then skip(variable .. " changes what is launched") end
                end
                local net = nets[name]()
                mare.set_passes "all"
                local gain
                for step = 1, 3 do
                    net.opt.groups[1].lr = 1e-3 / step
                    gain = gained(net.step)
                end
                check.equal(gain.launches, expected.all, "launches")
                check.equal(gain.plans, 0, "plans")
                check.equal(gain.pipelines, 0, "pipelines")
                check.equal(gain.shaders_compiled + gain.tuned, 0, "kernels")
                mare.set_passes "none"
                check.equal(gained(net.step).launches, expected.none, "launches without passes")
                mare.set_passes(os.getenv "MARE_PASSES" or "all")
            end)
    end
end)
