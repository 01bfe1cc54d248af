--- Layers that drop at random in training, and do nothing in evaluation.

local mare = require "mare"
local layers = require "mare.nn.layers"
local module = require "mare.nn.module"

local dropout = {}

local function probability(class, p)
    if p == nil then return 0.5 end
    if type(p) ~= "number" or not (p >= 0 and p <= 1) then
        mare.fail("%s: p must be a number from 0 to 1, not %s", class._name, tostring(p))
    end
    return p
end

local function drop_class(name, call)
    local class = module.Module:extend(name)
    function class:init(p) self.p = probability(self, p) end
    function class:forward(x)
        if not self.training then return x end
        return mare[call](x, self.p)
    end
    function class:extra() return ("%g"):format(self.p) end
    dropout[name] = class
end

local classes = {
    ---Sets elements to zero with probability p (default 0.5) and scales the rest by 1 / (1 - p).
    ---@overload fun(p?: number): mare.nn.Module
    Dropout = "dropout",
    ---Dropout of whole channels of [N, C, L] or [C, L].
    ---@overload fun(p?: number): mare.nn.Module
    Dropout1d = "dropout1d",
    ---Dropout of whole channels of [N, C, H, W] or [C, H, W].
    ---@overload fun(p?: number): mare.nn.Module
    Dropout2d = "dropout2d",
    ---Dropout of whole channels of [N, C, D, H, W] or [C, D, H, W].
    ---@overload fun(p?: number): mare.nn.Module
    Dropout3d = "dropout3d",
    ---Dropout for selu: keeps mean 0 and variance 1. Klambauer et al. 2017.
    ---@overload fun(p?: number): mare.nn.Module
    AlphaDropout = "alpha_dropout",
    ---AlphaDropout of whole channels of [N, C, ...].
    ---@overload fun(p?: number): mare.nn.Module
    FeatureAlphaDropout = "feature_alpha_dropout",
    ---Stochastic depth: drops whole samples of a residual branch. Huang et al. 2016.
    ---@overload fun(p?: number): mare.nn.Module
    DropPath = "drop_path",
}
for name, call in pairs(classes) do drop_class(name, call) end

---Linear whose weights are dropped with probability p (default 0.5). Wan et al. 2013.
---@class mare.nn.DropConnectLinear: mare.nn.Linear
---@overload fun(inputs, outputs, options?: {p?, bias?}): mare.nn.DropConnectLinear
dropout.DropConnectLinear = layers.Linear:extend("DropConnectLinear")

function dropout.DropConnectLinear:init(inputs, outputs, options)
    local rest = {}
    for option, value in pairs(options or {}) do
        if option ~= "p" then rest[option] = value end
    end
    layers.Linear.init(self, inputs, outputs, rest)
    self.p = probability(self, options and options.p)
end

function dropout.DropConnectLinear:forward(x)
    local weight = mare.drop_connect(self.weight, self.p, self.training)
    return layers.Linear.forward(self, x, weight)
end

function dropout.DropConnectLinear:extra()
    return ("%s, p=%g"):format(layers.Linear.extra(self), self.p)
end

return dropout
