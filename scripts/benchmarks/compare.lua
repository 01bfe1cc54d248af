--- A run beside an earlier one.

local measure = require "measure"

local compare = {}

-- Figures of which less is faster, and of which more is; others are sizes, counts and ratios.
local TIMES = { s = true, ms = true, us = true }

local function key_of(row) return row.family .. "\0" .. row.case .. "\0" .. row.figure end

---@class bench.pair
---@field row bench.row of this run
---@field ratio number how many times as fast; of what is no speed: this run's value over the other
---@field speed boolean is it a time or a rate?
---@field processor? number how many times as fast by the processor's time

---What both runs have, in this run's order.
---@param rows bench.row[] of this run
---@param earlier bench.row[]
---@return bench.pair[]
---@return integer only how many of this run's figures the other lacks
function compare.pairs(rows, earlier)
    local known, list, only = {}, {}, 0
    for _, row in ipairs(earlier) do known[key_of(row)] = row end
    for _, row in ipairs(rows) do
        local other = known[key_of(row)] or {}
        local before = other.value
        if row.value and before and row.value ~= 0 and before ~= 0 then
            local time, of_rate = TIMES[row.unit], row.unit:find("a second", 1, true)
            list[#list + 1] = {
                row = row, speed = time or of_rate ~= nil or false,
                ratio = time and before / row.value or row.value / before,
                processor = row.processor and other.processor and row.processor > 0
                    and other.processor / row.processor or nil,
            }
        elseif row.value then
            only = only + 1
        end
    end
    return list, only
end

local function device_of(run) return ("%s, %s"):format(run.device, run.driver) end

local function by_processor(ratio) return (", %.2f by processor time"):format(ratio) end

---The comparison as text: one line a figure, then the median of each family's speeds.
---@param run {device: string, driver: string, limits: table?, rows: bench.row[]}
---@param earlier {device: string, driver: string, limits: table?, rows: bench.row[]}
---@return string
function compare.text(run, earlier)
    local list, only = compare.pairs(run.rows, earlier.rows)
    local lines = { ("%-54s %-12s %s"):format("this run beside the earlier one", "", "ratio") }
    if device_of(run) ~= device_of(earlier) then
        lines[#lines + 1] = "this run:    " .. device_of(run)
        lines[#lines + 1] = "the earlier: " .. device_of(earlier)
    end
    local now, before = run.limits, earlier.limits
    if now and before then
        lines[#lines + 1] = ("limits: %.2f times the copy, %.2f times the multiply-adds"):format(
            now.bandwidth / before.bandwidth, now.flops / before.flops)
    end
    local families, order = {}, {}
    for _, pair in ipairs(list) do
        local row = pair.row
        lines[#lines + 1] = ("%-11s %-42s %-24s %5.2f%s%s"):format(row.family, row.case, row.figure,
            pair.ratio, pair.speed and " times as fast" or " times the value",
            pair.processor and by_processor(pair.processor) or "")
        if pair.speed then
            if not families[row.family] then
                families[row.family] = { speeds = {}, processor = {} }
                order[#order + 1] = row.family
            end
            table.insert(families[row.family].speeds, pair.ratio)
            table.insert(families[row.family].processor, pair.processor)
        end
    end
    for _, name in ipairs(order) do
        local family = families[name]
        lines[#lines + 1] = ("%-11s median of %-32d %-24s %5.2f times as fast%s"):format(name,
            #family.speeds, "", measure.median(family.speeds),
            #family.processor > 0 and by_processor(measure.median(family.processor)) or "")
    end
    if only > 0 then
        lines[#lines + 1] = ("%d figures are in this run only"):format(only)
    end
    return table.concat(lines, "\n")
end

return compare
