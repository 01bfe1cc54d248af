--- Layers with parameters, and containers.

local mare = require "mare"
local F = require "mare.nn.functional"
local module = require "mare.nn.module"

local Module, is_module = module.Module, module.is_module

local layers = {}

---@alias mare.pair integer|integer[] a number for both, or {height, width}

--- Refuses a layer's size that is no whole number of at least `least`.
local function size(class, what, value, least)
    local n = math.tointeger(value)
    if not n or n < least then
        mare.fail("%s: %s must be a whole number, %d or more, not %s", class._name, what, least,
            tostring(value))
    end
    return n
end

--- A number or {height, width} as a pair.
local function pair(class, what, value, least)
    if type(value) == "table" then
        if #value ~= 2 then
            mare.fail("%s: %s is a number or {height, width}", class._name, what)
        end
        return { size(class, what, value[1], least), size(class, what, value[2], least) }
    end
    local n = size(class, what, value, least)
    return { n, n }
end

local function pair_text(p)
    return p[1] == p[2] and tostring(p[1]) or p[1] .. "x" .. p[2]
end

--- Refuses options that a layer does not know: a typing error must not pass silently.
local function options_of(class, options, known)
    options = options or {}
    if type(options) ~= "table" then
        mare.fail("%s: options are a table, not %s", class._name, tostring(options))
    end
    for name in pairs(options) do
        if not known[name] then
            mare.fail("%s: there is no option '%s'", class._name, tostring(name))
        end
    end
    return options
end

local function number(class, what, value, lo, hi)
    if type(value) ~= "number" or not (value >= lo and value <= hi) then
        mare.fail("%s: %s must be a number from %g to %g, not %s", class._name, what, lo, hi,
            tostring(value))
    end
    return value
end

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

function layers.Linear:forward(x)
    local shape = x.shape
    if shape[#shape] ~= self.inputs then
        mare.fail("expected [..., %d], got %s", self.inputs, shape)
    end
    return F.linear(x, self.weight, self.bias)
end

function layers.Linear:extra()
    return ("%d, %d%s"):format(self.inputs, self.outputs, self.bias and "" or ", bias=false")
end

---@class mare.nn.conv
---@field stride? mare.pair default 1
---@field padding? mare.pair|"same" default 0
---@field dilation? mare.pair default 1
---@field groups? integer default 1
---@field bias? boolean default true

---Convolution over [N, inputs, H, W].
---@class mare.nn.Conv2d: mare.nn.Module
---@field weight mare.tensor [outputs, inputs / groups, h, w]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs, outputs, kernel: mare.pair, options?: mare.nn.conv): mare.nn.Conv2d
layers.Conv2d = Module:extend("Conv2d")

