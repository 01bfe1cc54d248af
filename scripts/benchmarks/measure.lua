--- Clocks and medians.

local mare = require "mare"

local measure = {}

---@param list number[]
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

---Two ways in turns, round after round, so that what else the machine does meets both: the median
---of each, and that of the rounds' ratios a / b; then the ratio of what a() and b() return second.
---@param rounds integer
---@param a fun(): number, number?
---@param b fun(): number, number?
---@return number a
---@return number b
---@return number ratio
---@return number? second
function measure.turns(rounds, a, b)
    local as, bs, ratios, seconds = {}, {}, {}, {}
    for i = 1, rounds do
        local of_a, of_b
        if i % 2 == 1 then as[i], of_a = a() end
        bs[i], of_b = b()
        if i % 2 == 0 then as[i], of_a = a() end
        ratios[i], seconds[i] = as[i] / bs[i], of_a and of_a / of_b
    end
    return measure.median(as), measure.median(bs), measure.median(ratios),
        seconds[1] and measure.median(seconds)
end

return measure
