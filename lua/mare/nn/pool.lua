--- Layers that pool, resize and shuffle pictures, sequences and volumes.

local mare = require "mare"
local args = require "mare.nn.args"
local Module = require("mare.nn.module").Module

local layers = {}

local size, spread, spread_text = args.size, args.spread, args.spread_text

---@alias mare.spread integer|integer[] a number for all dimensions pooled over, or a list

---@class mare.nn.pool
---@field stride? mare.spread default: the kernel
---@field padding? mare.spread default 0; not of LPPool
---@field ceil_mode? boolean default false; not of MaxUnpool
---@field dilation? mare.spread of MaxPool, default 1
---@field return_indices? boolean of MaxPool: gives places, too; default false
---@field count_include_pad? boolean of AvgPool, default true
---@field divisor_override? integer of AvgPool2d and 3d

--- Pooling in windows over n dimensions: options known beside stride go to the call.
local function window_class(name, n, call, known)
    local class = Module:extend(name)
    local all = { stride = true }
    for _, option in ipairs(known) do all[option] = true end

    function class:init(kernel, options)
        options = args.options_of(self, options, all)
        self.indices = options.return_indices
        self.options = { kernel_size = spread(self, "kernel", kernel, n, 1) }
        for option, value in pairs(options) do
            if option ~= "return_indices" then self.options[option] = value end
        end
        for option, least in pairs { stride = 1, padding = 0, dilation = 1 } do
            local value = options[option]
            self.options[option] = value and spread(self, option, value, n, least)
        end
    end

    function class:forward(x)
        return mare[self.indices and call .. "_with_indices" or call](x, self.options)
    end

    function class:extra()
        local o = self.options
        local kernel = spread_text(o.kernel_size)
        local text = kernel
        for _, option in ipairs { { "stride", kernel }, { "padding", "0" }, { "dilation", "1" } } do
            local value = o[option[1]] and spread_text(o[option[1]])
            if value and value ~= option[2] then
                text = ("%s, %s=%s"):format(text, option[1], value)
            end
        end
        return text
    end

    return class
end

local MAX = { "padding", "dilation", "ceil_mode", "return_indices" }
local AVG = { "padding", "ceil_mode", "count_include_pad" }
local AVG_DIVISOR = { "padding", "ceil_mode", "count_include_pad", "divisor_override" }

---The largest of each window of [N, C, L].
---@class mare.nn.MaxPool1d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.MaxPool1d
layers.MaxPool1d = window_class("MaxPool1d", 1, "max_pool1d", MAX)
---The largest of each window of [N, C, H, W].
---@class mare.nn.MaxPool2d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.MaxPool2d
layers.MaxPool2d = window_class("MaxPool2d", 2, "max_pool2d", MAX)
---The largest of each window of [N, C, D, H, W].
---@class mare.nn.MaxPool3d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.MaxPool3d
layers.MaxPool3d = window_class("MaxPool3d", 3, "max_pool3d", MAX)

---The mean of each window of [N, C, L].
---@class mare.nn.AvgPool1d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.AvgPool1d
layers.AvgPool1d = window_class("AvgPool1d", 1, "avg_pool1d", AVG)
---The mean of each window of [N, C, H, W].
---@class mare.nn.AvgPool2d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.AvgPool2d
layers.AvgPool2d = window_class("AvgPool2d", 2, "avg_pool2d", AVG_DIVISOR)
---The mean of each window of [N, C, D, H, W].
---@class mare.nn.AvgPool3d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.AvgPool3d
layers.AvgPool3d = window_class("AvgPool3d", 3, "avg_pool3d", AVG_DIVISOR)

--- The norm of windows: the window's class with the norm's order in front.
local function lp_class(name, n, call)
    local class = window_class(name, n, call, { "ceil_mode" })
    local init, extra = class.init, class.extra

    function class:init(order, kernel, options)
        init(self, kernel, options)
        self.options.norm_type = args.number(self, "the norm's order", order, -math.huge, math.huge)
    end

    function class:extra() return ("%g, %s"):format(self.options.norm_type, extra(self)) end

    return class
