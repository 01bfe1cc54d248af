--- Softmax, norms, reductions, scans, sorting.

local mare = require "mare"
local data = require "cases.data"

local random, leaf, FLOATS = data.random, data.leaf, data.FLOATS
local F32, HALF = { "f32" }, { "f32", "f16" }

-- y = f(x, ...) of tensors that make(dtype) gives, or with `backward` its gradients by all of them.
local function of(make, f, backward)
    return function(dtype)
        local inputs = { make(dtype) }
        local function forward() return (f(table.unpack(inputs))) end
        if not backward then return { inputs = inputs, run = forward } end
        for _, x in ipairs(inputs) do leaf(x) end
        local gy = random(dtype, table.unpack(forward().shape))
        return {
            inputs = { gy, table.unpack(inputs) },
            run = function() return table.unpack(mare.gradients(forward(), inputs, gy)) end,
        }
    end
end

local function shaped(...)
    local shape = { ... }
    return function(dtype) return random(dtype, table.unpack(shape)) end
end

-- A tensor with a weight and perhaps a bias of `size`.
local function weighted(size, shape, bias)
    return function(dtype)
        local x, w = random(dtype, table.unpack(shape)), random(dtype, size)
        if bias then return x, w, random(dtype, size) end
        return x, w
    end
end

local function softmax(add)
    local function last(x) return x:softmax(-1) end
    add("softmax", "1024x1024", FLOATS, of(shaped(1024, 1024), last))
    add("softmax", "1024x1024, gradient", HALF, of(shaped(1024, 1024), last, true))
    add("softmax", "64x50257", F32, of(shaped(64, 50257), last))
    add("softmax", "log, 1024x1024", F32, of(shaped(1024, 1024), function(x)
        return x:log_softmax(-1)
    end))
    add("softmax", "of columns, 1024x1024", F32, of(shaped(1024, 1024), function(x)
        return x:softmax(1)
    end))
end

local function norm(add)
    local rows, images = { 1024, 1024 }, { 32, 64, 32, 32 }
    local function layer(x, w, b) return x:layer_norm({ 1024 }, w, b) end
    local function rms(x, w) return x:rms_norm({ 1024 }, w) end
    local function batch(x, w, b)
        return mare.batch_norm(x, nil, nil, w, b, { training = true })
    end
    local function group(x, w, b) return x:group_norm(8, w, b) end
    add("norm", "layer, 1024x1024", FLOATS, of(weighted(1024, rows, true), layer))
    add("norm", "layer, 1024x1024, gradients", F32, of(weighted(1024, rows, true), layer, true))
    add("norm", "rms, 1024x1024", HALF, of(weighted(1024, rows), rms))
    add("norm", "rms, 1024x1024, gradients", F32, of(weighted(1024, rows), rms, true))
    add("norm", "batch, 32x64x32x32", HALF, of(weighted(64, images, true), batch))
    add("norm", "batch, 32x64x32x32, gradients", F32, of(weighted(64, images, true), batch, true))
    add("norm", "group, 32x64x32x32", F32, of(weighted(64, images, true), group))
end

local function reduce(add)
    local all, square = shaped(16 * 1024 * 1024), shaped(4096, 4096)
    add("reduce", "sum of 16.8 M", FLOATS, of(all, function(x) return x:sum() end))
    add("reduce", "sum of rows, 4096x4096", HALF, of(square, function(x) return x:sum(2) end))
    add("reduce", "sum of columns, 4096x4096", HALF, of(square, function(x) return x:sum(1) end))
    add("reduce", "max of rows, 4096x4096", F32, of(square, function(x) return x:amax(2) end))
    add("reduce", "argmax of rows, 4096x4096", F32, of(square, function(x)
        return x:argmax { dim = 2 }
    end))
    add("reduce", "var of rows, 4096x4096", F32, of(square, function(x) return x:var(2) end))
end

local function scan(add)
    add("scan", "cumsum of rows, 1024x1024", F32, of(shaped(1024, 1024), function(x)
        return x:cumsum(2)
    end))
    add("scan", "cumsum of 1 M", F32, of(shaped(1024 * 1024), function(x) return x:cumsum(1) end))
    add("scan", "sort rows, 1024x1024", F32, of(shaped(1024, 1024), function(x)
        return x:argsort()
    end))
end

return function(add)
    softmax(add)
    norm(add)
    reduce(add)
    scan(add)
end
