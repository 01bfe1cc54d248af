-- Functions with a gradient of their own, hooks, checkpoints, functional forms.

local mare = require "mare"
local check = require "check"

local function parameter(values)
    local t = mare.tensor(values)
    t.requires_grad = true
    return t
end

local function near(got, expected, tolerance) check.near(got, expected, tolerance or 1e-5) end

-- Nodes alive once everything unreachable is gone.
local function alive()
    collectgarbage()
    collectgarbage()
    return mare.stats().nodes
end

describe("custom functions", function()
    local cube = mare.custom_function {
        name = "cube",
        forward = function(ctx, x)
            ctx.x = x
            check.equal(mare.is_grad_enabled(), false)
            return x * x * x
        end,
        backward = function(ctx, gy) return gy * ctx.x * ctx.x * 3 end,
    }

    it("take the gradient that they are given", function()
        local x = parameter { 1, -2, 3 }
        cube(x):sum():backward()
        near(x.grad, { 3, 12, 27 })
    end)

    it("lie within a graph and may be differentiated again", function()
        local x = mare.tensor { 0.5, -1, 2 }
        near(mare.hessian(function(v) return cube(v * 2):sum() end, x),
            { { 24, 0, 0 }, { 0, -48, 0 }, { 0, 0, 96 } })
    end)

    it("record nothing where nothing requires a gradient", function()
        check.equal(cube(mare.tensor { 1, 2 }).requires_grad, false)
    end)

    it("have several arguments and results, some without a gradient", function()
        local f = mare.custom_function {
            forward = function(ctx, a, k, b)
                ctx.a, ctx.b, ctx.k = a, b, k
                return a * b, a * k
            end,
            backward = function(ctx, gp, gk)
                check.equal(tostring(gk.shape), "[2]")
                return gp * ctx.b + gk * ctx.k, nil
            end,
        }
        local a, b = parameter { 2, 3 }, parameter { 5, 7 }
        local p, q = f(a, 10, b)
        near(p, { 10, 21 })
        near(q, { 20, 30 })
        local grads = mare.gradients((p + q):sum(), { a, b })
        near(grads[1], { 15, 17 })
        near(grads[2], { 0, 0 })
    end)

    it("evaluate what they like while they run", function()
        local seen
        local f = mare.custom_function {
            forward = function(ctx, x) ctx.top = x:max():item() return x / ctx.top end,
            backward = function(ctx, gy) seen = gy:sum():item() return gy / ctx.top end,
        }
        local x = parameter { 1, 2, 4 }
        local y = x * 2
        ;(f(y) * y):sum():backward() -- y is reached in two ways
        near(x.grad, { 1, 2, 4 })
        check.equal(seen, 14)
    end)

    it("fail with the script's line, and nothing is lost", function()
        local wrong = mare.custom_function {
            forward = function(_, x) return x * 1 end,
            backward = function() error("no way back") end,
        }
        local shape = mare.custom_function {
            forward = function(_, x) return x * 1 end,
            backward = function(_, gy) return gy:sum() end,
        }
        local kind = mare.custom_function {
            forward = function(_, x) return x * 1 end,
            backward = function() return 3 end,
        }
        local x = parameter { 1, 2 }
        check.fails("autograd_spec.lua:%d+: no way back", function() wrong(x):sum():backward() end)
        check.fails("gradient of input 2 of custom is f32 %[%], not f32 %[2%]",
            function() shape(x):sum():backward() end)
        check.fails("gradient 1 must be a tensor or nil, not a number",
            function() kind(x):sum():backward() end)
        check.fails("forward returned string where a tensor is needed",
            function() mare.custom_function { forward = function() return "x" end,
                backward = print }(x) end)
        check.fails("expected a function, not nil", function() mare.custom_function {} end)
        check.equal(x.grad, nil)
        cube(x):sum():backward()
        near(x.grad, { 3, 12 })
    end)

    it("work in a coroutine", function()
        local x = parameter { 2 }
        coroutine.wrap(function() cube(x):sum():backward() end)()
        near(x.grad, { 12 })
    end)

    it("leave nothing behind", function()
        local before = alive()
        do
            local x = parameter { 1, 2 }
            local y = cube(x)
            y:register_hook(function(g) return g * y end) -- names its own tensor
            y:sum():backward()
            x.grad:eval()
            local _ = cube(x)
        end
        check.equal(alive(), before)
    end)
end)

