-- Differentiation: what is recorded, functional gradients, functions with a gradient of their own,
-- hooks, checkpoints. Adds to the module `mare` and to the methods of tensors.

local core = require "mare.core"
local mare, methods, autodiff = core.api, core.methods, core.autodiff
local need_function = core.private.need_function

-- ---- What is recorded --------------------------------------------------------------------------

local guard = { __close = function() autodiff.no_grad(false) end }

--- mare.no_grad(f, ...): f(...) with nothing recorded for gradients. Without a function, a value
--- for `local _ <close> = mare.no_grad()`, which lasts to the end of the block.
function mare.no_grad(f, ...)
    if f == nil then
        autodiff.no_grad(true)
        return setmetatable({}, guard)
    end
    autodiff.no_grad(true)
    local _ <close> = setmetatable({}, guard)
    return f(...)
end

-- Goes back to `depth` nested no_grad's.
local reguard = { __close = function(self)
    for _ = 1, self.depth do autodiff.no_grad(true) end
end }

--- mare.enable_grad(f, ...): f(...) recorded for gradients, also within mare.no_grad(). Without a
--- function, a value for `local _ <close> = mare.enable_grad()`.
function mare.enable_grad(f, ...)
    local lifted = setmetatable({ depth = 0 }, reguard)
    while not autodiff.enabled() do
        autodiff.no_grad(false)
        lifted.depth = lifted.depth + 1
    end
    if f == nil then return lifted end
    local _ <close> = lifted
    return f(...)
end

--- Are gradients recorded now?
function mare.is_grad_enabled()
    return autodiff.enabled()
end

-- ---- Functional forms --------------------------------------------------------------------------

local function need_result(call, y)
    if not mare.is_tensor(y) then
        mare.fail("%s: the function returned %s where a tensor is needed", call, type(y))
    end
    return y
end

-- x, or another handle of its value, that requires a gradient. What depends on something already
-- stays in its graph: second derivatives.
local function leaf(x)
    if x.requires_grad then return x end
    x = x:detach()
    x.requires_grad = true
    return x
end