end

---The norm of each window of [N, C, L]: the root of the sum of powers of that order.
---@class mare.nn.LPPool1d: mare.nn.Module
---@overload fun(order: number, kernel: mare.spread, options?: mare.nn.pool): mare.nn.LPPool1d
layers.LPPool1d = lp_class("LPPool1d", 1, "lp_pool1d")
---The norm of each window of [N, C, H, W]: the root of the sum of powers of that order.
---@class mare.nn.LPPool2d: mare.nn.Module
---@overload fun(order: number, kernel: mare.spread, options?: mare.nn.pool): mare.nn.LPPool2d
layers.LPPool2d = lp_class("LPPool2d", 2, "lp_pool2d")
---The norm of each window of [N, C, D, H, W]: the root of the sum of powers of that order.
---@class mare.nn.LPPool3d: mare.nn.Module
---@overload fun(order: number, kernel: mare.spread, options?: mare.nn.pool): mare.nn.LPPool3d
layers.LPPool3d = lp_class("LPPool3d", 3, "lp_pool3d")

--- layer(x, indices[, output_size]).
local function unpool_class(name, n, call)
    local class = window_class(name, n, call, { "padding" })

    function class:forward(x, indices, output_size)
        local o = self.options
        return mare[call](x, indices, o.kernel_size, o.stride, o.padding, output_size)
    end

    return class
end

---Zeros, and x's elements where a MaxPool1d found them: layer(x, indices[, output_size]).
---@class mare.nn.MaxUnpool1d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.MaxUnpool1d
layers.MaxUnpool1d = unpool_class("MaxUnpool1d", 1, "max_unpool1d")
---Zeros, and x's elements where a MaxPool2d found them: layer(x, indices[, output_size]).
---@class mare.nn.MaxUnpool2d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.MaxUnpool2d
layers.MaxUnpool2d = unpool_class("MaxUnpool2d", 2, "max_unpool2d")
---Zeros, and x's elements where a MaxPool3d found them: layer(x, indices[, output_size]).
---@class mare.nn.MaxUnpool3d: mare.nn.Module
---@overload fun(kernel: mare.spread, options?: mare.nn.pool): mare.nn.MaxUnpool3d
layers.MaxUnpool3d = unpool_class("MaxUnpool3d", 3, "max_unpool3d")

---@class mare.nn.places
---@field return_indices? boolean gives places, too; default false

--- Pooling to a given size; -1 keeps the input's.
local function adaptive_class(name, n, call, with_indices)
    local class = Module:extend(name)
    local known = { return_indices = with_indices }

    function class:init(output, options)
        self.indices = args.options_of(self, options, known).return_indices
        self.output = spread(self, "the output's size", output, n, -1)
    end

    function class:forward(x)
        return mare[self.indices and call .. "_with_indices" or call](x, self.output)
    end

    function class:extra() return spread_text(self.output) end

    return class
end

