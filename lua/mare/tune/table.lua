--- Tuning runs as text: a table that grows while candidates are measured.

local mare = require "mare"

local tables = {}

local UNITS = { { 1, "s" }, { 1e-3, "ms" }, { 1e-6, "us" }, { 1e-9, "ns" } }

-- Seconds as "1.23 ms".
local function time(seconds)
    for _, unit in ipairs(UNITS) do
        if seconds >= unit[1] then return ("%.2f %s"):format(seconds / unit[1], unit[2]) end
    end
    return ("%.2f ns"):format(seconds * 1e9)
end

local ROW = "    %-28s %12s %7s%s"

---The lines of one problem: its key and state, and a row for each candidate with the time of one
---run, its share of what the device does at best, and a mark on the best.
---@param result mare.tune.Result
---@return string[]
function tables.lines(result)
    local lines = { ("%-58s %s"):format(result.key, result.state) }
    local running = result.state == "running"
    for _, c in ipairs(result.candidates) do
        local share = c.share and ("%.0f%%"):format(100 * c.share) or ""
        lines[#lines + 1] = ROW:format(c.name,
            c.seconds and time(c.seconds) or running and "..." or "-", share,
            result.best == c.name and not running and "  best" or "")
    end
    if #result.candidates == 0 and result.best then
        lines[#lines + 1] = ROW:format(result.best, "", "",
            result.state == "left" and "  taken unmeasured" or "")
    end
    return lines
end

-- ---- Live --------------------------------------------------------------------------------------

---@class mare.tune.Live
local Live = {}
Live.__index = Live

---Shows a problem. On a terminal one that is being measured is drawn over itself; elsewhere it is
---shown when it is done.
---@param result mare.tune.Result
function Live:show(result)
    local running = result.state == "running"
    if running and not self.terminal then return end
    if self.drawn > 0 then self.write(("\27[%dA\27[J"):format(self.drawn)) end
    local lines = tables.lines(result)
    self.write(table.concat(lines, "\n") .. "\n")
    self.drawn = running and #lines or 0
    if self.write == io.write then io.stdout:flush() end
end

---@param write? fun(text: string) in place of standard output
---@param terminal? boolean whether that moves its cursor as a terminal does
---@return mare.tune.Live
function tables.live(write, terminal)
    if not write then write, terminal = io.write, mare.fs.isatty() end
    return setmetatable({ write = write, terminal = terminal, drawn = 0 }, Live)
end

-- ---- Afterwards --------------------------------------------------------------------------------

local STATES = { "measured", "known", "pinned", "failed", "left" }

---"7 problems: 5 measured, 2 known".
---@param results mare.tune.Result[]
---@return string
function tables.summary(results)
    local parts = {}
    for _, state in ipairs(STATES) do
        local n = 0
        for _, r in ipairs(results) do n = n + (r.state == state and 1 or 0) end
        if n > 0 then parts[#parts + 1] = ("%d %s"):format(n, state) end
    end
    local all = ("%d problem%s"):format(#results, #results == 1 and "" or "s")
    return #parts > 0 and all .. ": " .. table.concat(parts, ", ") or all
end

return tables
