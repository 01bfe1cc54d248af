--- Where the time goes: profiles of what a script runs on the device.

local core = require "mare.core"
local mare = require "mare"
local args = require "mare.nn.args"
local binding = core.profile

local profiler = {}

-- ---- Reports -----------------------------------------------------------------------------------

---Launches of one operation, by one kernel, for one line of the script.
---@class mare.profiler.Site
---@field op string "mul+add" where several were fused; "copy": between host and device
---@field line? string "file:line" of the script
---@field kernel string the shader
---@field shape mare.shape of the result
---@field dtype string
---@field groups integer[] workgroups along x, y, z
---@field bytes number of one launch: all that it binds, read and written
---@field flops number of one launch; 0: not known
---@field launches integer
---@field seconds number of all launches

---What ran in a profile; times in seconds. tostring() gives all of it as text.
---@class mare.profiler.Report
---@field timestamps boolean launches were timed by the device, not by the host's clock
---@field wall number from start to stop
---@field busy number the device's time in launches
---@field copying number and in copies between host and device
---@field longest_gap number between one launch and the next
---@field host table<string, number> what the host did: script, record, plan, compile, ...
---@field idle table<string, number> of that, while the device did nothing
---@field launches integer
---@field evals integer
---@field plans integer made
---@field hits integer plans found in the cache
---@field submits integer
---@field pipelines integer made
---@field shaders_compiled integer
---@field tuned integer
---@field sites mare.profiler.Site[]
local Report = {}
Report.__index = Report

---Sums of a report's sites under one key.
---@class mare.profiler.Row
---@field name string
---@field launches integer
---@field seconds number
---@field bytes number
---@field flops number
---@field flop_seconds number of the launches whose flops are known
---@field parts string names of what is in it, the slowest first, separated by commas

