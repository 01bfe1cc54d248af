-- Known answers: what PyTorch computed for the calls of tests/known/*.lua, results and gradients.

local mare = require "mare"
local known = require "known"

-- The sum of tensors that have gradients, each element times a random weight.
local function weighted(list, seed)
    local total
    for i, t in ipairs(list) do
        if t.requires_grad then
            local weight = mare.tensor(known.draw(seed + i - 1, t:numel())):reshape(t.shape)
            local part = (t:float() * weight):sum()
            total = total and total + part or part
        end
    end
    return total
end

local function run(case)
    local args, leaves = known.arguments(case)
    local call = known.call(case)
    local results = { call(table.unpack(args, 1, case.n + (case.options and 1 or 0))) }
    local tolerance = case.tolerance or 2e-5
    for i, expected in ipairs(case.results) do
        known.compare("result " .. i, results[i], expected.values, expected.shape, tolerance)
    end
    if not case.grads then return end
    local grads = mare.gradients(weighted(results, 900), leaves)
    for i, expected in ipairs(case.grads) do
        known.compare("gradient " .. i, grads[i], expected, nil, tolerance)
    end
    if not case.second then return end
    local slope = weighted(grads, 950) -- nil where the function is linear
    local again = slope and mare.gradients(slope, leaves) or {}
    for i, expected in ipairs(case.second) do
        local g = again[i] or mare.zeros_like(leaves[i])
        known.compare("second gradient " .. i, g, expected, nil, tolerance)
    end
end

known.each(function(family, cases)
    describe(family, function()
        for i, case in ipairs(cases) do
            it(("%s, case %d"):format(case.call, i), function() run(case) end)
        end
    end)
end)
