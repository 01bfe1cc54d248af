local mare = require "mare"
local check = require "check"
local metrics = require "mare.metrics"

describe("metrics", function()
    it("accuracy is the share of right classes", function()
        local output = mare.tensor { { 1, 2, 0 }, { 3, 1, 0 }, { 0, 0, 5 }, { 1, 0, 0 } }
        local target = mare.tensor({ 1, 0, 1, 2 }, { dtype = "i32" })
        local value = metrics.accuracy(output, target)
        check.equal(value.shape, {})
        check.equal(value:item(), 0.5)
    end)

    it("Mean weighs", function()
        local mean = metrics.Mean()
        check.truthy(mean:value() ~= mean:value())
        mean:add(1, 3)
        mean:add(5)
        check.equal(mean:value(), 2)
        mean:reset()
        mean:add(7)
        check.equal(mean:value(), 7)
    end)

    it("Running starts at the first number and forgets", function()
        local running = metrics.Running(0.5)
        running:add(4)
        check.near(running:value(), 4, 1e-12)
        running:add(1)
        check.near(running:value(), 2, 1e-12)
        for _ = 1, 60 do running:add(1) end
        check.near(running:value(), 1, 1e-9)
    end)

    it("ConfusionMatrix counts rows of truth and columns of prediction", function()
        local matrix = metrics.ConfusionMatrix(3, { "ape", "bee", "cat" })
        local predicted, truth = matrix:update(mare.tensor { { 0, 1, 0 }, { 2, 1, 0 } },
            mare.tensor({ 1, 1 }, { dtype = "i32" }))
        check.equal(predicted, { 1, 0 })
        check.equal(truth, { 1, 1 })
        matrix:update(mare.tensor({ 2, 2 }, { dtype = "i32" }),
            mare.tensor({ 2, 0 }, { dtype = "i32" }))
        check.equal(matrix.counts, { { 0, 0, 1 }, { 1, 1, 0 }, { 0, 0, 1 } })
        check.equal(matrix:accuracy(), 0.5)
        check.equal(matrix:recall(1), 0.5)
        check.equal(matrix:precision(2), 0.5)
        local text = tostring(matrix)
        check.truthy(text:find("ape bee cat", 1, true), text)
        check.truthy(text:find("50.00%", 1, true), text)
    end)

    it("ConfusionMatrix refuses what it cannot count", function()
        local matrix = metrics.ConfusionMatrix(2)
        check.fails("class 2", matrix.update, matrix, mare.tensor({ 0 }, { dtype = "i32" }),
            mare.tensor({ 2 }, { dtype = "i32" }))
        check.fails("1 predictions, 2 targets", matrix.update, matrix,
            mare.tensor({ 0 }, { dtype = "i32" }), mare.tensor({ 0, 1 }, { dtype = "i32" }))
    end)
end)
