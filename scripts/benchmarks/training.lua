--- The families of training steps: step, replay, host, memory.

local mare = require "mare"
local measure, report = require "measure", require "report"

local training = {}

local WARM = 2 -- steps until a plan is known and its kernels are made

-- So many steps are timed together that small nets are timed at all.
local STEPS = { mlp = 100 }
local FEW = 3

-- Seconds of a step with these passes.
local function with(name, net, passes)
    return function()
        mare.set_passes(passes)
        for _ = 1, WARM do net.step() end
        return measure.each(STEPS[name] or FEW, net.step)
    end
end

-- Seconds of elementwise launches in a step. With -attach all elementwise work is in these.
local function elementwise(name, net, passes)
    return function()
        mare.set_passes(passes)
        for _ = 1, WARM do net.step() end
        local steps = STEPS[name] or FEW
        local profile = mare.profile(function()
            for _ = 1, steps do net.step() end
        end)
        local sum = 0
        for _, site in ipairs(profile.sites) do
            if site.kernel:find("elementwise/", 1, true) then sum = sum + site.seconds end
        end
        return sum / steps
    end
end

function training.step(name, net, rounds)
    local none, all, ratio, processor = measure.turns(rounds, with(name, net, "none"),
        with(name, net, "all"))
    local part_none, part_fused, part_ratio = measure.turns(rounds, elementwise(name, net, "none"),
        elementwise(name, net, "-attach"))
    report.add("step", name, {
        { "all passes", 1e3 * all, "ms" }, { "none", 1e3 * none, "ms" }, { "ratio", ratio, "" },
        { "of processor time", processor, "" }, { net.unit, net.items / all, "a second" },
        { "elementwise work, fused", 1e3 * part_fused, "ms" }, { "not", 1e3 * part_none, "ms" },
        { "ratio of these", part_ratio, "" },
    })
end

function training.replay(name, net, rounds)
    local anew, again, ratio, processor = measure.turns(rounds, with(name, net, "-replay"),
        with(name, net, "all"))
    report.add("replay", name, { { "replay", 1e3 * again, "ms" },
        { "recorded anew", 1e3 * anew, "ms" }, { "ratio", ratio, "" },
        { "of processor time", processor, "" } })
end

-- The host's time: of a step that begins when the device is idle, until the script has it back.
local function host_time(net, passes, steps)
    return function()
        mare.set_passes(passes)
        for _ = 1, WARM do net.step() end
        local times = {}
        for i = 1, steps do
            mare.synchronize()
            local start = mare.fs.time()
            net.step()
            times[i] = mare.fs.time() - start
        end
        return measure.median(times)
    end
end

function training.host(name, net, rounds)
    local steps = STEPS[name] or 2 * FEW
    local anew, again, ratio = measure.turns(rounds, host_time(net, "-replay", steps),
        host_time(net, "all", steps))
    local profile = mare.profile(function()
        for _ = 1, steps do net.step() end
    end)
    local idle = 1 - (profile.busy + profile.copying) / profile.wall
    report.add("host", name, { { "replay", 1e6 * again, "us" },
        { "recorded anew", 1e6 * anew, "us" }, { "ratio", ratio, "" },
        { "device idle, profiled", 100 * idle, "%" } })
end

function training.memory(name, net)
    mare.set_passes "all"
    for _ = 1, WARM do net.step() end
    mare.synchronize()
    mare.trim_memory()
    local resident = mare.memory().used
    mare.reset_peak_memory()
    for _ = 1, FEW do net.step() end
    mare.synchronize()
    local plan, peak = mare.plan(), mare.memory().peak
    report.add("memory", name, {
        { "launches", plan.launches, "" }, { "arena", plan.arena / 1e6, "MB" },
        { "unpacked", plan.sum / 1e6, "MB" }, { "bound", plan.bound / 1e6, "MB" },
        { "arena over bound", plan.arena / plan.bound, "" },
        { "resident", resident / 1e6, "MB" }, { "peak", peak / 1e6, "MB" },
        { "peak over resident and bound", peak / (resident + plan.bound), "" },
    })
end

return training
