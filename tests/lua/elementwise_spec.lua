-- Elementwise operations where they are special, and the activations of nn.

local mare = require "mare"
local nn = mare.nn
local binding = require "binding"
local is, equal, fails = binding.is, binding.equal, binding.fails

local nan, inf = 0 / 0, math.huge

describe("elementwise", function()
    it("knows zeros, NaN and infinities", function()
        local x = mare.tensor { nan, inf, -inf, 0, -0.0 }
        is(x:signbit():int()[{ { 2, 5 } }], { 0, 1, 0, 1 })
        is(x:isposinf(), { false, true, false, false, false })
        is(x:isneginf(), { false, false, true, false, false })
        is(x:nan_to_num(7, { posinf = 8, neginf = 9 }), { 7, 8, 9, 0, 0 })
        equal(x:half():nan_to_num()[2]:item(), 65504)
        is(x:fmax(1), { 1, inf, 1, 1, 1 })
        is(x:fmin(1), { 1, 1, -inf, 0, 0 })
        is(mare.tensor({ 2, -3 }):copysign(mare.tensor { -0.0, 1 }), { -2, 3 })
        is(mare.tensor({ 0, 0, 1 }):xlogy(mare.tensor { 0, inf, 1 }), { 0, 0, 0 })
        equal(mare.tensor(0):xlogy(nan):isnan():item(), true)
        is(mare.tensor({ -1, 0, 2 }):heaviside(0.5), { 0, 0.5, 1 })
        is(mare.tensor({ 0, -1, inf }):sinc():round(), { 1, 0, 0 })
        is(mare.tensor({ 0, -1 }):entr(), { 0, -inf })
        is(mare.tensor({ 0, 1 }):logit(), { -inf, inf })
        is(mare.tensor({ -5.5, 5.5 }):fmod(2), { -1.5, 1.5 })
        is(mare.tensor({ -5, 5 }):int():fmod(3), { -2, 2 })
        is(mare.tensor({ 0, 12, -12 }):int():gcd(18), { 18, 6, 6 })
        is(mare.tensor({ 0, 4, -4 }):int():lcm(6), { 0, 12, 12 })
        is(mare.tensor({ 800, -800 }):log_cosh(), { 800 - math.log(2), 800 - math.log(2) }, 1e-4)
    end)
    it("knows the poles of gamma", function()
        local x = mare.tensor { 0, -0.0, -3, inf, nan }
        is(x:lgamma()[{ { 1, 4 } }], { inf, inf, inf, inf })
        is(x:digamma():nan_to_num(7, { posinf = 8, neginf = 9 }), { 9, 8, 7, 8, 7 })
        is(x:trigamma():nan_to_num(7, { posinf = 8 }), { 8, 8, 8, 0, 7 })
        is(mare.tensor({ 1, 2, 3 }):lgamma()[{ { 1, 2 } }], { 0, 0 })
        is(mare.tensor({ 0, inf }):i0e(), { 1, 0 })
        fails(function() mare.polygamma(-1, x) end, "polygamma: n is %-1")
    end)
    it("tells what is close", function()
        local a = mare.tensor { 1, inf, nan, 1 }
        local b = mare.tensor { 1.000001, inf, nan, inf }
        is(a:isclose(b), { true, true, false, false })
        is(a:isclose(b, { equal_nan = true }), { true, true, true, false })
        equal(a:allclose(a):item(), false)
        equal(a:allclose(a, { equal_nan = true }):item(), true)
    end)
    it("refuses what does not fit", function()
        fails(function() mare.zeros(2, 3):glu() end, "glu: dimension 2 of %[2, 3%]")
        fails(function() mare.zeros(2, 3):prelu(mare.zeros(2)) end, "prelu: weight %[2%]")
        fails(function() mare.zeros(2):gcd(2) end, "gcd: takes integers")
        fails(function() nn.Hardtanh(1, -1) end, "Hardtanh: min 1 above max %-1")
    end)
end)

describe("activations", function()
    local x = mare.tensor { { -2, -0.25, 0.25, 8 } }
    it("are modules", function()
        is(nn.ReLU6()(x), { { 0, 0, 0.25, 6 } })
        is(nn.Hardtanh()(x), { { -1, -0.25, 0.25, 1 } })
        is(nn.Hardtanh(0, 2)(x), { { 0, 0, 0.25, 2 } })
        is(nn.Hardshrink()(x), { { -2, 0, 0, 8 } })
        is(nn.Softshrink(1)(x), { { -1, 0, 0, 7 } })
        is(nn.Threshold(0, 9)(x), { { 9, 9, 0.25, 8 } })
        is(nn.Softsign()(x), { { -2 / 3, -0.2, 0.2, 8 / 9 } })
        is(nn.GLU()(x), { { -2 / (1 + math.exp(-0.25)), -0.25 / (1 + math.exp(-8)) } }, 1e-6)
        is(nn.Softplus(4)(x)[1][1], math.log(1 + math.exp(-8)) / 4, 1e-9)
        for _, name in ipairs { "SELU", "CELU", "Mish", "Hardsigmoid", "Hardswish", "LogSigmoid",
                                "Tanhshrink" } do
            equal(tostring(nn[name]()(x).shape), "[1, 4]")
        end
    end)
    it("learn a slope", function()
        local layer = nn.PReLU(4, { init = 0.5 })
        is(layer(x), { { -1, -0.125, 0.25, 8 } })
        layer(x):sum():backward()
        is(layer.weight.grad, { -2, -0.25, 0, 0 })
    end)
end)