-- Names in order of their seconds.
local function names_of(parts)
    local names = {}
    for name in pairs(parts) do names[#names + 1] = name end
    table.sort(names, function(a, b)
        if parts[a] ~= parts[b] then return parts[a] > parts[b] end
        return a < b
    end)
    return table.concat(names, ", ")
end

-- Rows of the sites under key(site), the slowest first; part(site) names what is in a row.
local function rows(report, key, part)
    local by_name, list = {}, {}
    for _, site in ipairs(report.sites) do
        local name = key(site)
        local row = by_name[name]
        if not row then
            row = { name = name, launches = 0, seconds = 0, bytes = 0, flops = 0,
                flop_seconds = 0, parts = {} }
            by_name[name], list[#list + 1] = row, row
        end
        row.launches = row.launches + site.launches
        row.seconds = row.seconds + site.seconds
        row.bytes = row.bytes + site.launches * site.bytes
        row.flops = row.flops + site.launches * site.flops
        if site.flops > 0 then row.flop_seconds = row.flop_seconds + site.seconds end
        row.parts[part(site)] = (row.parts[part(site)] or 0) + site.seconds
    end
    for _, row in ipairs(list) do row.parts = names_of(row.parts) end
    table.sort(list, function(a, b)
        if a.seconds ~= b.seconds then return a.seconds > b.seconds end
        return a.name < b.name
    end)
    return list
end

local function op_of(site) return site.op end
local function line_of(site) return site.line or "(no line)" end

---One row an operation, the slowest first; their parts are shaders.
---@return mare.profiler.Row[]
function Report:by_op() return rows(self, op_of, function(site) return site.kernel end) end

---One row a line of the script, the slowest first; their parts are operations.
---@return mare.profiler.Row[]
function Report:by_line() return rows(self, line_of, op_of) end

-- ---- As text -----------------------------------------------------------------------------------

-- A share of a whole as "12.3%".
local function percent(part, whole)
    return whole > 0 and ("%.1f%%"):format(100 * part / whole) or "-"
end

-- A rate in units of 1e9 a second, and its share of the device's best.
local function rate(amount, seconds, peak)
    if amount == 0 or seconds == 0 then return "-", "-" end
    local speed = amount / seconds
    return ("%.2f"):format(speed / 1e9), peak and ("%.0f%%"):format(100 * speed / peak) or "-"
end

local COLUMNS = "%-30s %8s %10s %7s %9s %8s %5s %9s %5s"

-- At most `width` characters, the others elided at the start or at the end.
local function fit(name, width, keep_end)
    if #name <= width then return name end
    return keep_end and "..." .. name:sub(3 - width) or name:sub(1, width - 3) .. "..."
end

local function add_table(lines, title, list, report, most, peaks)
    lines[#lines + 1] = COLUMNS:format(title, "launches", "ms", "share", "MB", "GB/s", "max",
        "GFLOP/s", "max")
    for i = 1, math.min(#list, most) do
        local row = list[i]
        local name = fit(row.name, 30, title == "line")
        local bytes, of_bytes = rate(row.bytes, row.seconds, peaks[1])
        local flops, of_flops = rate(row.flops, row.flop_seconds, peaks[2])
        lines[#lines + 1] = COLUMNS:format(name, row.launches, ("%.3f"):format(1e3 * row.seconds),
            percent(row.seconds, report.busy + report.copying), ("%.2f"):format(row.bytes / 1e6),
            bytes, of_bytes, flops, of_flops)
    end
    if #list > most then
        lines[#lines + 1] = ("and %d more"):format(#list - most)
    end
    lines[#lines + 1] = ""
end

local WORKS = {
    { "script", "the script itself" }, { "record", "finding plans, recording" },
    { "plan", "making plans" }, { "compile", "tuning and compiling" },
    { "submit", "submitting" }, { "copy", "copying data" }, { "wait", "waiting for the device" },
}

local function add_host(lines, report)
    local row = "%-30s %10s %7s %15s"
    lines[#lines + 1] = row:format("host", "ms", "share", "device idle ms")
    for _, work in ipairs(WORKS) do
        local seconds, idle = report.host[work[1]], report.idle[work[1]]
        lines[#lines + 1] = row:format(work[2], ("%.3f"):format(1e3 * seconds),
            percent(seconds, report.wall), ("%.3f"):format(1e3 * idle))
    end
    lines[#lines + 1] = ""
end

---The report as text: tables by operation and by script line, each with launches, time, share of
---the device's time, bytes bound and their rate, flops and theirs (each beside its share of what
---the device does at best), the host's time, gaps and counts.
---@param options? {rows: integer} rows: of each table (default 25)
---@return string
function Report:text(options)
    local most = options and options.rows or 25
    local ok, bandwidth, flops = pcall(binding.peaks)
    local peaks = ok and { bandwidth, flops } or {}
    local lines = {}
    if not self.timestamps then
        lines[1] = "The device has no timestamps: launches were submitted one by one, and the "
            .. "host's clock\ntimed each with its submission.\n"
    end
    add_table(lines, "operation", self:by_op(), self, most, peaks)
    add_table(lines, "line", self:by_line(), self, most, peaks)
    if ok then
        lines[#lines + 1] = ("max: of what the device does at best, %.1f GB/s copied and %.1f "
            .. "GFLOP/s of f32 multiply-adds;\nover 100%% where caches hold the data."):format(
            bandwidth / 1e9, flops / 1e9)
    end
    add_host(lines, self)
    local idle = self.wall - self.busy - self.copying
    lines[#lines + 1] = ("wall %.3f ms: device busy %.3f ms (%s), idle %.3f ms (%s), longest gap "
        .. "%.3f ms"):format(1e3 * self.wall, 1e3 * (self.wall - idle),
        percent(self.wall - idle, self.wall), 1e3 * idle, percent(idle, self.wall),
        1e3 * self.longest_gap)
    lines[#lines + 1] = ("launches %d, evaluations %d, submissions %d, plans made %d, found %d, "
        .. "pipelines made %d,\nshaders compiled %d, kernels tuned %d"):format(self.launches,
        self.evals, self.submits, self.plans, self.hits, self.pipelines, self.shaders_compiled,
        self.tuned)
    return table.concat(lines, "\n")
end

Report.__tostring = function(report) return report:text() end

-- ---- Profiles ----------------------------------------------------------------------------------

---What the device does at best, measured by the first call of a process: a copy between two large
---buffers, whose bytes count as read and as written, and a loop of f32 multiply-adds, each counted
---as two. Not while a profile is on.
---@return number bandwidth bytes a second
---@return number flops a second
function profiler.peaks() return binding.peaks() end

---Starts a profile: what is evaluated from here on is put down. Launches run one after the other
---while it is on.
function profiler.start() binding.start() end

local function report_of(values, trace)
    if trace then binding.trace(trace) end
    return setmetatable(values, Report)
end

-- The path in options { trace = path }, or nil.
local function trace_of(call, options)
    local trace = args.options_of({ _name = call }, options, { trace = true }).trace
    if trace == nil then return nil end
    if type(trace) ~= "string" then
        mare.fail("%s: trace must be a path, not %s", call, type(trace))
    end
    local folder = trace:match("^(.*)/[^/]*$")
    if folder and folder ~= "" and mare.fs.kind(folder) ~= "folder" then
        mare.fail("%s: there is no folder %s for the trace", call, folder)
    end
    return trace
end

---Waits for the device and ends the profile. trace: a file for Perfetto or chrome://tracing.
---@param options? {trace: string}
---@return mare.profiler.Report
function profiler.stop(options)
    local trace = trace_of("profiler.stop", options)
    return report_of(binding.stop(), trace)
end

---The report of f(), and behind it what f returned. trace: a file for Perfetto or
---chrome://tracing.
---@param f function
---@param options? {trace: string}
---@return mare.profiler.Report report
---@return any ...
function profiler.run(f, options)
    core.private.need_function("profile", f)
    local trace = trace_of("profile", options)
    binding.start()
    local guard <close> = setmetatable({ on = true }, { __close = function(self)
        if self.on then binding.stop() end
    end })
    local results = table.pack(f())
    guard.on = false
    return report_of(binding.stop(), trace), table.unpack(results, 1, results.n)
end

-- ---- mare profile ------------------------------------------------------------------------------

local pending

-- Ends the profile of the command and prints it, once.
local function finish()
    if not pending then return end
    local trace = pending.trace
    pending = nil
    local values = binding.stop()
    if not values then
        print("nothing to profile: the script did not use a device")
        return
    end
    local report = report_of(values, trace)
    io.stdout:write("\n", mare.device().name, "\n\n", report:text(), "\n")
    if trace then io.stdout:write("trace: ", trace, "\n") end
end

-- mare profile, before the script. It ends with the script, or when that ends the process or closes
-- its context. trace: a path, or nil.
function profiler.begin(trace)
    pending = { trace = trace_of("profile", { trace = trace }) }
    binding.start(true)
    require("mare.cli").at_end(finish)
    return 0
end

function profiler.finish()
    finish()
    return 0
end

return profiler
