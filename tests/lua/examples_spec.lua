-- The small examples reach what their lines in examples/README.md promise.

local mare = require "mare"
local check = require "check"

local examples = arg[0]:match("^(.*/)tests/lua/") or "./"

-- Runs an example; returns what it printed, a list of values a call.
local function run(name, file)
    local printed = {}
    local env = setmetatable({
        print = function(...) printed[#printed + 1] = { ... } end,
        arg = false,
    }, { __index = _G })
    local path = ("%sexamples/%s/%s"):format(examples, name, file or "train.lua")
    local chunk = assert(loadfile(path, "t", env))
    chunk()
    return printed
end

describe("examples", function()
    it("linear regression finds slope and offset to 1e-3", function()
        local found = {}
        for _, line in ipairs(run "linear_regression") do found[line[1]] = line[2] end
        check.near(found.weight, { { 3, -2 } }, 1e-3 / 3) -- relative to 3: 1e-3
        check.near(found.bias, { 1 }, 1e-3)
    end)
    it("a kernel of one's own trains on MNIST to 90 %", function()
        local found, reason = pcall(mare.data.mnist, { limit = 10 })
        if not found then skip("no MNIST here: " .. tostring(reason)) end
        local printed = run "own_kernel"
        local last = printed[#printed]
        check.equal(last[1], "test accuracy")
        check.truthy(last[2] >= 90, ("%.2f %%: within the bar"):format(last[2]))
    end)
    it("kernels are tuned ahead, and never in a frame", function()
        local found = {}
        for _, line in ipairs(run("tune_kernels", "tune.lua")) do found[line[1]] = line[2] end
        mare.set_tuning("first use")
        check.equal(found["measured in a frame"], 0)
        check.equal(found["measured afterwards"], 0)
        check.equal(found.left, 0)
        check.truthy(found.problems > 0)
    end)
    it("xor is learned to 0.05", function()
        local printed = run "xor"
        local guesses = printed[#printed][1]
        check.truthy(mare.is_tensor(guesses), "the last thing printed")
        for i, want in ipairs { 0, 1, 1, 0 } do
            local off = math.abs(guesses:totable()[i][1] - want)
            check.truthy(off < 0.05, ("guess %d is off by %g: within the bar"):format(i, off))
        end
    end)
end)
