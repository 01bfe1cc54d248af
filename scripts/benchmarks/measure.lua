--- Clocks and medians.

local mare = require "mare"

local measure = {}

---The middle value; of an even number of them the lower of both.
---@param list number[] at least one
---@return number
function measure.median(list)
    local sorted = table.move(list, 1, #list, 1, {})
    table.sort(sorted)
    return sorted[(#sorted + 1) // 2]
end

---Seconds that `n` calls of run() take, each; the device has finished at the end. Behind them those
---of the processor, of which a device in software takes as many as it is busy, whatever else runs.
---@param n integer
---@param run fun()
---@return number seconds
---@return number processor
function measure.each(n, run)
    mare.synchronize()
    local start, clock = mare.fs.time(), os.clock()
    for _ = 1, n do run() end
    mare.synchronize()
    return (mare.fs.time() - start) / n, (os.clock() - clock) / n
end

local FEWEST, MOST = 3, 21 -- runs that a median is taken of

---What sample() gives, again and again while `budget` seconds last, but 3 times at least and 21 at
---most.
---@param budget number seconds
---@param sample fun(): number, number?
---@param clock? fun(): number seconds, of a clock of any start
---@return number[] firsts
---@return number[] seconds what it returned second
function measure.samples(budget, sample, clock)
    clock = clock or mare.fs.time
    local firsts, seconds, start = {}, {}, clock()
    while #firsts < FEWEST or (#firsts < MOST and clock() - start < budget) do
        local i = #firsts + 1
        firsts[i], seconds[i] = sample()
    end
    return firsts, seconds
end

---Several ways in turns, round after round, so that what else the machine does meets all of them.
---@param rounds integer
---@param ways (fun(): number, number?)[]
---@return number[][] firsts for each way what it returned, round by round
---@return number[][] seconds and what it returned second
function measure.rounds(rounds, ways)
    local firsts, seconds = {}, {}
    for w = 1, #ways do firsts[w], seconds[w] = {}, {} end
    for r = 1, rounds do
        for i = 1, #ways do
            local w = r % 2 == 1 and i or #ways + 1 - i -- each is as often before as behind
            firsts[w][r], seconds[w][r] = ways[w]()
        end
    end
    return firsts, seconds
end

---The median of the ratios a[i] / b[i].
---@param a number[]
---@param b number[]
---@return number
function measure.ratio(a, b)
    local ratios = {}
    for i = 1, #a do ratios[i] = a[i] / b[i] end
    return measure.median(ratios)
end

---The least time that a device of these limits can take, and what sets it.
---@param flops number of the work; 0: only bytes count
---@param bytes number read and written, each once
---@param limits {bandwidth: number, flops: number} a second
---@return number seconds
---@return "memory"|"arithmetic"
function measure.bound(flops, bytes, limits)
    local arithmetic, memory = flops / limits.flops, bytes / limits.bandwidth
    if arithmetic > memory then return arithmetic, "arithmetic" end
    return memory, "memory"
end

return measure
