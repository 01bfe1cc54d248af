--- Tensors for the cases.

local mare = require "mare"

local data = {}

---Normal numbers; of i8, integers from -8 to 7.
---@param dtype string
---@param ... integer the shape
---@return mare.tensor evaluated
function data.random(dtype, ...)
    if dtype == "i8" then return mare.randint(-8, 8, { ... }):to(dtype):eval() end
    return mare.randn(...):to(dtype):eval()
end

---n tensors of one shape and dtype.
---@return mare.tensor ...
function data.several(n, dtype, ...)
    local list = {}
    for i = 1, n do list[i] = data.random(dtype, ...) end
    return table.unpack(list)
end

---A tensor that gradients are taken of.
---@param t mare.tensor
---@return mare.tensor t
function data.leaf(t)
    t.requires_grad = true
    return t
end

data.FLOATS = { "f32", "f16", "bf16" }

return data
