--- Layers with parameters, and containers.

local mare = require "mare"
local F = require "mare.nn.functional"
local args = require "mare.nn.args"
local module = require "mare.nn.module"

local Module, is_module = module.Module, module.is_module
local size, options_of = args.size, args.options_of

local layers = {}

--- Uniform in +-1 / sqrt(fan_in): Kaiming's uniform with a = sqrt(5).
local function fan_uniform(shape, fan_in)
    local bound = fan_in > 0 and 1 / math.sqrt(fan_in) or 0
    return mare.uniform(shape, -bound, bound)
end

---x W^T + b over the last dimension.
---@class mare.nn.Linear: mare.nn.Module
---@field weight mare.tensor [outputs, inputs]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs: integer, outputs: integer, options?: {bias?: boolean}): mare.nn.Linear
layers.Linear = Module:extend("Linear")

function layers.Linear:init(inputs, outputs, options)
    options = options_of(self, options, { bias = true })
    self.inputs = size(self, "inputs", inputs, 1)
    self.outputs = size(self, "outputs", outputs, 1)
    self:parameter("weight", fan_uniform({ self.outputs, self.inputs }, self.inputs))
    if options.bias ~= false then
        self:parameter("bias", fan_uniform({ self.outputs }, self.inputs))
    end
end

