--- The family start: processes that run examples/mnist for one step.

local measure, report = require "measure", require "report"
local mare = require "mare"

local MARE, ROOT = arg[-1], arg[0]:match("^(.*)scripts/") or "./"

-- Seconds of a process whose caches, the driver's too, are in a folder.
local function seconds(folder)
    local command = ("MARE_CACHE='%s/mare' MESA_SHADER_CACHE_DIR='%s/mesa' '%s' "
        .. "'%sexamples/mnist/train.lua' --digits --limit 64 --out '%s/out' >'%s/log' 2>&1"):format(
        folder, folder, MARE, ROOT, folder, folder)
    local start = mare.fs.time()
    if not os.execute(command) then
        error("examples/mnist failed:\n" .. mare.fs.read(folder .. "/log"), 0)
    end
    return mare.fs.time() - start
end

return function(rounds)
    local folder
    local function first()
        folder = os.tmpname()
        os.remove(folder)
        mare.fs.mkdir(folder)
        return seconds(folder)
    end
    local empty, warm, ratios = {}, {}, {}
    for i = 1, rounds do
        empty[i] = first()
        warm[i] = seconds(folder)
        ratios[i] = empty[i] / warm[i]
        os.execute("rm -rf '" .. folder .. "'")
    end
    report.add("start", "mnist", { { "empty cache", measure.median(empty), "s" },
        { "warm cache", measure.median(warm), "s" }, { "ratio", measure.median(ratios), "" } })
end
