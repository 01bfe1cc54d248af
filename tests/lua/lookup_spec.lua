-- Layers that look vectors up, and that compare vectors.

local mare = require "mare"
local binding = require "binding"
local is, equal, shaped, fails = binding.is, binding.equal, binding.shaped, binding.fails
local nn = mare.nn

local function ints(t) return mare.tensor(t, { dtype = "i32" }) end

describe("lookup layers", function()
    it("Embedding", function()
        local e = nn.Embedding(4, 3, { padding_idx = 1 })
        local y = e(ints { { 0, 1 }, { 3, 1 } })
        shaped(y, 2, 2, 3)
        is(y[{ 1, 2 }], { 0, 0, 0 })
        is(y[{ 2, 1 }], e.weight[4]:totable())
        y:sum():backward()
        is(e.weight.grad, { { 1, 1, 1 }, { 0, 0, 0 }, { 0, 0, 0 }, { 1, 1, 1 } })
        fails(function() e(ints { 4 }) end, "index 4 is outside 0..3")
        fails(function() nn.Embedding(4, 3, { padding_idx = 4 }) end, "Embedding: padding_idx 4")
        fails(function() nn.Embedding(0, 3) end, "Embedding: rows")
        fails(function() nn.Embedding(4, 3, { pad = 1 }) end, "no option 'pad'")
        equal(tostring(e):match("padding_idx=1") ~= nil, true)
        local short = nn.Embedding(4, 3, { max_norm = 0.5 })
        mare.no_grad(function() short.weight[1] = 2 end)
        is(short(ints { 0 }):norm(2, -1), { 0.5 })
        is(short.weight[1], { 2, 2, 2 })
        fails(function() nn.Embedding(4, 3, { max_norm = -1 }) end, "Embedding: max_norm must be")
    end)
    it("learns", function()
        local e = nn.Embedding(3, 2)
        local opt = mare.optim.SGD(e:parameters(), { lr = 0.5 })
        local want = mare.tensor { { 1, 2 }, { 3, 4 } }
        local x = ints { 2, 0 }
        for _ = 1, 30 do
            opt:zero_grad()
            local loss = ((e(x) - want) ^ 2):sum()
            loss:backward()
            opt:step()
        end
        is(e(x), want:totable(), 1e-4)
    end)
    it("EmbeddingBag", function()
        local e = nn.EmbeddingBag(4, 3, { mode = "sum" })
        is(e(ints { { 0, 1 } }), { (e.weight[1] + e.weight[2]):totable() })
        is(e(ints { 3, 3, 0 }, ints { 0, 2 }),
            { (e.weight[4] * 2):totable(), e.weight[1]:totable() })
        local padded = nn.EmbeddingBag(4, 3, { padding_idx = -1, max_norm = 0.1 })
        is(padded.weight[4], { 0, 0, 0 })
        is(padded(ints { { 0, 3 } }):norm(2, -1), { 0.1 })
        fails(function() nn.EmbeddingBag(4, 3, { padding_idx = 4 }) end, "EmbeddingBag: padding_")
        fails(function() nn.EmbeddingBag(4, 3, { mode = "median" }) end, "EmbeddingBag: mode")
    end)
    it("Bilinear, CosineSimilarity, PairwiseDistance, Unflatten", function()
        local b = nn.Bilinear(2, 3, 4)
        shaped(b(mare.ones(5, 2), mare.ones(5, 3)), 5, 4)
        is(b(mare.ones(1, 2), mare.ones(1, 3)),
            { (b.weight:sum({ 2, 3 }) + b.bias):totable() }, 1e-5)
        local x, y = mare.tensor { { 1, 0 }, { 3, 4 } }, mare.tensor { { 0, 2 }, { 3, 4 } }
        is(nn.CosineSimilarity()(x, y), { 0, 1 })
        is(nn.PairwiseDistance { eps = 0 }(x, y), { math.sqrt(5), 0 })
        shaped(nn.Unflatten(2, { 2, -1 })(mare.ones(3, 8)), 3, 2, 4)
    end)
end)
