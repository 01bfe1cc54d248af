--- What was measured: as lines while it is measured, as rows for JSON, for a comparison and for
--- the picture.

local report = {}

---One figure.
---@class bench.row
---@field family string
---@field case string
---@field figure string of a kernel: its dtype
---@field value? number
---@field unit? string "s" of a kernel's time; "": a ratio or a count
---@field flops? number of a kernel: in one run
---@field bytes? number that it must read and write in one run
---@field share? number of what the device can do at best: 1 is all of it
---@field bound? "memory"|"arithmetic" what sets that limit
---@field first? number seconds of the first run, with compiling and tuning
---@field processor? number the processor's seconds in a run, of a device that is the processor
---@field error? string why there is no value

---@type bench.row[]
report.rows = {}

report.quiet = false -- nothing is printed

local function say(line)
    if report.quiet then return end
    print(line)
    io.stdout:flush()
end

-- ---- Text --------------------------------------------------------------------------------------

local UNITS = { { 1, "s" }, { 1e-3, "ms" }, { 1e-6, "us" } }

---Seconds with the unit that gives one to three digits before the point: "1.23 ms".
---@param seconds number
---@return string
function report.duration(seconds)
    for _, unit in ipairs(UNITS) do
        if seconds >= unit[1] or unit[2] == "us" then
            local value = seconds / unit[1]
            local places = math.max(0, value >= 100 and 0 or value >= 10 and 1 or 2)
            return ("%." .. places .. "f %s"):format(value, unit[2])
        end
    end
end

-- An amount a second in units of 1e9, or "-".
local function rate(amount, seconds)
    if not amount or amount == 0 then return "-" end
    local value = amount / seconds / 1e9
    return (value >= 1000 and "%.0f" or "%.3g"):format(value)
end

local COLUMNS = "%-11s %-42s %-4s %9s %8s %7s %6s %-10s %9s"

---The line of a kernel's row.
---@param row bench.row
---@return string
function report.line(row)
    if row.error then
        return ("%-11s %-42s %-4s failed: %s"):format(row.family, row.case, row.figure, row.error)
    end
    return COLUMNS:format(row.family, row.case, row.figure, report.duration(row.value),
        rate(row.flops, row.value), rate(row.bytes, row.value),
        ("%.0f %%"):format(100 * row.share), row.bound, report.duration(row.first))
end

-- ---- Rows --------------------------------------------------------------------------------------

---What stands above kernels' rows, and what the device can do at best.
---@param limits {bandwidth: number, flops: number}
function report.head(limits)
    say(("limits: %.4g GB/s copied, %.4g GFLOP/s of f32 multiply-adds"):format(
        limits.bandwidth / 1e9, limits.flops / 1e9))
    say(COLUMNS:format("family", "case", "type", "time", "GFLOP/s", "GB/s", "limit", "set by",
        "first run"))
end

---@param row bench.row of a kernel
function report.kernel(row)
    report.rows[#report.rows + 1] = row
    say(report.line(row))
end

-- A figure with its unit: whole numbers in full, others with four digits.
local function figure(name, value, unit)
    local text = value % 1 == 0 and math.abs(value) < 1e15 and ("%d"):format(value // 1)
        or ("%.4g"):format(value)
    return ("%s %s%s"):format(name, text, unit ~= "" and " " .. unit or "")
end

---Several figures of one case: report.add("step", "gpt", { { "all passes", 3.1, "ms" }, ... }).
---@param family string
---@param case string
---@param figures table[] each { figure, value, unit }
function report.add(family, case, figures)
    local shown = {}
    for i, f in ipairs(figures) do
        report.rows[#report.rows + 1] = { family = family, case = case, figure = f[1],
            value = f[2], unit = f[3] }
        shown[i] = figure(table.unpack(f))
    end
    say(("%-8s %-9s %s"):format(family, case, table.concat(shown, ", ")))
end

---A case that could not be measured.
---@param family string
---@param case string
---@param message string
function report.failed(family, case, message)
    report.rows[#report.rows + 1] = { family = family, case = case, figure = "", error = message }
    say(("%-8s %-9s failed: %s"):format(family, case, message))
end

return report