describe("leaves", function()
    it("that no tensor names any more get no gradient, and nothing is left of them", function()
        local before = alive()
        do
            local function slope()
                local w = parameter { 1, 2 }
                return (w * w):sum()
            end
            local y = slope()
            collectgarbage()
            collectgarbage()
            y:backward()
            y:eval()
            local x = parameter { 1, 2 }
            mare.no_grad(function() x:assign(x * 2) end)
            ;(x * x):sum():backward()
            near(x.grad, { 4, 8 })
        end
        check.equal(alive(), before)
    end)
end)

describe("hooks", function()
    it("see and change gradients, in their order", function()
        local x, order = parameter { 1, 2 }, {}
        local y = x * 3
        y:register_hook(function(g) order[#order + 1] = "first" return g * 2 end)
        y:register_hook(function(g)
            order[#order + 1] = "second"
            near(g, { 12, 24 })
        end)
        ;(y * y):sum():backward(nil, { retain_graph = true })
        check.equal(table.concat(order, " "), "first second")
    end)

    it("get the whole gradient of a parameter", function()
        local x, calls = parameter { 1, 2 }, 0
        local hook = x:register_hook(function(g)
            calls = calls + 1
            near(g, { 5, 7 })
            return g / 2
        end)
        local function run()
            x.grad = nil
            ;(x * x + x * 3):sum():backward()
        end
        run()
        near(x.grad, { 2.5, 3.5 })
        hook:remove()
        hook:remove()
        run()
        near(x.grad, { 5, 7 })
        check.equal(calls, 1)
    end)

    it("stay on a parameter that is assigned to", function()
        local x, calls = parameter { 1, 2 }, 0
        x:register_hook(function() calls = calls + 1 end)
        for _ = 1, 3 do
            x.grad = nil
            ;(x * x):sum():backward()
            mare.no_grad(function() x:assign(x - x.grad * 0.1) end)
        end
        check.equal(calls, 3)
    end)

    it("refuse what makes no sense", function()
        local x = parameter { 1, 2 }
        check.fails("requires no gradient",
            function() mare.zeros(2):register_hook(function() end) end)
        check.fails("expected a function, not nil", function() x:register_hook() end)
        local h = x:register_hook(function(g) return g:sum() end)
        check.fails("hook: a gradient f32 %[%] is returned for f32 %[2%]",
            function() (x * 2):sum():backward() end)
        h:remove()
        h = x:register_hook(function() error("stop here") end)
        check.fails("autograd_spec.lua:%d+: stop here", function() (x * 2):sum():backward() end)
        h:remove()
        ;(x * 2):sum():backward()
        near(x.grad, { 2, 2 })
    end)
end)

describe("checkpoints", function()
    local function block(w)
        return function(x) return (x * w):tanh() * mare.rand(x.shape) end
    end

    it("give the same gradients, with the same random numbers", function()
        local function run(wrap)
            mare.manual_seed(5)
            local w, x = parameter { 0.5, -1, 2 }, parameter { 1, 2, 3 }
            local y, f = x, block(w)
            for _ = 1, 4 do y = wrap(f, y) end
            y:sum():backward()
            return y, x.grad, w.grad
        end
        local y1, x1, w1 = run(function(f, v) return f(v) end)
        local y2, x2, w2 = run(mare.checkpoint)
        near(y2, y1:totable())
        near(x2, x1:totable())
        near(w2, w1:totable())
    end)

    it("go on after the result, or a value within, was read", function()
        local w, x, inner = parameter { 0.5, -1 }, parameter { 1, 2 }, nil
        local y = mare.checkpoint(function(v)
            inner = (v * w):tanh()
            return inner * inner
        end, x)
        inner:eval()
        y:eval()
        y:sum():backward()
        local function expected(v, k)
            local t = (math.exp(2 * v * k) - 1) / (math.exp(2 * v * k) + 1)
            return 2 * t * (1 - t * t) * k
        end
        near(x.grad, { expected(1, 0.5), expected(2, -1) })
    end)

    it("can be differentiated twice and lie in each other", function()
        local x = mare.tensor { 0.3, -0.7 }
        local function f(v)
            return mare.checkpoint(function(a)
                return mare.checkpoint(function(b) return b:sin() end, a * a):exp()
            end, v):sum()
        end
        local function plain(v) return (v * v):sin():exp():sum() end
        near(mare.hessian(f, x), mare.hessian(plain, x):totable(), 1e-5)
    end)

    it("keep less for the backward pass", function()
        -- Of 32 layers the plain pass keeps two values each; with checkpoints, 8 ends of segments
        -- and the values of one.
        local n <const> = 1 << 18
        local function peak(wrap)
            local x = mare.ones(n)
            x.requires_grad = true
            x:eval()
            collectgarbage()
            mare.trim_memory()
            mare.reset_peak_memory()
            local y = x
            for _ = 1, 8 do
                y = wrap(function(v)
                    for _ = 1, 4 do v = (v * v):sin() end
                    return v
                end, y)
            end
            y:sum():backward()
            x.grad:eval()
            local top = mare.memory().peak
            return top, x.grad:sum():item()
        end
        local plain, g1 = peak(function(f, v) return f(v) end)
        local saved, g2 = peak(mare.checkpoint)
        near(g2, g1)
        check.truthy(saved < plain / 2, ("%d bytes, without checkpoints %d"):format(saved, plain))
    end)

    it("pass on what requires no gradient", function()
        local y, n = mare.checkpoint(function(v) return v * 2, 5 end, mare.ones(2))
        near(y, { 2, 2 })
        check.equal(n, 5)
        check.fails("expected a function, not nil", function() mare.checkpoint() end)
    end)
end)

describe("functional forms", function()
    local x = mare.tensor { 0.5, -1, 2 }

    it("jacobian", function()
        local a = mare.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
        near(mare.jacobian(function(v) return a:matmul(v) end, x), a:totable())
        local j = mare.jacobian(function(m) return m:sum(1) end, a)
        check.equal(tostring(j.shape), "[3, 2, 3]")
        near(j[2], { { 0, 1, 0 }, { 0, 1, 0 } })
        near(mare.jacobian(function(v) return v:detach() end, x),
            { { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } })
    end)

    it("hessian and its product with a vector", function()
        local function f(v) return (v * v * v):sum() + v[1] * v[2] end
        local h = { { 3, 1, 0 }, { 1, -6, 0 }, { 0, 0, 12 } }
        near(mare.hessian(f, x), h)
        local y, hv = mare.hvp(f, x, mare.tensor { 1, 2, 3 })
        near(y, 0.125 - 1 + 8 - 0.5)
        near(hv, { 5, -11, 36 })
    end)

    it("vjp and jvp are the two sides of one Jacobian", function()
        local function f(v) return mare.stack { v:sin():sum(), (v * v):sum() } end
        local j = mare.jacobian(f, x)
        local t, c = mare.tensor { 1, -2, 0.5 }, mare.tensor { 3, -1 }
        local y, forward = mare.jvp(f, x, t)
        local y2, back = mare.vjp(f, x)
        near(y, y2:totable())
        near(forward, j:matmul(t):totable())
        near(back(c), c:matmul(j):totable())
        local _, none = mare.jvp(function(v) return v:floor() * 2 end, x, t)
        near(none, { 0, 0, 0 })
    end)

    it("enable_grad works within no_grad", function()
        local w = parameter { 1, 2 }
        mare.no_grad(function()
            check.equal((w * 2).requires_grad, false)
            check.equal(mare.enable_grad(function() return (w * 2).requires_grad end), true)
            do
                local _ <close> = mare.enable_grad()
                check.equal(mare.is_grad_enabled(), true)
            end
            check.equal(mare.is_grad_enabled(), false)
            pcall(mare.enable_grad, function() error("x") end)
            check.equal(mare.is_grad_enabled(), false)
        end)
        check.equal(mare.is_grad_enabled(), true)
    end)

    it("name what they cannot differentiate", function()
        check.fails("hessian: expected a function", function() mare.hessian(3, x) end)
        check.fails("jvp: the function returned number where a tensor",
            function() mare.jvp(function() return 3 end, x, x) end)
        check.fails("vjp: no argument is a float tensor",
            function() mare.vjp(function(v) return v end, 3) end)
    end)
end)
