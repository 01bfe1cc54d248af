-- Reading and writing parts of tensors, and where gradients go.

local mare = require "mare"
local binding = require "binding"
local is, equal, shaped, fails, seq = binding.is, binding.equal, binding.shaped, binding.fails,
    binding.seq

local ints, leaf = binding.ints, binding.leaf

describe("reading by tensors", function()
    it("indices", function()
        local x = seq(3, 2)
        is(x[ints { 2, 0 }], { { 5, 6 }, { 1, 2 } })
        is(x[ints { { 1 }, { 1 } }], { { { 3, 4 } }, { { 3, 4 } } })
        is(x[{ {}, ints { 1, 1, 0 } }], { { 2, 2, 1 }, { 4, 4, 3 }, { 6, 6, 5 } })
        is(x[{ 3, ints { 1, 0 } }], { 6, 5 })
        is(x[{ ints { 0, 2 }, 2 }], { 2, 6 })
        is(x[{ { 2, 3 }, ints { 1 } }], { { 4 }, { 6 } })
        fails(function() return x[ints { 3 }] end, "index 3 is outside 0..2")
        fails(function() return x[ints { -1 }] end, "index %-1 is outside 0..2")
        fails(function() return x[seq(2)] end, "take: indices are integers")
        fails(function() return x[{ ints { 0 }, ints { 0 } }] end, "one entry of an index")
        fails(function() return mare.tensor(1)[ints { 0 }] end, "a scalar tensor")
    end)
    it("masks", function()
        local x = seq(3, 2)
        is(x[x:gt(3)], { 4, 5, 6 })
        is(x[mare.tensor { true, false, true }], { { 1, 2 }, { 5, 6 } })
        is(x[{ {}, mare.tensor { false, true } }], { { 2 }, { 4 }, { 6 } })
        shaped(x[x:gt(9)], 0)
        shaped(x[mare.zeros(3, { dtype = "bool" })], 0, 2)
        fails(function() return x[mare.tensor { true }] end,
            "a mask of shape %[1%] does not fit dimension 1 of shape %[3, 2%]")
        fails(function() return x[{ 1, x:gt(3) }] end, "a mask for one dimension")
        local v = leaf(3)
        is(mare.gradients((v[v:gt(1)] * seq(2)):sum(), { v })[1], { 0, 1, 2 })
    end)
end)