-- The arguments with leaves in place of float tensors, and the list of those.
local function leaves(call, ...)
    local args, xs = table.pack(...), {}
    for i = 1, args.n do
        local a = args[i]
        if mare.is_tensor(a) and a:is_floating_point() then
            a = leaf(a)
            args[i], xs[#xs + 1] = a, a
        end
    end
    if #xs == 0 then mare.fail("%s: no argument is a float tensor", call) end
    return args, xs
end

-- Gradients of y, which may depend on nothing.
local function gradients(y, xs, gy)
    if y.requires_grad then return mare.gradients(y, xs, gy) end
    local zeros = {}
    for i, x in ipairs(xs) do zeros[i] = mare.zeros(x.shape, { dtype = x.dtype }) end
    return zeros
end

--- mare.grad(f): a function that returns the gradients of f with respect to its float tensor
--- arguments, in their order, and behind them what f returned.
function mare.grad(f)
    need_function("grad", f)
    return function(...)
        local args, xs = leaves("grad", ...)
        local values = table.pack(f(table.unpack(args, 1, args.n)))
        local results = mare.gradients(need_result("grad", values[1]), xs)
        table.move(values, 1, values.n, #xs + 1, results)
        return table.unpack(results, 1, #xs + values.n)
    end
end

--- mare.vjp(f, ...): f(...), and a function of a gradient of it that returns the gradients with
--- respect to the float tensor arguments.
function mare.vjp(f, ...)
    need_function("vjp", f)
    local args, xs = leaves("vjp", ...)
    local y = need_result("vjp", f(table.unpack(args, 1, args.n)))
    return y, function(gy) return table.unpack(gradients(y, xs, gy)) end
end

--- mare.jvp(f, x, t): f(x), and its derivative at x in the direction t (shaped like x).
function mare.jvp(f, x, t)
    need_function("jvp", f)
    local args, xs = leaves("jvp", x)
    local y = need_result("jvp", f(args[1]))
    -- The gradient is linear in what comes in; its own gradient by that goes forward.
    local v = leaf(mare.zeros(y.shape, { dtype = y.dtype }))
    local gx = gradients(y, xs, v)[1]
    return y, gradients(gx, { v }, t)[1]
end

--- mare.jacobian(f, x): the derivatives of each element of f(x) by each of x, shaped like f(x) and
--- x one after the other. One backward pass for each element of f(x).
function mare.jacobian(f, x)
    need_function("jacobian", f)
    local args, xs = leaves("jacobian", x)
    local y = need_result("jacobian", f(args[1]))
    local shape, rows, n = {}, {}, y:numel()
    for d = 1, y.ndim do shape[d] = y.shape[d] end
    for d = 1, x.ndim do shape[#shape + 1] = x.shape[d] end
    if n == 0 or x:numel() == 0 then return mare.zeros(shape, { dtype = x.dtype }) end
    local unit = mare.eye(n, { dtype = y.dtype })
    for i = 1, n do rows[i] = gradients(y, xs, unit[i]:reshape(y.shape))[1] end
    return mare.stack(rows):reshape(shape)
end

--- mare.hessian(f, x): the second derivatives of f(x), which has one element, shaped like x twice.
function mare.hessian(f, x)
    need_function("hessian", f)
    return mare.jacobian(function(a)
        return gradients(need_result("hessian", f(a)), { a })[1]
    end, x)
end

--- mare.hvp(f, x, v): f(x), which has one element, and its Hessian times v (shaped like x).
function mare.hvp(f, x, v)
    need_function("hvp", f)
    local _, xs = leaves("hvp", x)
    local y = need_result("hvp", f(xs[1]))
    return y, gradients(gradients(y, xs)[1], xs, v)[1]
end

-- ---- Functions with a gradient of their own ----------------------------------------------------

local function tensors_of(call, what, values, n)
    for i = 1, n do
        if not mare.is_tensor(values[i]) then
            mare.fail("%s: %s returned %s where a tensor is needed", call, what, type(values[i]))
        end
    end
end

--- mare.custom_function{ forward =, backward =, name = }: a function with a gradient of its own.
--- forward(ctx, ...) gets the arguments and returns one or more tensors; it records nothing.
--- backward(ctx, gy, ...) gets a gradient for each of them, and returns one for each tensor among
--- the arguments of forward, in their order (nil: none). ctx is a table for what backward needs,
--- new at each call. What backward computes of ctx and gy can be differentiated again.
function mare.custom_function(options)
    local call = options.name or "custom_function"
    need_function(call, options.forward)
    need_function(call, options.backward)
    return function(...)
        local args, inputs, ctx, wanted = table.pack(...), {}, {}, false
        for i = 1, args.n do
            if mare.is_tensor(args[i]) then
                inputs[#inputs + 1] = args[i]
                wanted = wanted or args[i].requires_grad
            end
        end
        local ys = table.pack(mare.no_grad(options.forward, ctx, ...))
        tensors_of(call, "forward", ys, math.max(ys.n, 1))
        if not wanted then return table.unpack(ys, 1, ys.n) end
        local results, shapes, dtypes = {}, {}, {}
        for i = 1, ys.n do shapes[i], dtypes[i] = ys[i].shape, ys[i].dtype end
        for i = 1, ys.n do
            results[i] = autodiff.custom(ys[i], inputs, function(gy)
                -- The gradient is linear in those of the results, so they may come one by one.
                local gys = {}
                for k = 1, #shapes do
                    gys[k] = k == i and gy or mare.zeros(shapes[k], { dtype = dtypes[k] })
                end
                return options.backward(ctx, table.unpack(gys))
            end)
        end
        return table.unpack(results)
    end
end

-- ---- Hooks -------------------------------------------------------------------------------------

local hook_methods = {}
local hook_meta = { __index = hook_methods }

--- Takes the hook away.
function hook_methods:remove()
    autodiff.unhook(self.tensor, self.id)
end

--- x:register_hook(f): each backward pass calls f(gradient of x); what it returns, if anything,
--- takes the gradient's place. Returns an object with a method remove(). Hooks on a computed tensor
--- go with its graph; a function that names the parameter it is hooked on keeps it alive.
function methods.register_hook(x, f)
    if not mare.is_tensor(x) then
        mare.fail("register_hook: the tensor must be a tensor, not %s", type(x))
    end
    need_function("register_hook", f)
    local id = autodiff.hook(x, function(gradient) return (f(gradient)) end)
    return setmetatable({ tensor = x, id = id }, hook_meta)
end
mare.register_hook = methods.register_hook

-- ---- Checkpoints -------------------------------------------------------------------------------

--- mare.checkpoint(f, ...): f(...), of which nothing is kept for the backward pass, which computes
--- it once more (Chen et al. 2016). f's random numbers are the same again; its side effects happen
--- once. The results that require gradients should be few: each is computed again by itself.
function mare.checkpoint(f, ...)
    need_function("checkpoint", f)
    local start = autodiff.start()
    local ys = table.pack(f(...))
    for i = 1, ys.n do
        if mare.is_tensor(ys[i]) and ys[i].requires_grad then
            ys[i] = autodiff.checkpoint(ys[i], start)
        end
    end
    return table.unpack(ys, 1, ys.n)
end

-- ---- Checks ------------------------------------------------------------------------------------

--- mare.gradcheck(f, inputs, { eps = 1e-2, rtol = 2e-2, atol = 2e-3 }): compares the gradients of f
--- at the list of inputs with central differences, element by element, and raises an error that
--- names the first that differs. Values are f32, so steps are large and inputs should be of the
--- size of 1, away from kinks.
function mare.gradcheck(f, inputs, options)
    need_function("gradcheck", f)
    options = options or {}
    local eps, rtol, atol = options.eps or 1e-2, options.rtol or 2e-2, options.atol or 2e-3
    local args, xs = leaves("gradcheck", table.unpack(inputs))
    local weights
    -- One number: the results times fixed weights.
    local function value(list)
        local ys = table.pack(f(table.unpack(list, 1, args.n)))
        local total
        weights = weights or {}
        for i = 1, ys.n do
            local y = need_result("gradcheck", ys[i])
            if y:is_floating_point() then
                if not weights[i] then
                    local w = {}
                    for k = 1, y:numel() do w[k] = 0.5 + (k * 7919 % 13) / 13 end
                    weights[i] = mare.tensor(w):reshape(y.shape)
                end
                local part = (y:float() * weights[i]):sum()
                total = total and total + part or part
            end
        end
        if not total then mare.fail("gradcheck: the function returned no float tensor") end
        return total
    end
    local grads = gradients(value(args), xs)
    local which = 0
    for i = 1, args.n do
        if mare.is_tensor(args[i]) and args[i]:is_floating_point() then
            which = which + 1
            local data = args[i]:detach():float():reshape(-1):totable()
            local got = grads[which]:float():reshape(-1):totable()
            for k, at in ipairs(data) do
                local list = table.pack(table.unpack(args, 1, args.n))
                local function shifted(by)
                    data[k] = at + by
                    list[i] = mare.tensor(data):to(args[i].dtype):reshape(args[i].shape)
                    return mare.no_grad(value, list):item()
                end
                local slope = (shifted(eps) - shifted(-eps)) / (2 * eps)
                data[k] = at
                local near = math.abs(got[k] - slope) <= atol + rtol * math.abs(slope)
                if not near then
                    mare.fail("gradcheck: the gradient of element %d of argument %d is %.6g, by "
                        .. "central differences %.6g", k, i, got[k], slope)
                end
            end
        end
    end
    return true
end
