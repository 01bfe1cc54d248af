--- Matrix products and convolutions.

local mare = require "mare"
local data = require "cases.data"

local random, leaf, FLOATS = data.random, data.leaf, data.FLOATS
local ALL = { "f32", "f16", "bf16", "i8" }

-- [m, k] times [k, n], `batch` of them; an operand that is transposed lies as its transpose does.
local function product(m, n, k, options)
    options = options or {}
    return function(dtype)
        local function operand(rows, columns, transposed)
            if transposed then rows, columns = columns, rows end
            if options.batch then return random(dtype, options.batch, rows, columns) end
            return random(dtype, rows, columns)
        end
        local a, b = operand(m, k, options.a), operand(k, n, options.b)
        return {
            inputs = { a, b }, flops = 2 * m * n * k * (options.batch or 1),
            run = function()
                return (options.a and a:transpose(-2, -1) or a):matmul(
                    options.b and b:transpose(-2, -1) or b)
            end,
        }
    end
end

local function gemm(add)
    add("gemm", "512^3", ALL, product(512, 512, 512))
    add("gemm", "1024^3", ALL, product(1024, 1024, 1024))
    add("gemm", "1024^3, a transposed", { "f32" }, product(1024, 1024, 1024, { a = true }))
    add("gemm", "1024^3, b transposed", { "f32", "f16" }, product(1024, 1024, 1024, { b = true }))
    add("gemm", "2048^3", FLOATS, product(2048, 2048, 2048))
    add("gemm", "4096x1x4096", FLOATS, product(4096, 1, 4096))
    add("gemm", "1x4096x4096", { "f32" }, product(1, 4096, 4096))
    add("gemm", "4096x16x4096", { "f32" }, product(4096, 16, 4096))
    add("gemm", "64x64x16384", { "f32" }, product(64, 64, 16384))
    add("gemm", "128^3, 64 of them", { "f32", "f16" }, product(128, 128, 128, { batch = 64 }))
end

-- A convolution as three rows: forward, and the gradients of data and weight.
local function convolution(add, name, shape, dtypes)
    local groups, axes = shape.groups or 1, #shape.size
    local function make(dtype)
        local x = random(dtype, shape.batch, shape.inputs, table.unpack(shape.size))
        local kernel = {}
        for d = 1, axes do kernel[d] = shape.kernel end
        local w = random(dtype, shape.outputs, shape.inputs // groups, table.unpack(kernel))
        local options = { padding = shape.kernel // 2, stride = shape.stride or 1, groups = groups }
        local function forward() return mare["conv" .. axes .. "d"](x, w, nil, options) end
        -- Each element of the result takes one multiply-add a tap and channel of its group.
        local n = forward():numel()
        return x, w, forward, 2 * n * shape.inputs // groups * shape.kernel ^ axes
    end
    add("conv", name, dtypes or { "f32" }, function(dtype)
        local x, w, forward, flops = make(dtype)
        return { inputs = { x, w }, run = forward, flops = flops }
    end)
    for _, part in ipairs { "data", "weight" } do
        add("conv", name .. ", " .. part .. " gradient", shape.gradients or { "f32" },
            function(dtype)
                local x, w, forward, flops = make(dtype)
                local gy = random(dtype, table.unpack(forward().shape))
                local of, other = leaf(part == "data" and x or w), part == "data" and w or x
                return {
                    inputs = { other, gy }, flops = flops,
                    run = function() return mare.gradients(forward(), { of }, gy)[1] end,
                }
            end)
    end
end

local function conv(add)
    local function at(kernel, more)
        local shape = { batch = 32, inputs = 64, outputs = 64, size = { 32, 32 }, kernel = kernel }
        for k, v in pairs(more or {}) do shape[k] = v end
        return shape
    end
    convolution(add, "3x3, 32x32x64 to 64, b32", at(3, { gradients = { "f32", "f16" } }), ALL)
    convolution(add, "1x1, 32x32x64 to 64, b32", at(1), { "f32", "f16" })
    convolution(add, "5x5, 32x32x64 to 64, b32", at(5))
    convolution(add, "3x3, stride 2", at(3, { stride = 2 }))
    convolution(add, "3x3, depthwise", at(3, { groups = 64 }))
    convolution(add, "3x3, 28x28x1 to 32, b64",
        at(3, { batch = 64, inputs = 1, outputs = 32, size = { 28, 28 } }))
    convolution(add, "1d, 3 of 1024x64, b32", at(3, { size = { 1024 } }))
    convolution(add, "3d, 3^3 of 16^3x16, b4",
        at(3, { batch = 4, inputs = 16, outputs = 16, size = { 16, 16, 16 } }))
end

return function(add)
    gemm(add)
    conv(add)
end