---The means of so many windows that share [N, C, L]; -1 keeps a size.
---@class mare.nn.AdaptiveAvgPool1d: mare.nn.Module
---@overload fun(output: mare.spread): mare.nn.AdaptiveAvgPool1d
layers.AdaptiveAvgPool1d = adaptive_class("AdaptiveAvgPool1d", 1, "adaptive_avg_pool1d")
---The means of so many windows that share [N, C, H, W]; -1 keeps a size.
---@class mare.nn.AdaptiveAvgPool2d: mare.nn.Module
---@overload fun(output: mare.spread): mare.nn.AdaptiveAvgPool2d
layers.AdaptiveAvgPool2d = adaptive_class("AdaptiveAvgPool2d", 2, "adaptive_avg_pool2d")
---The means of so many windows that share [N, C, D, H, W]; -1 keeps a size.
---@class mare.nn.AdaptiveAvgPool3d: mare.nn.Module
---@overload fun(output: mare.spread): mare.nn.AdaptiveAvgPool3d
layers.AdaptiveAvgPool3d = adaptive_class("AdaptiveAvgPool3d", 3, "adaptive_avg_pool3d")
---The largest of so many windows that share [N, C, L]; -1 keeps a size.
---@class mare.nn.AdaptiveMaxPool1d: mare.nn.Module
---@overload fun(output: mare.spread, options?: mare.nn.places): mare.nn.AdaptiveMaxPool1d
layers.AdaptiveMaxPool1d = adaptive_class("AdaptiveMaxPool1d", 1, "adaptive_max_pool1d", true)
---The largest of so many windows that share [N, C, H, W]; -1 keeps a size.
---@class mare.nn.AdaptiveMaxPool2d: mare.nn.Module
---@overload fun(output: mare.spread, options?: mare.nn.places): mare.nn.AdaptiveMaxPool2d
layers.AdaptiveMaxPool2d = adaptive_class("AdaptiveMaxPool2d", 2, "adaptive_max_pool2d", true)
---The largest of so many windows that share [N, C, D, H, W]; -1 keeps a size.
---@class mare.nn.AdaptiveMaxPool3d: mare.nn.Module
---@overload fun(output: mare.spread, options?: mare.nn.places): mare.nn.AdaptiveMaxPool3d
layers.AdaptiveMaxPool3d = adaptive_class("AdaptiveMaxPool3d", 3, "adaptive_max_pool3d", true)

---@class mare.nn.upsample
---@field size? mare.spread of the result
---@field scale_factor? number of all sizes, in place of size
---@field mode? string of mare.interpolate, default "nearest"
---@field align_corners? boolean default false
---@field recompute_scale_factor? boolean default false
---@field antialias? boolean default false

---Resizes [N, C, ...] by mare.interpolate.
---@class mare.nn.Upsample: mare.nn.Module
---@overload fun(options: mare.nn.upsample): mare.nn.Upsample
layers.Upsample = Module:extend("Upsample")

local RESIZES = { size = true, scale_factor = true, mode = true, align_corners = true,
    recompute_scale_factor = true, antialias = true }

function layers.Upsample:init(options)
    self.options = args.options_of(self, options, RESIZES)
    if (self.options.size == nil) == (self.options.scale_factor == nil) then
        mare.fail("Upsample: one of size and scale_factor is needed")
    end
end

function layers.Upsample:forward(x) return mare.interpolate(x, self.options) end

function layers.Upsample:extra()
    local o = self.options
    local to = o.scale_factor and ("scale_factor=%g"):format(o.scale_factor)
        or "size=" .. (type(o.size) == "table" and spread_text(o.size) or tostring(o.size))
    return ("%s, mode=%s"):format(to, o.mode or "nearest")
end

--- Modules of a call with one integer.
local function factor_class(name, call, what)
    local class = Module:extend(name)
    function class:init(factor) self.factor = size(self, what, factor, 1) end
    function class:forward(x) return mare[call](x, self.factor) end
    function class:extra() return tostring(self.factor) end
    return class
end

---[N, C r r, H, W] as [N, C, H r, W r].
---@class mare.nn.PixelShuffle: mare.nn.Module
---@overload fun(factor: integer): mare.nn.PixelShuffle
layers.PixelShuffle = factor_class("PixelShuffle", "pixel_shuffle", "the factor")
---[N, C, H r, W r] as [N, C r r, H, W].
---@class mare.nn.PixelUnshuffle: mare.nn.Module
---@overload fun(factor: integer): mare.nn.PixelUnshuffle
layers.PixelUnshuffle = factor_class("PixelUnshuffle", "pixel_unshuffle", "the factor")
---Channels of [N, C, ...] taken from each group in turn.
---@class mare.nn.ChannelShuffle: mare.nn.Module
---@overload fun(groups: integer): mare.nn.ChannelShuffle
layers.ChannelShuffle = factor_class("ChannelShuffle", "channel_shuffle", "the number of groups")

return layers
