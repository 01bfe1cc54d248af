--- Initialisers: each sets a tensor's values in place and returns it.

local mare = require "mare"

local init = {}

local function set(tensor, make)
    mare.no_grad(function()
        local value = make()
        tensor:assign(value.dtype == tensor.dtype and value or value:to(tensor.dtype))
    end)
    mare.eval(tensor)
    return tensor
end

---Inputs and outputs of one unit: of a weight [outputs, inputs, ...] with a receptive field behind.
---@param shape integer[]
---@return integer fan_in
---@return integer fan_out
function init.fans(shape)
    if #shape < 2 then
        mare.fail("init: a tensor of %d dimensions has no fan in and out; 2 or more are needed",
            #shape)
    end
    local field = 1
    for i = 3, #shape do field = field * shape[i] end
    return shape[2] * field, shape[1] * field
end

---Factor by which a nonlinearity asks for larger weights.
---@param nonlinearity string "linear", "sigmoid", "tanh", "relu", "leaky_relu" or "selu"
---@param a? number slope of leaky_relu, default 0.01
---@return number
function init.gain(nonlinearity, a)
    if nonlinearity == "linear" or nonlinearity == "sigmoid" then return 1 end
    if nonlinearity == "tanh" then return 5 / 3 end
    if nonlinearity == "relu" then return math.sqrt(2) end
    if nonlinearity == "leaky_relu" then return math.sqrt(2 / (1 + (a or 0.01) ^ 2)) end
    if nonlinearity == "selu" then return 3 / 4 end
    mare.fail("init.gain: unknown nonlinearity '%s'", tostring(nonlinearity))
end

local function kaiming_std(tensor, options)
    options = options or {}
    local fan_in, fan_out = init.fans(tensor.shape)
    local mode = options.mode or "fan_in"
    if mode ~= "fan_in" and mode ~= "fan_out" then
        mare.fail("init: mode is 'fan_in' or 'fan_out', not '%s'", tostring(mode))
    end
    local fan = mode == "fan_in" and fan_in or fan_out
    local gain = init.gain(options.nonlinearity or "leaky_relu", options.a or 0)
    return gain / math.sqrt(math.max(fan, 1))
end

---@param tensor mare.tensor
---@param value number
function init.constant(tensor, value)
    return set(tensor, function() return mare.full(tensor.shape, value) end)
end

---@param tensor mare.tensor
function init.zeros(tensor) return init.constant(tensor, 0) end

---@param tensor mare.tensor
function init.ones(tensor) return init.constant(tensor, 1) end

---@param tensor mare.tensor
---@param lo? number default 0
---@param hi? number default 1
function init.uniform(tensor, lo, hi)
    return set(tensor, function() return mare.uniform(tensor.shape, lo or 0, hi or 1) end)
end

---@param tensor mare.tensor
---@param mean? number default 0
---@param std? number default 1
function init.normal(tensor, mean, std)
    return set(tensor, function() return mare.normal(tensor.shape, mean or 0, std or 1) end)
end

---Normal, but only within a..b.
---@param tensor mare.tensor
---@param mean? number default 0
---@param std? number default 1
---@param a? number default -2
---@param b? number default 2
function init.trunc_normal(tensor, mean, std, a, b)
    return set(tensor, function() return mare.trunc_normal(tensor.shape, mean, std, a, b) end)
end

---He et al. 2015, uniform.
---@param tensor mare.tensor
---@param options? {a?: number, mode?: string, nonlinearity?: string}
function init.kaiming_uniform(tensor, options)
    local bound = math.sqrt(3) * kaiming_std(tensor, options)
    return init.uniform(tensor, -bound, bound)
end

---He et al. 2015, normal.
---@param tensor mare.tensor
---@param options? {a?: number, mode?: string, nonlinearity?: string}
function init.kaiming_normal(tensor, options)
    return init.normal(tensor, 0, kaiming_std(tensor, options))
end

local function xavier_std(tensor, gain)
    local fan_in, fan_out = init.fans(tensor.shape)
    return (gain or 1) * math.sqrt(2 / math.max(fan_in + fan_out, 1))
end

---Glorot and Bengio 2010, uniform.
---@param tensor mare.tensor
---@param gain? number default 1
function init.xavier_uniform(tensor, gain)
    local bound = math.sqrt(3) * xavier_std(tensor, gain)
    return init.uniform(tensor, -bound, bound)
end

---Glorot and Bengio 2010, normal.
---@param tensor mare.tensor
---@param gain? number default 1
function init.xavier_normal(tensor, gain)
    return init.normal(tensor, 0, xavier_std(tensor, gain))
end

return init
