--- The families of training steps: train, step, replay, host, memory.

local mare = require "mare"
local measure, report = require "measure", require "report"

local training = {}

local WARM = 2 -- steps until a plan is known and its kernels are made

-- So many steps are timed together that small nets are timed at all.
local STEPS = { mlp = 100 }
local FEW = 3

-- Seconds of a step with these passes; compiled: as mare.compile runs it.
local function with(name, net, passes, compiled)
    return function()
        mare.set_passes(passes)
        local step = compiled and net.compiled or net.step
        for _ = 1, WARM do step() end
        return measure.each(STEPS[name] or FEW, step)
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
    local times, processor = measure.rounds(rounds, { with(name, net, "all"),
        with(name, net, "none"), with(name, net, "all", true) })
    local part = measure.rounds(rounds, { elementwise(name, net, "-attach"),
        elementwise(name, net, "none") })
    local all = measure.median(times[1])
    report.add("step", name, {
        { "all passes", 1e3 * all, "ms" }, { "none", 1e3 * measure.median(times[2]), "ms" },
        { "ratio", measure.ratio(times[2], times[1]), "" },
        { "of processor time", measure.ratio(processor[2], processor[1]), "" },
        { net.unit, net.items / all, "a second" },
        { "compiled", 1e3 * measure.median(times[3]), "ms" },
        { "all passes over compiled", measure.ratio(times[1], times[3]), "" },
        { "elementwise work, fused", 1e3 * measure.median(part[1]), "ms" },
        { "not", 1e3 * measure.median(part[2]), "ms" },
        { "ratio of these", measure.ratio(part[2], part[1]), "" },
    })
end

-- Labels are drawn for each step, as when one trains; the time for that is the step's.
local function steps_for(net, step, budget)
    return function()
        mare.set_passes "all"
        for _ = 1, WARM do step() end
        local seconds, processor = measure.samples(budget, function()
            return measure.each(1, function()
                net.draw()
                step()
            end)
        end)
        return measure.median(seconds), measure.median(processor)
    end
end

-- Whole training steps a second, to be laid beside what other programs make of the same nets.
function training.train(name, net, rounds, budget)
    local times, processor = measure.rounds(rounds, { steps_for(net, net.step, budget),
        steps_for(net, net.compiled, budget) })
    local plain, compiled = measure.median(times[1]), measure.median(times[2])
    report.add("train", name, {
        { "steps", 1 / plain, "a second" }, { net.unit, net.items / plain, "a second" },
        { "compiled steps", 1 / compiled, "a second" },
        { "compiled over plain", measure.ratio(times[1], times[2]), "" },
        { "processor a step", 1e3 * measure.median(processor[1]), "ms" },
        { "parameters", net.model:num_parameters(), "" },
    })
end

function training.replay(name, net, rounds)
    local times, processor = measure.rounds(rounds, { with(name, net, "all"),
        with(name, net, "-replay") })
    report.add("replay", name, { { "replay", 1e3 * measure.median(times[1]), "ms" },
        { "recorded anew", 1e3 * measure.median(times[2]), "ms" },
        { "ratio", measure.ratio(times[2], times[1]), "" },
        { "of processor time", measure.ratio(processor[2], processor[1]), "" } })
end

-- The host's time: of a step that begins when the device is idle, until the script has it back.
local function host_time(step, passes, steps)
    return function()
        mare.set_passes(passes)
        for _ = 1, WARM do step() end
        local times = {}
        for i = 1, steps do
            mare.synchronize()
            local start = mare.fs.time()
            step()
            times[i] = mare.fs.time() - start
        end
        return measure.median(times)
    end
end

function training.host(name, net, rounds)
    local steps = STEPS[name] or 2 * FEW
    local times = measure.rounds(rounds, { host_time(net.step, "all", steps),
        host_time(net.step, "-replay", steps), host_time(net.compiled, "all", steps) })
    local profile = mare.profile(function()
        for _ = 1, steps do net.step() end
    end)
    local idle = 1 - (profile.busy + profile.copying) / profile.wall
    report.add("host", name, { { "replay", 1e6 * measure.median(times[1]), "us" },
        { "recorded anew", 1e6 * measure.median(times[2]), "us" },
        { "ratio", measure.ratio(times[2], times[1]), "" },
        { "compiled", 1e6 * measure.median(times[3]), "us" },
        { "replay over compiled", measure.ratio(times[1], times[3]), "" },
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