---@param x mare.tensor
---@param weight? mare.tensor in place of the layer's own
function layers.Linear:forward(x, weight)
    local shape = x.shape
    if shape[#shape] ~= self.inputs then
        mare.fail("expected [..., %d], got %s", self.inputs, shape)
    end
    return F.linear(x, weight or self.weight, self.bias)
end

function layers.Linear:extra()
    return ("%d, %d%s"):format(self.inputs, self.outputs, self.bias and "" or ", bias=false")
end

---Dimensions `from` (default 2) to `to` (default the last) as one.
---@class mare.nn.Flatten: mare.nn.Module
---@overload fun(from?: integer, to?: integer): mare.nn.Flatten
layers.Flatten = Module:extend("Flatten")

function layers.Flatten:init(from, to)
    self.from, self.to_dim = from or 2, to or -1
end

function layers.Flatten:forward(x) return x:flatten(self.from, self.to_dim) end

function layers.Flatten:extra()
    if self.from == 2 and self.to_dim == -1 then return "" end
    return ("%d, %d"):format(self.from, self.to_dim)
end

--- Modules from a function of a tensor and at most one setting.
local function function_class(name, forward, default)
    local class = Module:extend(name)
    function class:init(setting)
        if setting == nil then setting = default end
        self.setting = setting
    end
    function class:forward(x) return forward(x, self.setting) end
    function class:extra()
        return self.setting ~= default and ("%g"):format(self.setting) or ""
    end
    return class
end

---max(x, 0).
---@class mare.nn.ReLU: mare.nn.Module
---@overload fun(): mare.nn.ReLU
layers.ReLU = function_class("ReLU", F.relu)

---x where x > 0, else slope * x.
---@class mare.nn.LeakyReLU: mare.nn.Module
---@overload fun(slope?: number): mare.nn.LeakyReLU
layers.LeakyReLU = function_class("LeakyReLU", F.leaky_relu, 0.01)

---x where x > 0, else alpha * (exp(x) - 1).
---@class mare.nn.ELU: mare.nn.Module
---@overload fun(alpha?: number): mare.nn.ELU
layers.ELU = function_class("ELU", F.elu, 1)

---x times the normal distribution function of x.
---@class mare.nn.GELU: mare.nn.Module
---@overload fun(): mare.nn.GELU
layers.GELU = function_class("GELU", F.gelu)

---x * sigmoid(x).
---@class mare.nn.SiLU: mare.nn.Module
---@overload fun(): mare.nn.SiLU
layers.SiLU = function_class("SiLU", F.silu)

---1 / (1 + exp(-x)).
---@class mare.nn.Sigmoid: mare.nn.Module
---@overload fun(): mare.nn.Sigmoid
layers.Sigmoid = function_class("Sigmoid", F.sigmoid)

---Hyperbolic tangent.
---@class mare.nn.Tanh: mare.nn.Module
---@overload fun(): mare.nn.Tanh
layers.Tanh = function_class("Tanh", F.tanh)

---max(x, 0), at most 6.
---@class mare.nn.ReLU6: mare.nn.Module
---@overload fun(): mare.nn.ReLU6
layers.ReLU6 = function_class("ReLU6", F.relu6)

---ELU with the scales of self-normalising networks.
---@class mare.nn.SELU: mare.nn.Module
---@overload fun(): mare.nn.SELU
layers.SELU = function_class("SELU", F.selu)

---x where x > 0, else alpha * (exp(x / alpha) - 1).
---@class mare.nn.CELU: mare.nn.Module
---@overload fun(alpha?: number): mare.nn.CELU
layers.CELU = function_class("CELU", F.celu, 1)

---x * tanh(softplus(x)).
---@class mare.nn.Mish: mare.nn.Module
---@overload fun(): mare.nn.Mish
layers.Mish = function_class("Mish", F.mish)

---relu6(x + 3) / 6.
---@class mare.nn.Hardsigmoid: mare.nn.Module
---@overload fun(): mare.nn.Hardsigmoid
layers.Hardsigmoid = function_class("Hardsigmoid", F.hardsigmoid)

---x * relu6(x + 3) / 6.
---@class mare.nn.Hardswish: mare.nn.Module
---@overload fun(): mare.nn.Hardswish
layers.Hardswish = function_class("Hardswish", F.hardswish)

---log(1 + exp(beta * x)) / beta.
---@class mare.nn.Softplus: mare.nn.Module
---@overload fun(beta?: number): mare.nn.Softplus
layers.Softplus = function_class("Softplus", F.softplus, 1)

---x / (1 + |x|).
---@class mare.nn.Softsign: mare.nn.Module
---@overload fun(): mare.nn.Softsign
layers.Softsign = function_class("Softsign", F.softsign)

---log(sigmoid(x)).
---@class mare.nn.LogSigmoid: mare.nn.Module
---@overload fun(): mare.nn.LogSigmoid
layers.LogSigmoid = function_class("LogSigmoid", F.logsigmoid)

---x, but 0 between -lambda and lambda.
---@class mare.nn.Hardshrink: mare.nn.Module
---@overload fun(lambda?: number): mare.nn.Hardshrink
layers.Hardshrink = function_class("Hardshrink", F.hardshrink, 0.5)

---x nearer to 0 by lambda, and 0 between -lambda and lambda.
---@class mare.nn.Softshrink: mare.nn.Module
---@overload fun(lambda?: number): mare.nn.Softshrink
layers.Softshrink = function_class("Softshrink", F.softshrink, 0.5)

---x - tanh(x).
---@class mare.nn.Tanhshrink: mare.nn.Module
---@overload fun(): mare.nn.Tanhshrink
layers.Tanhshrink = function_class("Tanhshrink", F.tanhshrink)

---The first half along a dimension times sigmoid of the second.
---@class mare.nn.GLU: mare.nn.Module
---@overload fun(dim?: integer): mare.nn.GLU
layers.GLU = function_class("GLU", F.glu, -1)

---x held between two bounds.
---@class mare.nn.Hardtanh: mare.nn.Module
---@overload fun(min?: number, max?: number): mare.nn.Hardtanh
layers.Hardtanh = Module:extend("Hardtanh")

function layers.Hardtanh:init(min, max)
    self.min, self.max = min or -1, max or 1
    if self.min > self.max then mare.fail("Hardtanh: min %g above max %g", self.min, self.max) end
end

---@param x mare.tensor
function layers.Hardtanh:forward(x) return F.hardtanh(x, self.min, self.max) end

function layers.Hardtanh:extra() return ("%g, %g"):format(self.min, self.max) end

---x where x > threshold, else value.
---@class mare.nn.Threshold: mare.nn.Module
---@overload fun(threshold: number, value: number): mare.nn.Threshold
layers.Threshold = Module:extend("Threshold")

function layers.Threshold:init(threshold, value)
    self.threshold, self.value = threshold, value
end

---@param x mare.tensor
function layers.Threshold:forward(x) return F.threshold(x, self.threshold, self.value) end

function layers.Threshold:extra() return ("%g, %g"):format(self.threshold, self.value) end

---x where x > 0, else a learned weight times x (He and others, 2015).
---@class mare.nn.PReLU: mare.nn.Module
---@field weight mare.tensor [channels]
---@overload fun(channels?: integer, options?: {init?: number}): mare.nn.PReLU
layers.PReLU = Module:extend("PReLU")

function layers.PReLU:init(channels, options)
    options = options_of(self, options, { init = true })
    self.channels = size(self, "channels", channels or 1, 1)
    self:parameter("weight", mare.full({ self.channels }, options.init or 0.25))
end

---@param x mare.tensor [N, channels, ...]
function layers.PReLU:forward(x) return F.prelu(x, self.weight) end

function layers.PReLU:extra() return tostring(self.channels) end

---Softmax over a dimension, default the last.
---@class mare.nn.Softmax: mare.nn.Module
---@overload fun(dim?: integer): mare.nn.Softmax
layers.Softmax = function_class("Softmax", F.softmax, -1)

---Logarithm of the softmax over a dimension, default the last.
---@class mare.nn.LogSoftmax: mare.nn.Module
---@overload fun(dim?: integer): mare.nn.LogSoftmax
layers.LogSoftmax = function_class("LogSoftmax", F.log_softmax, -1)

---x itself.
---@class mare.nn.Identity: mare.nn.Module
---@overload fun(): mare.nn.Identity
layers.Identity = function_class("Identity", function(x) return x end)

---Modules one after the other: Sequential{a, b}, Sequential(a, b), or with names
---Sequential{{"conv", a}, {"act", b}}.
---@class mare.nn.Sequential: mare.nn.Module
---@overload fun(...: mare.nn.Module|table): mare.nn.Sequential
layers.Sequential = Module:extend("Sequential")

function layers.Sequential:init(first, ...)
    local list = { first, ... }
    if type(first) == "table" and not is_module(first) and select("#", ...) == 0 then
        list = first
    end
    rawset(self, "_chain", {})
    for i, entry in ipairs(list) do
        if type(entry) == "table" and not is_module(entry) and type(entry[1]) == "string" then
            self:add(entry[2], entry[1])
        else
            self:add(entry)
        end
        if #self._chain ~= i then break end
    end
    for name in pairs(list) do
        if math.type(name) ~= "integer" then
            mare.fail("Sequential: the order of '%s' is unknown; give names as {\"%s\", module}",
                tostring(name), tostring(name))
        end
    end
end

---Adds a module at the end.
---@param child mare.nn.Module
---@param name? string default: its position
---@return mare.nn.Sequential self
function layers.Sequential:add(child, name)
    local position = #self._chain + 1
    if not is_module(child) then
        mare.fail("Sequential: entry %d is %s, not a module", position,
            child == nil and "nil" or "a " .. type(child))
    end
    name = name or position
    if rawget(self, name) ~= nil then
        mare.fail("Sequential: there are two entries named '%s'", tostring(name))
    end
    self._chain[position] = name
    self[name] = child
    return self
end

function layers.Sequential:forward(x)
    for _, name in ipairs(self._chain) do x = rawget(self, name)(x) end
    return x
end

---A list of modules that a model walks itself: ModuleList{a, b}; #list, list[1], ipairs.
---@class mare.nn.ModuleList: mare.nn.Module
---@overload fun(list?: mare.nn.Module[]): mare.nn.ModuleList
layers.ModuleList = Module:extend("ModuleList")

function layers.ModuleList:init(list)
    for _, child in ipairs(list or {}) do self:append(child) end
end

---@param child mare.nn.Module
---@return mare.nn.ModuleList self
function layers.ModuleList:append(child)
    if not is_module(child) then
        mare.fail("ModuleList: entry %d is a %s, not a module", #self + 1, type(child))
    end
    self[#self + 1] = child
    return self
end

return layers
