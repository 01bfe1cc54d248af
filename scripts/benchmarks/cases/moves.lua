--- What only moves data or works on each element: elementwise operations, copies, pooling, gather
--- and scatter, optimisers, random numbers.

local mare = require "mare"
local optim = require "mare.optim"
local data = require "cases.data"

local random, leaf, FLOATS = data.random, data.leaf, data.FLOATS
local F32, HALF = { "f32" }, { "f32", "f16" }
local MANY = 16 * 1024 * 1024

-- y = f of `n` tensors of one shape.
local function of(n, shape, f)
    return function(dtype)
        local inputs = { data.several(n, dtype, table.unpack(shape)) }
        return { inputs = inputs, run = function() return f(table.unpack(inputs)) end }
    end
end

local function elementwise(add)
    add("elementwise", "add, 16.8 M", FLOATS, of(2, { MANY }, function(a, b) return a + b end))
    add("elementwise", "gelu, 16.8 M", HALF, of(1, { MANY }, function(a) return a:gelu() end))
    add("elementwise", "a b + c, tanh, 16.8 M", HALF, of(3, { MANY }, function(a, b, c)
        return (a * b + c):tanh()
    end))
    add("elementwise", "add a row, 4096x4096", F32, function(dtype)
        local x, row = random(dtype, 4096, 4096), random(dtype, 4096)
        return { inputs = { x, row }, run = function() return x + row end }
    end)
    add("elementwise", "add, 1024", F32, of(2, { 1024 }, function(a, b) return a + b end))
end

local function copy(add)
    add("copy", "two of 8.4 M joined", HALF, of(2, { MANY / 2 // 1 }, function(a, b)
        return mare.cat { a, b }
    end))
    add("copy", "transpose, 4096x4096", HALF, of(1, { 4096, 4096 }, function(x)
        return x:t():contiguous()
    end))
    add("copy", "channels last, 32x64x64x64", F32, of(1, { 32, 64, 64, 64 }, function(x)
        return x:permute(1, 3, 4, 2):contiguous()
    end))
    add("copy", "heads, 12x64x4x32", F32, of(1, { 12, 64, 4, 32 }, function(x)
        return x:transpose(2, 3):contiguous()
    end))
    add("copy", "f32 to f16, 16.8 M", F32, of(1, { MANY }, function(x) return x:to "f16" end))
    add("copy", "every other row, 4096x4096", F32, function(dtype)
        local x = random(dtype, 4096, 4096)
        return {
            inputs = { x }, bytes = 2 * 2048 * 4096 * 4,
            run = function() return x[{ { 1, -1, 2 } }]:contiguous() end,
        }
    end)
end

local function pool(add)
    local images = { 32, 64, 32, 32 }
    local function max(x) return x:max_pool2d(2) end
    add("pool", "max 2x2, 32x64x32x32", HALF, of(1, images, max))
    add("pool", "max 2x2, gradient", F32, function(dtype)
        local x = leaf(random(dtype, table.unpack(images)))
        local gy = random(dtype, 32, 64, 16, 16)
        return {
            inputs = { x, gy }, run = function() return mare.gradients(max(x), { x }, gy)[1] end,
        }
    end)
    add("pool", "average 3x3, 32x64x32x32", F32, of(1, images, function(x)
        return x:avg_pool2d(3, { stride = 1, padding = 1 })
    end))
    add("pool", "global average, 32x64x32x32", F32, of(1, images, function(x)
        return x:global_avg_pool()
    end))
end

local function index(add)
    local ROWS, WIDTH, TOKENS = 50257, 256, 8192
    local function table_of(dtype)
        local weight = random(dtype, ROWS, WIDTH)
        return weight, mare.randint(0, ROWS, { TOKENS }):eval(), weight:numel() // ROWS
    end
    -- Rows that are taken are read and written, beside the numbers of the rows (i32).
    local function moved(dtype) return TOKENS * (2 * WIDTH * (dtype == "f32" and 4 or 2) + 4) end
    add("index", "embedding, 8192 of 50257x256", HALF, function(dtype)
        local weight, tokens = table_of(dtype)
        return {
            inputs = { weight, tokens }, bytes = moved(dtype),
            run = function() return mare.embedding(tokens, weight) end,
        }
    end)
    add("index", "embedding, gradient", F32, function(dtype)
        local weight, tokens = table_of(dtype)
        leaf(weight)
        local gy = random(dtype, TOKENS, WIDTH)
        return {
            inputs = { tokens, gy },
            run = function()
                return mare.gradients(mare.embedding(tokens, weight), { weight }, gy)[1]
            end,
        }
    end)
    add("index", "gather columns, 1024x1024", F32, function(dtype)
        local x = random(dtype, 1024, 1024)
        local at = mare.randint(0, 1024, { 1024, 1024 }):eval()
        return { inputs = { x, at }, run = function() return x:gather(2, at) end }
    end)
    add("index", "scatter_add, 1 M into 1024x1024", F32, function(dtype)
        local x, values = data.several(2, dtype, 1024, 1024)
        local at = mare.randint(0, 1024, { 1024, 1024 }):eval()
        return {
            inputs = { x, at, values }, run = function() return x:scatter_add(2, at, values) end,
        }
    end)
end

-- An update of `count` parameters of `size` elements. `slots`: tensors of state each.
local function update(kind, slots, count, size, options)
    return function(dtype)
        local params = {}
        for i = 1, count do
            params[i] = leaf(random(dtype, size))
            params[i].grad = random(dtype, size)
        end
        local opt = optim[kind](params, options)
        return {
            -- Parameter and state are read and written, the gradient is read.
            inputs = params, bytes = (2 * (1 + slots) + 1) * 4 * count * size,
            run = function() opt:step() end,
        }
    end
end

local function optimiser(add)
    add("optimiser", "Adam, 4.2 M", F32, update("Adam", 2, 1, 4 * 1024 * 1024, { lr = 1e-3 }))
    add("optimiser", "Adam, 64 of 65536", F32, update("Adam", 2, 64, 65536, { lr = 1e-3 }))
    add("optimiser", "AdamW, 4.2 M", F32, update("AdamW", 2, 1, 4 * 1024 * 1024, { lr = 1e-3 }))
    add("optimiser", "SGD with momentum, 4.2 M", F32,
        update("SGD", 1, 1, 4 * 1024 * 1024, { lr = 1e-3, momentum = 0.9 }))
end

local function draws(add)
    add("random", "uniform, 16.8 M", HALF, function(dtype)
        return { inputs = {}, run = function() return mare.rand(MANY, { dtype = dtype }) end }
    end)
    add("random", "normal, 16.8 M", F32, function(dtype)
        return { inputs = {}, run = function() return mare.randn(MANY, { dtype = dtype }) end }
    end)
    add("random", "dropout, 16.8 M", F32, of(1, { MANY }, function(x) return x:dropout() end))
end

return function(add)
    elementwise(add)
    copy(add)
    pool(add)
    index(add)
    optimiser(add)
    draws(add)
end
