--- Layers that normalise.

local mare = require "mare"
local args = require "mare.nn.args"
local Module = require("mare.nn.module").Module

local layers = {}

local size, options_of, number = args.size, args.options_of, args.number

local function affine(self, on, ...)
    if on == false then return end
    self:parameter("weight", mare.ones(...))
    self:parameter("bias", mare.zeros(...))
end

-- ---- By channel --------------------------------------------------------------------------------

---@class mare.nn.norm
---@field eps? number default 1e-5
---@field momentum? number|false share of a new batch, default 0.1; false: the plain average
---@field affine? boolean weight and bias; default true, false of InstanceNorm
---@field track_running_stats? boolean default true, false of InstanceNorm

--- Batch or instance norm over the channels (dimension 2) of inputs of the given ranks. on: what
--- the options affine and track_running_stats are when left out.
local function channel_class(name, call, on, ranks)
    local class = Module:extend(name)

    function class:init(features, options)
        options = options_of(self, options,
            { eps = true, momentum = true, affine = true, track_running_stats = true })
        local function option(key)
            if options[key] == nil then return on end
            return options[key]
        end
        self.features = size(self, "features", features, 1)
        self.eps = number(self, "eps", options.eps or 1e-5, 0, math.huge)
        self.momentum = options.momentum == nil and 0.1 or options.momentum
        if self.momentum then number(self, "momentum", self.momentum, 0, 1) end
        affine(self, option("affine"), self.features)
        if option("track_running_stats") then
            self:buffer("running_mean", mare.zeros(self.features))
            self:buffer("running_var", mare.ones(self.features))
            self:buffer("num_batches_tracked", mare.tensor(0, { dtype = "i32" }))
        end
    end

    --- The running statistics take their share of this batch's, with the next evaluation.
    local function track(self, mean, var)
        local batches = self.num_batches_tracked + 1
        self.num_batches_tracked:assign(batches)
        if not self.momentum then -- the plain average over all batches so far
            local share = 1 / batches:to("f32")
            mean = self.running_mean + (mean - self.running_mean) * share
            var = self.running_var + (var - self.running_var) * share
        end
        self.running_mean:assign(mean:to(self.running_mean.dtype))
        self.running_var:assign(var:to(self.running_var.dtype))
    end

    function class:forward(x)
        local shape = x.shape
        if not ranks[#shape] or shape[2] ~= self.features then
            mare.fail("expected %s, got %s", (ranks.text:gsub("C", self.features)), shape)
        end
        local tracked = self.running_mean ~= nil
        local from_input = self.training or not tracked
        -- Without a momentum the call gives the batch's own statistics.
        local known = tracked and (self.momentum or not from_input)
        local y, mean, var = call(x, known and self.running_mean or nil,
            known and self.running_var or nil, self.weight, self.bias, from_input,
            self.momentum or 1, self.eps)
        if tracked and self.training then mare.no_grad(track, self, mean, var) end
        return y
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

---Batch norm of [N, C] or [N, C, L].
---@class mare.nn.BatchNorm1d: mare.nn.Module
---@overload fun(features: integer, options?: mare.nn.norm): mare.nn.BatchNorm1d
layers.BatchNorm1d = channel_class("BatchNorm1d", mare.batch_norm, true,
    { [2] = true, [3] = true, text = "[N, C] or [N, C, L]" })

---Batch norm of [N, C, H, W].
---@class mare.nn.BatchNorm2d: mare.nn.Module
---@overload fun(features: integer, options?: mare.nn.norm): mare.nn.BatchNorm2d
layers.BatchNorm2d = channel_class("BatchNorm2d", mare.batch_norm, true,
    { [4] = true, text = "[N, C, H, W]" })

---Batch norm of [N, C, D, H, W].
---@class mare.nn.BatchNorm3d: mare.nn.Module
---@overload fun(features: integer, options?: mare.nn.norm): mare.nn.BatchNorm3d
layers.BatchNorm3d = channel_class("BatchNorm3d", mare.batch_norm, true,
    { [5] = true, text = "[N, C, D, H, W]" })

---Instance norm of [N, C, L].
---@class mare.nn.InstanceNorm1d: mare.nn.Module
---@overload fun(features: integer, options?: mare.nn.norm): mare.nn.InstanceNorm1d
layers.InstanceNorm1d = channel_class("InstanceNorm1d", mare.instance_norm, false,
    { [3] = true, text = "[N, C, L]" })

---Instance norm of [N, C, H, W].
---@class mare.nn.InstanceNorm2d: mare.nn.Module
---@overload fun(features: integer, options?: mare.nn.norm): mare.nn.InstanceNorm2d
layers.InstanceNorm2d = channel_class("InstanceNorm2d", mare.instance_norm, false,
    { [4] = true, text = "[N, C, H, W]" })

---Instance norm of [N, C, D, H, W].
---@class mare.nn.InstanceNorm3d: mare.nn.Module
---@overload fun(features: integer, options?: mare.nn.norm): mare.nn.InstanceNorm3d
layers.InstanceNorm3d = channel_class("InstanceNorm3d", mare.instance_norm, false,
    { [5] = true, text = "[N, C, D, H, W]" })

---Group norm of [N, channels, ...].
---@class mare.nn.GroupNorm: mare.nn.Module
---@overload fun(groups, channels: integer, options?: mare.nn.norm): mare.nn.GroupNorm
layers.GroupNorm = Module:extend("GroupNorm")

function layers.GroupNorm:init(groups, channels, options)
    options = options_of(self, options, { eps = true, affine = true })
    self.groups = size(self, "groups", groups, 1)
    self.channels = size(self, "channels", channels, 1)
    if self.channels % self.groups ~= 0 then
        mare.fail("GroupNorm: %d groups do not divide %d channels", self.groups, self.channels)
    end
    self.eps = number(self, "eps", options.eps or 1e-5, 0, math.huge)
    affine(self, options.affine, self.channels)
end

function layers.GroupNorm:forward(x)
    if x.shape[2] ~= self.channels then
        mare.fail("expected [N, %d, ...], got %s", self.channels, x.shape)
    end
    return mare.group_norm(x, self.groups, self.weight, self.bias, { eps = self.eps })
end

function layers.GroupNorm:extra() return ("%d, %d"):format(self.groups, self.channels) end

-- ---- Over the last dimensions ------------------------------------------------------------------

--- A number or a list as a list of sizes.
local function sizes(class, what, value)
    local list = type(value) == "table" and value or { value }
    local out = {}
    for i, n in ipairs(list) do out[i] = size(class, what, n, 1) end
    if #out == 0 then mare.fail("%s: %s is an empty list", class._name, what) end
    return out
end

local function sizes_text(self) return table.concat(self.normalized_shape, ", ") end

---@class mare.nn.last_norm
---@field eps? number default 1e-5, of RMSNorm 1.2e-7
---@field elementwise_affine? boolean default true: a weight, and the bias of LayerNorm
---@field bias? boolean of LayerNorm, default true

---Layer norm over the last dimensions, which have the given sizes.
---@class mare.nn.LayerNorm: mare.nn.Module
---@overload fun(shape: integer|integer[], options?: mare.nn.last_norm): mare.nn.LayerNorm
layers.LayerNorm = Module:extend("LayerNorm")

function layers.LayerNorm:init(shape, options)
    options = options_of(self, options, { eps = true, elementwise_affine = true, bias = true })
    self.normalized_shape = sizes(self, "normalized_shape", shape)
    self.eps = number(self, "eps", options.eps or 1e-5, 0, math.huge)
    if options.elementwise_affine ~= false then
        self:parameter("weight", mare.ones(self.normalized_shape))
        if options.bias ~= false then
            self:parameter("bias", mare.zeros(self.normalized_shape))
        end
    end
end

function layers.LayerNorm:forward(x)
    return mare.layer_norm(x, self.normalized_shape, self.weight, self.bias, { eps = self.eps })
end

layers.LayerNorm.extra = sizes_text

---RMS norm over the last dimensions, which have the given sizes.
---@class mare.nn.RMSNorm: mare.nn.Module
---@overload fun(shape: integer|integer[], options?: mare.nn.last_norm): mare.nn.RMSNorm
layers.RMSNorm = Module:extend("RMSNorm")

function layers.RMSNorm:init(shape, options)
    options = options_of(self, options, { eps = true, elementwise_affine = true })
    self.normalized_shape = sizes(self, "normalized_shape", shape)
    self.eps = options.eps and number(self, "eps", options.eps, 0, math.huge)
    if options.elementwise_affine ~= false then
        self:parameter("weight", mare.ones(self.normalized_shape))
    end
end

function layers.RMSNorm:forward(x)
    return mare.rms_norm(x, self.normalized_shape, self.weight, self.eps)
end

layers.RMSNorm.extra = sizes_text

-- ---- Local response ----------------------------------------------------------------------------

---@class mare.nn.local_norm
---@field alpha? number default 1e-4
---@field beta? number default 0.75
---@field k? number default 1

---Each channel of [N, C, ...] held down by its neighbours.
---@class mare.nn.LocalResponseNorm: mare.nn.Module
---@overload fun(size: integer, options?: mare.nn.local_norm): mare.nn.LocalResponseNorm
layers.LocalResponseNorm = Module:extend("LocalResponseNorm")

function layers.LocalResponseNorm:init(window, options)
    self.size = size(self, "size", window, 1)
    options = options_of(self, options, { alpha = true, beta = true, k = true })
    self.alpha = number(self, "alpha", options.alpha or 1e-4, -math.huge, math.huge)
    self.beta = number(self, "beta", options.beta or 0.75, -math.huge, math.huge)
    self.k = number(self, "k", options.k or 1, -math.huge, math.huge)
end

function layers.LocalResponseNorm:forward(x)
    return mare.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
end

function layers.LocalResponseNorm:extra() return tostring(self.size) end

return layers
