-- The module `mare`: what the engine's binding gives, and what is easier said in Lua.

local core = require "mare.core"
local mare, methods, private = core.api, core.methods, core.private

mare.fs = core.fs

--- Raises an error that starts with the script's own line, as the binding's errors do.
function mare.fail(format, ...)
    error(private.where() .. string.format(format, ...), 0)
end

--- What to do at Ctrl-C in place of the error "interrupted"; true means: go on.
mare.on_interrupt = private.on_interrupt

-- Dimension d of x, from 1 or from -1 at the end, as 1..ndim.
local function dim_of(call, x, d)
    if not mare.is_tensor(x) then
        mare.fail("%s: the tensor must be a tensor, not %s", call, type(x))
    end
    d = d or 1
    local n = x.ndim
    if math.type(d) ~= "integer" then
        mare.fail("%s: the dimension must be an integer, not %s", call, tostring(d))
    elseif d == 0 then
        mare.fail("%s: dimensions count from 1, or from -1 at the end; got 0", call)
    elseif d > n or d < -n then
        mare.fail("%s: dimension %d is out of range for shape %s", call, d, x.shape)
    end
    return d > 0 and d or d + n + 1
end

local function positive(call, what, v)
    if math.type(v) ~= "integer" or v < 1 then
        mare.fail("%s: %s must be a positive integer, not %s", call, what, tostring(v))
    end
    return v
end

local function parts(x, size, dim)
    local total, list = x.shape[dim], {}
    for start = 1, total, size do
        list[#list + 1] = x:narrow(dim, start, math.min(size, total - start + 1))
    end
    if total == 0 then list[1] = x end
    return list
end

--- A list of tensors of `size` entries along a dimension; the last may be smaller.
function mare.split(x, size, dim)
    dim = dim_of("split", x, dim)
    return parts(x, positive("split", "the size", size), dim)
end

--- A list of at most n tensors of about equal size along a dimension.
function mare.chunk(x, n, dim)
    dim = dim_of("chunk", x, dim)
    positive("chunk", "the number of chunks", n)
    return parts(x, math.max(1, (x.shape[dim] + n - 1) // n), dim)
end

methods.split, methods.chunk = mare.split, mare.chunk

-- ---- Gradients ---------------------------------------------------------------------------------

local guard = { __close = function() private.no_grad(false) end }

--- mare.no_grad(f, ...): f(...) with nothing recorded for gradients. Without a function, a value
--- for `local _ <close> = mare.no_grad()`, which lasts to the end of the block.
function mare.no_grad(f, ...)
    if f == nil then
        private.no_grad(true)
        return setmetatable({}, guard)
    end
    private.no_grad(true)
    local _ <close> = setmetatable({}, guard)
    return f(...)
end

local function is_float(x)
    return x.dtype == "f32" or x.dtype == "f16"
end

--- mare.grad(f): a function that returns the gradients of f with respect to its float tensor
--- arguments, in their order, and behind them what f returned.
function mare.grad(f)
    if type(f) ~= "function" then
        mare.fail("grad: expected a function, not %s", type(f))
    end
    return function(...)
        local args, xs = table.pack(...), {}
        for i = 1, args.n do
            local a = args[i]
            if mare.is_tensor(a) and is_float(a) then
                -- What depends on something already stays in its graph: second derivatives.
                if not a.requires_grad then
                    a = a:detach()
                    a.requires_grad = true
                end
                args[i], xs[#xs + 1] = a, a
            end
        end
        if #xs == 0 then
            mare.fail("grad: no argument is a float tensor")
        end
        local values = table.pack(f(table.unpack(args, 1, args.n)))
        if not mare.is_tensor(values[1]) then
            mare.fail("grad: the function returned %s where a tensor is needed", type(values[1]))
        end
        local results = mare.gradients(values[1], xs)
        table.move(values, 1, values.n, #xs + 1, results)
        return table.unpack(results, 1, #xs + values.n)
    end
end

-- ---- Help and submodules -----------------------------------------------------------------------

--- What stands in mare.doc about a function, given by name ("nn.Linear") or as a value.
function mare.help(what)
    return require("mare.help").text(what)
end

-- mare.nn, mare.optim, ... are loaded when first used.
return setmetatable(mare, {
    __index = function(t, name)
        if type(name) == "string" and private.source("mare/" .. name .. ".lua") then
            local module = require("mare." .. name)
            rawset(t, name, module)
            return module
        end
    end,
})