describe("writing parts", function()
    it("numbers, rows, ranges", function()
        local x = mare.zeros(3, 4)
        x[1] = 1
        x[{ 2, -1 }] = 5
        x[{ {}, 2 }] = mare.tensor { 7, 8, 9 }
        x[{ { 2, 3 }, { 1, 3, 2 } }] = -1
        is(x, { { 1, 7, 1, 1 }, { -1, 8, -1, 5 }, { -1, 9, -1, 0 } })
        x[{ { 1, -1 }, { 4, 1, -1 } }] = seq(4)
        is(x, { { 4, 3, 2, 1 }, { 4, 3, 2, 1 }, { 4, 3, 2, 1 } })
        x[{ {}, {} }] = seq(3, 1)
        is(x, { { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, { 3, 3, 3, 3 } })
        x[{ {}, { 1, 0 } }] = 9
        is(x[1], { 1, 1, 1, 1 })
        local s = mare.tensor(3)
        s[{}] = 4
        equal(s:item(), 4)
    end)
    it("other types take the value as theirs", function()
        local i, b = ints { 1, 2, 3 }, mare.tensor { true, true }
        local h = mare.zeros(2, { dtype = "f16" })
        i[2] = mare.tensor(7.6)
        is(i, { 1, 7, 3 })
        b[1] = false
        is(b, { false, true })
        h[1] = 0.5
        equal(h.dtype, "f16")
        is(h, { 0.5, 0 })
        local u = mare.tensor({ 1, 2, 3, 4, 5 }, { dtype = "u8" })
        u[{ { 2, 4 } }] = 200
        is(u, { 1, 200, 200, 200, 5 })
        fails(function() u[1] = 300 end, "300")
    end)
    it("by indices: the last wins", function()
        local x = mare.zeros(4)
        x[ints { 1, 3, 1 }] = mare.tensor { 1, 2, 3 }
        is(x, { 0, 3, 0, 2 })
        x[ints { 0 }] = 9
        is(x, { 9, 3, 0, 2 })
        local y = mare.zeros(2, 3)
        y[ints { 1 }] = seq(3)
        y[{ {}, ints { 0, 2 } }] = 5
        is(y, { { 5, 0, 5 }, { 5, 2, 5 } })
        y[{ 1, ints { 2, 1 } }] = mare.tensor { 7, 8 }
        is(y, { { 5, 8, 7 }, { 5, 2, 5 } })
        fails(function() y[ints { 2 }] = 1 end, "index 2 is outside 0..1")
        fails(function() y[ints { 0 }] = seq(2) end, "expand: %[2%]")
    end)
    it("by masks", function()
        local x = seq(2, 3)
        x[x:gt(4)] = 0
        is(x, { { 1, 2, 3 }, { 4, 0, 0 } })
        x[x:eq(0)] = mare.tensor { 8, 9 }
        is(x, { { 1, 2, 3 }, { 4, 8, 9 } })
        x[mare.tensor { true, false }] = seq(3) * 10
        is(x, { { 10, 20, 30 }, { 4, 8, 9 } })
        x[mare.tensor { true, true }] = seq(2, 3)
        is(x, { { 1, 2, 3 }, { 4, 5, 6 } })
        x[{ {}, mare.tensor { true, false, true } }] = 0
        is(x, { { 0, 2, 0 }, { 0, 5, 0 } })
        x[mare.zeros(2, 3, { dtype = "bool" })] = mare.zeros(0)
        is(x, { { 0, 2, 0 }, { 0, 5, 0 } })
        fails(function() x[x:gt(1)] = seq(3) end, "expand: %[3%]")
        fails(function() x[mare.tensor { true, false }] = seq(4) end, "expand: %[4%]")
    end)
    it("refuses what does not fit", function()
        local x = seq(2, 3)
        fails(function() x[1] = seq(2) end, "expand: %[2%] does not broadcast to %[3%]")
        fails(function() x[3] = 1 end, "position 3 is out of range")
        fails(function() x[1] = "a" end, "the value must be a number")
        fails(function() x[{ 1, 2, 3 }] = 1 end, "3 entries for shape %[2, 3%]")
        fails(function() x[true] = 1 end, "a tensor is indexed by")
        fails(function() x.value = 1 end, "cannot be set")
    end)
    it("tensors made before keep what they saw, also views", function()
        local x = seq(2, 2)
        local row, sum = x[1], x:sum()
        x[1] = 0
        is(row, { 1, 2 })
        is(sum, 10)
        row[1] = 5
        is(x, { { 0, 0 }, { 3, 4 } })
    end)
end)

describe("gradients of written tensors", function()
    it("flow to what was assigned and to what remains", function()
        local a, v = leaf(2, 2), leaf(2)
        local x = a * 2
        local before = (x * x):sum()
        x[1] = v * 3
        equal(x.requires_grad, true)
        local loss = (x * seq(2, 2)):sum()
        local ga, gv = table.unpack(mare.gradients(loss, { a, v }))
        is(ga, { { 0, 0 }, { 6, 8 } })
        is(gv, { 3, 6 })
        is(mare.gradients(before, { a })[1], { { 8, 16 }, { 24, 32 } })
    end)
    it("a constant takes the history of what is written into it", function()
        local v = leaf(2)
        local x = mare.zeros(3)
        equal(x.requires_grad, false)
        x[{ { 2, 3 } }] = v
        equal(x.requires_grad, true)
        x[2] = x[3] * x[2]
        is(x, { 0, 2, 2 })
        x:sum():backward()
        is(v.grad, { 2, 2 })
    end)
    it("numbers cut them", function()
        local v = leaf(3)
        local x = v * 1
        x[x:gt(2)] = 7
        x[ints { 0 }] = 5
        is(mare.gradients(x:sum(), { v })[1], { 0, 1, 0 })
    end)
    it("stretched values, masks and indices", function()
        local v, w, a = leaf(3), leaf(2), leaf(2, 3)
        local x = a * 1
        x[mare.tensor { false, true }] = v
        x[{ {}, ints { 1, 1 } }] = w:reshape(1, 2)
        is(x, { { 1, 2, 3 }, { 1, 2, 3 } })
        local gv, gw, ga = table.unpack(mare.gradients((x * seq(2, 3)):sum(), { v, w, a }))
        is(gv, { 4, 0, 6 })
        is(gw, { 0, 7 })
        is(ga, { { 1, 0, 3 }, { 0, 0, 0 } })
    end)
    it("second derivatives", function()
        local v = leaf(2)
        local x = v * v
        x[1] = v[2] ^ 3
        local g = mare.gradients(x:sum(), { v })[1]
        is(g, { 0, 16 }, 1e-5)
        is(mare.gradients(g:sum(), { v })[1], { 0, 14 }, 1e-5)
    end)
    it("a leaf that requires a gradient is written under no_grad alone", function()
        local p = leaf(3)
        fails(function() p[1] = 0 end, "assignment: a leaf that requires a gradient")
        is(p, { 1, 2, 3 })
        mare.no_grad(function() p[1] = 0 end)
        is(p, { 0, 2, 3 })
        equal(p.requires_grad, true);
        (p * p):sum():backward()
        is(p.grad, { 0, 4, 6 })
        mare.no_grad(function() p[p:gt(2)] = -1 end)
        is(p, { 0, 2, -1 })
        is(p.grad, { 0, 4, 6 })
    end)
end)
