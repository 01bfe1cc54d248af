-- See scripts/bench.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path

local mare = require "mare"
local compare, json, options, svg = require "compare", require "json", require "options",
    require "svg"
local kernels, nets, report = require "kernels", require "nets", require "report"
local start, training = require "start", require "training"

local STEPS = { "train", "step", "replay", "host", "memory" }
local NETS = { "cnn", "mlp", "lstm", "gpt", "resnet" }
-- Without a name: what takes little time on any device; and nets that are trained elsewhere too.
local USUAL, TRAINED = { "cnn", "mlp", "lstm", "gpt" }, { "cnn", "lstm", "gpt", "resnet" }

local families = table.move(kernels.families, 1, #kernels.families, 1, {})
table.move(STEPS, 1, #STEPS, #families + 1, families)
families[#families + 1] = "start"

local function fail(message)
    io.stderr:write("bench: ", message, "\n")
    os.exit(2)
end

local chosen, message = options.parse(arg, families, NETS)
if not chosen then fail(message) end
report.quiet = chosen.json == "-"

-- Read before anything is measured: a file that is no use is not found out an hour later.
local earlier
if chosen.vs then
    local ok, run = pcall(function() return json.decode(mare.fs.read(chosen.vs)) end)
    if not ok or type(run) ~= "table" or type(run.rows) ~= "table" then
        fail(("--vs: %s is no file of --json (%s)"):format(chosen.vs, tostring(run)))
    end
    earlier = run
end

local device = mare.device()
local run = { device = device.name, driver = device.driver, rows = report.rows }

local function any_of(list)
    for _, name in ipairs(list) do
        if chosen.families[name] then return true end
    end
    return false
end

local function run_kernels()
    local bandwidth, flops = mare.profiler.peaks()
    run.limits = { bandwidth = bandwidth, flops = flops }
    report.head(run.limits)
    kernels.run(chosen.families, { match = chosen.match, type = chosen.type,
        seconds = chosen.seconds, limits = run.limits })
end

-- Every chosen family of steps on every chosen net. A net is made once, and given back.
local function run_steps()
    for _, name in ipairs(NETS) do
        local net
        for _, family in ipairs(STEPS) do
            local list = #chosen.nets > 0 and chosen.nets or family == "train" and TRAINED or USUAL
            local wanted = chosen.families[family]
                and table.concat(list, " "):find("%f[%w]" .. name .. "%f[%W]")
            if wanted then
                local ok, why = pcall(function()
                    net = net or nets[name]()
                    training[family](name, net, chosen.rounds, chosen.seconds)
                end)
                if not ok then report.failed(family, name, tostring(why)) end
            end
        end
        net = nil
        collectgarbage()
    end
    mare.set_passes "all"
end

if not report.quiet then print(device.name .. ", " .. device.driver) end
if any_of(kernels.families) then run_kernels() end
if any_of(STEPS) then run_steps() end
if chosen.families.start then
    local ok, why = pcall(start, chosen.rounds)
    if not ok then report.failed("start", "mnist", tostring(why)) end
end

local function write(path, text)
    if path == "-" then io.stdout:write(text) else mare.fs.write(path, text) end
end

if chosen.json then write(chosen.json, json.encode(run) .. "\n") end
if chosen.svg then
    write(chosen.svg, svg.bars("Share of the device's limit: " .. run.device, run.rows))
end
if earlier then print("\n" .. compare.text(run, earlier)) end
