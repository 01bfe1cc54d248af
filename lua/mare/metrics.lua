--- Metrics: how good predictions are, and averages of what a run reports.

local mare = require "mare"

local metrics = {}

---Share of samples whose largest of [N, C] outputs is the target class; a lazy scalar.
---@param output mare.tensor [N, C]
---@param target mare.tensor classes from 0, [N]
---@return mare.tensor
function metrics.accuracy(output, target)
    return mare.no_grad(function()
        return output:detach():argmax(2):eq(target):to("f32"):mean()
    end)
end

---Weighted mean of the numbers added so far.
---@class mare.metrics.Mean
---@field sum number
---@field weight number
local Mean = {}
Mean.__index = Mean

---@param value number
---@param weight? number default 1
function Mean:add(value, weight)
    weight = weight or 1
    self.sum = self.sum + value * weight
    self.weight = self.weight + weight
end

---@return number mean NaN when nothing was added
function Mean:value() return self.sum / self.weight end

function Mean:reset() self.sum, self.weight = 0.0, 0.0 end

---@return mare.metrics.Mean
function metrics.Mean() return setmetatable({ sum = 0.0, weight = 0.0 }, Mean) end

---Running average that forgets: each new number has the share 1 - decay. The start is corrected, so
---that the first value is the first number.
---@class mare.metrics.Running
local Running = {}
Running.__index = Running

---@param value number
function Running:add(value)
    self.average = self.average * self.decay + value * (1 - self.decay)
    self.left = self.left * self.decay
end

---@return number average NaN when nothing was added
function Running:value() return self.average / (1 - self.left) end

---@param decay? number default 0.98
---@return mare.metrics.Running
function metrics.Running(decay)
    return setmetatable({ decay = decay or 0.98, average = 0.0, left = 1.0 }, Running)
end

---Counts of predictions by true class (rows) and predicted class (columns).
---@class mare.metrics.ConfusionMatrix
---@field counts integer[][] counts[true + 1][predicted + 1]
---@field total integer
local ConfusionMatrix = {}
ConfusionMatrix.__index = ConfusionMatrix

---Adds a batch. Returns its classes as tables, predicted and true, from 0.
---@param output mare.tensor outputs [N, C], or classes from 0 [N]
---@param target mare.tensor classes from 0, [N]
---@return integer[] predicted
---@return integer[] truth
function ConfusionMatrix:update(output, target)
    local classes = mare.no_grad(function()
        return output.ndim == 2 and output:detach():argmax(2) or output
    end)
    local predicted, truth = classes:totable(), target:totable()
    if #predicted ~= #truth then
        mare.fail("ConfusionMatrix: %d predictions, %d targets", #predicted, #truth)
    end
    for i, t in ipairs(truth) do
        local row, p = self.counts[t + 1], predicted[i]
        if not row or not row[p + 1] then
            mare.fail("ConfusionMatrix: class %d (predicted %d) is not below %d", t, p,
                #self.counts)
        end
        row[p + 1] = row[p + 1] + 1
    end
    self.total = self.total + #truth
    return predicted, truth
end

---Share of right predictions.
---@return number
function ConfusionMatrix:accuracy()
    local right = 0
    for i, row in ipairs(self.counts) do right = right + row[i] end
    return right / self.total
end

---Share of class c (from 0) that was found.
---@param c integer
---@return number
function ConfusionMatrix:recall(c)
    local all = 0
    for _, n in ipairs(self.counts[c + 1]) do all = all + n end
    return self.counts[c + 1][c + 1] / all
end

---Share of the predictions of class c (from 0) that were right.
---@param c integer
---@return number
function ConfusionMatrix:precision(c)
    local all = 0
    for _, row in ipairs(self.counts) do all = all + row[c + 1] end
    return self.counts[c + 1][c + 1] / all
end

function ConfusionMatrix:__tostring()
    local width = #tostring(self.total)
    for _, name in ipairs(self.names) do width = math.max(width, #name) end
    local cell = "%" .. width + 1 .. "s"
    local lines = { cell:format("") .. " |" }
    for _, name in ipairs(self.names) do lines[1] = lines[1] .. cell:format(name) end
    lines[1] = lines[1] .. " |  recall"
    for i, row in ipairs(self.counts) do
        local cells = {}
        for j, n in ipairs(row) do cells[j] = cell:format(n == 0 and "." or n) end
        lines[#lines + 1] = ("%s |%s | %6.2f%%"):format(cell:format(self.names[i]),
            table.concat(cells), 100 * self:recall(i - 1))
    end
    return table.concat(lines, "\n")
end

---@param classes integer
---@param names? string[] default: the numbers from 0
---@return mare.metrics.ConfusionMatrix
function metrics.ConfusionMatrix(classes, names)
    local self = { counts = {}, names = {}, total = 0 }
    for i = 1, classes do
        self.counts[i] = {}
        for j = 1, classes do self.counts[i][j] = 0 end
        self.names[i] = names and names[i] or tostring(i - 1)
    end
    return setmetatable(self, ConfusionMatrix)
end

return metrics
