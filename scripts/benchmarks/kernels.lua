--- The families of single operations: what cases/*.lua lists, timed by the device.

local mare = require "mare"
local measure, report = require "measure", require "report"

local kernels = {}

---One operation on tensors of one shape.
---@class bench.case
---@field family string
---@field name string
---@field dtypes string[] it is measured in
---@field make fun(dtype: string): bench.work

---@class bench.work
---@field inputs mare.tensor[] evaluated
---@field run fun(): mare.tensor ... results, which are then evaluated; none: it evaluated itself
---@field flops? number of one run
---@field bytes? number that one run must move; if nil, all inputs are read and all results written

local SIZES = { f32 = 4, f16 = 2, bf16 = 2, i32 = 4, i8 = 1, u8 = 1, bool = 1 }

---@param tensors mare.tensor[]
---@return number
function kernels.bytes_of(tensors)
    local sum = 0
    for _, t in ipairs(tensors) do sum = sum + t:numel() * SIZES[t.dtype] end
    return sum
end

-- All families in the order of their files.
local FILES = { "products", "sequences", "rows", "moves" }

---@type bench.case[]
kernels.cases = {}
---@type string[]
kernels.families = {}
local function add(family, name, dtypes, make)
    local cases = kernels.cases
    if not cases[1] or cases[#cases].family ~= family then
        table.insert(kernels.families, family)
    end
    cases[#cases + 1] = { family = family, name = name, dtypes = dtypes, make = make }
end
for _, file in ipairs(FILES) do require("cases." .. file)(add) end

-- One run; gives its results back, so that the next one gets their memory.
local function once(work)
    local results = { work.run() }
    if #results > 0 then mare.eval(results) end
    local bytes = kernels.bytes_of(results)
    for _, t in ipairs(results) do
        local _ <close> = t
    end
    return bytes
end

-- Of `n` runs one after the other: the device's seconds in launches of one, and the processor's in
-- all that one takes.
local function timed(work, n)
    local clock = os.clock()
    local busy = mare.profile(function()
        for _ = 1, n do once(work) end
    end).busy
    return busy / n, (os.clock() - clock) / n
end

-- Short runs are timed together, so that what a profile costs by itself is spread over them.
local LONG, TOGETHER = 0.01, 32 -- seconds; at most

local function measured(case, dtype, limits, budget)
    local work = case.make(dtype)
    mare.synchronize()
    local start = mare.fs.time()
    local written = once(work)
    mare.synchronize()
    local first = mare.fs.time() - start
    local n = math.max(1, math.min(TOGETHER, math.ceil(LONG / timed(work, 1))))
    local seconds, processor = measure.samples(budget, function() return timed(work, n) end)
    seconds = measure.median(seconds)
    local flops = work.flops or 0
    local bytes = work.bytes or kernels.bytes_of(work.inputs) + written
    local least, bound = measure.bound(flops, bytes, limits)
    return { family = case.family, case = case.name, figure = dtype, value = seconds, unit = "s",
        flops = flops, bytes = bytes, share = least / seconds, bound = bound, first = first,
        processor = mare.device().type == "cpu" and measure.median(processor) or nil }
end

-- Is one of the list in the text? Of an empty list every text has one.
local function any_in(list, text)
    for _, part in ipairs(list) do
        if text:find(part, 1, true) then return true end
    end
    return #list == 0
end

---Measures the cases of some families. One that fails is reported, and the rest goes on.
---@param families table<string, boolean>
---@param options {match: string[], type: string[], seconds: number, limits: table} match: parts of
---  the names of wanted cases; type: wanted dtypes; none: all
function kernels.run(families, options)
    local types = {}
    for _, dtype in ipairs(options.type) do types[dtype] = true end
    for _, case in ipairs(kernels.cases) do
        local wanted = families[case.family] and any_in(options.match, case.name)
        for _, dtype in ipairs(wanted and case.dtypes or {}) do
            if types[dtype] or #options.type == 0 then
                local ok, row = pcall(measured, case, dtype, options.limits, options.seconds)
                if not ok then
                    row = { family = case.family, case = case.name, figure = dtype,
                        error = tostring(row) }
                end
                report.kernel(row)
                collectgarbage()
                mare.trim_memory()
            end
        end
    end
end

return kernels