function layers.Conv2d:init(inputs, outputs, kernel, options)
    options = options_of(self, options,
        { stride = true, padding = true, dilation = true, groups = true, bias = true })
    self.inputs = size(self, "inputs", inputs, 1)
    self.outputs = size(self, "outputs", outputs, 1)
    self.kernel = pair(self, "kernel", kernel, 1)
    local groups = size(self, "groups", options.groups or 1, 1)
    if self.inputs % groups ~= 0 or self.outputs % groups ~= 0 then
        mare.fail("Conv2d: %d groups do not divide %d inputs and %d outputs", groups, self.inputs,
            self.outputs)
    end
    local stride = pair(self, "stride", options.stride or 1, 1)
    local dilation = pair(self, "dilation", options.dilation or 1, 1)
    local padding = options.padding or 0
    if padding == "same" then
        local reach = { dilation[1] * (self.kernel[1] - 1), dilation[2] * (self.kernel[2] - 1) }
        if reach[1] % 2 == 1 or reach[2] % 2 == 1 or stride[1] ~= 1 or stride[2] ~= 1 then
            mare.fail("Conv2d: padding 'same' needs stride 1 and an odd kernel")
        end
        padding = { reach[1] // 2, reach[2] // 2 }
    end
    self.options = {
        stride = stride,
        padding = pair(self, "padding", padding, 0),
        dilation = dilation,
        groups = groups,
    }
    local per_group = self.inputs // groups
    local fan_in = per_group * self.kernel[1] * self.kernel[2]
    self:parameter("weight", fan_uniform(
        { self.outputs, per_group, self.kernel[1], self.kernel[2] }, fan_in))
    if options.bias ~= false then
        self:parameter("bias", fan_uniform({ self.outputs }, fan_in))
    end
end

function layers.Conv2d:forward(x)
    return mare.conv2d(x, self.weight, self.bias, self.options)
end

function layers.Conv2d:extra()
    local o = self.options
    local text = ("%d, %d, %s"):format(self.inputs, self.outputs, pair_text(self.kernel))
    for _, option in ipairs { { "stride", 1 }, { "padding", 0 }, { "dilation", 1 } } do
        local name, default = option[1], option[2]
        if o[name][1] ~= default or o[name][2] ~= default then
            text = ("%s, %s=%s"):format(text, name, pair_text(o[name]))
        end
    end
    if o.groups ~= 1 then text = text .. ", groups=" .. o.groups end
    return self.bias and text or text .. ", bias=false"
end

--- extra: names of the options that only this kind of pooling knows.
local function pool_class(name, forward, extra)
    local class = Module:extend(name)

    function class:init(kernel, options)
        local known = { stride = true, padding = true, ceil_mode = true }
        for _, option in ipairs(extra) do known[option] = true end
        options = options_of(self, options, known)
        self.options = {
            kernel = pair(self, "kernel", kernel, 1),
            stride = pair(self, "stride", options.stride or kernel, 1),
            padding = pair(self, "padding", options.padding or 0, 0),
            ceil_mode = options.ceil_mode,
        }
        for _, option in ipairs(extra) do self.options[option] = options[option] end
    end

    function class:forward(x) return forward(x, self.options) end

    function class:extra()
        local o = self.options
        local text = pair_text(o.kernel)
        if o.stride[1] ~= o.kernel[1] or o.stride[2] ~= o.kernel[2] then
            text = text .. ", stride=" .. pair_text(o.stride)
        end
        if o.padding[1] ~= 0 or o.padding[2] ~= 0 then
            text = text .. ", padding=" .. pair_text(o.padding)
        end
        return text
    end

    return class
end

---@class mare.nn.pool
---@field stride? mare.pair default: the kernel
---@field padding? mare.pair default 0
---@field ceil_mode? boolean default false
---@field dilation? mare.pair of MaxPool2d, default 1
---@field count_include_pad? boolean of AvgPool2d, default true

---The largest of each window of [N, C, H, W].
---@class mare.nn.MaxPool2d: mare.nn.Module
---@overload fun(kernel: mare.pair, options?: mare.nn.pool): mare.nn.MaxPool2d
layers.MaxPool2d = pool_class("MaxPool2d", F.max_pool2d, { "dilation" })

---The mean of each window of [N, C, H, W].
---@class mare.nn.AvgPool2d: mare.nn.Module
---@overload fun(kernel: mare.pair, options?: mare.nn.pool): mare.nn.AvgPool2d
layers.AvgPool2d = pool_class("AvgPool2d", F.avg_pool2d, { "count_include_pad" })

--- Batch norm over the channels (dimension 2) of inputs of the given ranks.
local function norm_class(name, ranks)
    local class = Module:extend(name)

    function class:init(features, options)
        options = options_of(self, options,
            { eps = true, momentum = true, affine = true, track_running_stats = true })
        self.features = size(self, "features", features, 1)
        self.eps = number(self, "eps", options.eps or 1e-5, 0, math.huge)
        self.momentum = options.momentum == nil and 0.1 or options.momentum
        if self.momentum then number(self, "momentum", self.momentum, 0, 1) end
        if options.affine ~= false then
            self:parameter("weight", mare.ones(self.features))
            self:parameter("bias", mare.zeros(self.features))
        end
        if options.track_running_stats ~= false then
            self:buffer("running_mean", mare.zeros(self.features))
            self:buffer("running_var", mare.ones(self.features))
            self:buffer("num_batches_tracked", mare.tensor(0, { dtype = "i32" }))
        end
    end

    --- The running statistics take their share of this batch's, with the next evaluation.
    local function track(self, mean, var, count)
        local batches = self.num_batches_tracked + 1
        self.num_batches_tracked:assign(batches)
        -- No momentum: the plain average over all batches so far.
        local share = self.momentum or (1 / batches:to("f32"))
        local keep = 1 - share
        local unbiased = var:detach() * (count / (count - 1))
        self.running_mean:assign(self.running_mean * keep + mean:detach() * share)
        self.running_var:assign(self.running_var * keep + unbiased * share)
    end

    function class:forward(x)
        local shape = x.shape
        if not ranks[#shape] or shape[2] ~= self.features then
            mare.fail("expected %s, got %s", (ranks.text:gsub("C", self.features)), shape)
        end
        if not self.training and self.running_mean then
            return mare.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                self.eps)
        end
        local axes, count = { 1 }, shape[1]
        for d = 3, #shape do
            axes[#axes + 1], count = d, count * shape[d]
        end
        if count < 2 then
            mare.fail("training needs more than one value a channel, got %s", shape)
        end
        local mean, var = x:mean(axes), x:var(axes, { correction = 0 })
        if self.training and self.running_mean then
            mare.no_grad(track, self, mean, var, count)
        end
        return mare.batch_norm(x, mean, var, self.weight, self.bias, self.eps)
    end

    function class:extra()
        local text = tostring(self.features)
        if self.eps ~= 1e-5 then text = ("%s, eps=%g"):format(text, self.eps) end
        if self.momentum ~= 0.1 then
            text = ("%s, momentum=%s"):format(text, tostring(self.momentum))
        end
        return text
    end

    return class
end

---@class mare.nn.norm
---@field eps? number default 1e-5
---@field momentum? number|false share of a new batch, default 0.1; false: the plain average
---@field affine? boolean default true: weight and bias
---@field track_running_stats? boolean default true

---Batch norm of [N, C] or [N, C, L].
---@class mare.nn.BatchNorm1d: mare.nn.Module
---@overload fun(features: integer, options?: mare.nn.norm): mare.nn.BatchNorm1d
layers.BatchNorm1d = norm_class("BatchNorm1d",
    { [2] = true, [3] = true, text = "[N, C] or [N, C, L]" })

---Batch norm of [N, C, H, W].
---@class mare.nn.BatchNorm2d: mare.nn.Module
---@overload fun(features: integer, options?: mare.nn.norm): mare.nn.BatchNorm2d
layers.BatchNorm2d = norm_class("BatchNorm2d", { [4] = true, text = "[N, C, H, W]" })

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

---In training sets elements to zero with probability p (default 0.5) and scales the rest.
---@class mare.nn.Dropout: mare.nn.Module
---@overload fun(p?: number): mare.nn.Dropout
layers.Dropout = Module:extend("Dropout")

function layers.Dropout:init(p)
    self.p = number(self, "p", p or 0.5, 0, 1)
end

function layers.Dropout:forward(x) return F.dropout(x, self.p, self.training) end

function layers.Dropout:extra() return ("%g"):format(self.p) end

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

---@class mare.nn.loss
---@field reduction? "mean"|"sum"|"none" default "mean"
---@field label_smoothing? number of CrossEntropyLoss, default 0

--- Modules of losses: options go to the function, which checks them.
local function loss_class(name, forward, known)
    local class = Module:extend(name)
    function class:init(options) self.options = options_of(self, options, known) end
    function class:forward(x, target) return forward(x, target, self.options) end
    return class
end

---Of scores [N, C, ...] and classes from 0 [N, ...] or probabilities [N, C, ...].
---@class mare.nn.CrossEntropyLoss: mare.nn.Module
---@overload fun(options?: mare.nn.loss): mare.nn.CrossEntropyLoss
layers.CrossEntropyLoss = loss_class("CrossEntropyLoss", F.cross_entropy,
    { label_smoothing = true, reduction = true })
---Of logarithms of probabilities [N, C, ...] and classes from 0 [N, ...].
---@class mare.nn.NLLLoss: mare.nn.Module
---@overload fun(options?: mare.nn.loss): mare.nn.NLLLoss
layers.NLLLoss = loss_class("NLLLoss", F.nll_loss, { reduction = true })
---Mean of squared differences.
---@class mare.nn.MSELoss: mare.nn.Module
---@overload fun(options?: mare.nn.loss): mare.nn.MSELoss
layers.MSELoss = loss_class("MSELoss", F.mse_loss, { reduction = true })
---Mean of absolute differences.
---@class mare.nn.L1Loss: mare.nn.Module
---@overload fun(options?: mare.nn.loss): mare.nn.L1Loss
layers.L1Loss = loss_class("L1Loss", F.l1_loss, { reduction = true })
---Binary cross-entropy of probabilities.
---@class mare.nn.BCELoss: mare.nn.Module
---@overload fun(options?: mare.nn.loss): mare.nn.BCELoss
layers.BCELoss = loss_class("BCELoss", F.bce_loss, { reduction = true })
---Binary cross-entropy of scores, without overflow.
---@class mare.nn.BCEWithLogitsLoss: mare.nn.Module
---@overload fun(options?: mare.nn.loss): mare.nn.BCEWithLogitsLoss
layers.BCEWithLogitsLoss = loss_class("BCEWithLogitsLoss", F.bce_with_logits, { reduction = true })

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
