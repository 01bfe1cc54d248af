--- Convolutions over one to three dimensions, and their transposes.

local mare = require "mare"
local args = require "mare.nn.args"
local module = require "mare.nn.module"

local Module = module.Module
local size, options_of = args.size, args.options_of
local spread, spread_text = args.spread, args.spread_text

local conv = {}

---@class mare.nn.conv
---@field stride? integer|integer[] default 1
---@field padding? integer|integer[]|"same"|"valid" default 0
---@field dilation? integer|integer[] default 1
---@field groups? integer default 1
---@field bias? boolean default true
---@field padding_mode? "zeros"|"reflect"|"replicate"|"circular" default "zeros"

---@class mare.nn.conv_transpose
---@field stride? integer|integer[] default 1
---@field padding? integer|integer[] default 0
---@field output_padding? integer|integer[] default 0
---@field groups? integer default 1
---@field bias? boolean default true
---@field dilation? integer|integer[] default 1

--- What the layers have in common: dims, call and transposed are of the class.
local Base = Module:extend("convolution")

local modes = { zeros = true, reflect = true, replicate = true, circular = true }

--- The padding as a list or a word.
local function padding_of(self, padding, stride)
    if self.transposed or type(padding) ~= "string" then
        return spread(self, "padding", padding or 0, self.dims, 0)
    end
    if padding ~= "same" and padding ~= "valid" then
        mare.fail("%s: padding is a number, a list, 'same' or 'valid', not '%s'", self._name,
            padding)
    end
    for d = 1, self.dims do
        if padding == "same" and stride[d] ~= 1 then
            mare.fail("%s: padding 'same' needs stride 1", self._name)
        end
    end
    return padding
end

--- Uniform in +-1 / sqrt(fan_in): Kaiming's uniform with a = sqrt(5).
local function make(self, name, shape, fan_in)
    local bound = 1 / math.sqrt(fan_in)
    self:parameter(name, mare.uniform(shape, -bound, bound))
end

function Base:init(inputs, outputs, kernel, options)
    options = options_of(self, options, {
        stride = true, padding = true, dilation = true, groups = true, bias = true,
        padding_mode = not self.transposed or nil, output_padding = self.transposed or nil,
    })
    self.inputs = size(self, "inputs", inputs, 1)
    self.outputs = size(self, "outputs", outputs, 1)
    self.kernel = spread(self, "kernel", kernel, self.dims, 1)
    local groups = size(self, "groups", options.groups or 1, 1)
    if self.inputs % groups ~= 0 or self.outputs % groups ~= 0 then
        mare.fail("%s: %d groups do not divide %d inputs and %d outputs", self._name, groups,
            self.inputs, self.outputs)
    end
    local stride = spread(self, "stride", options.stride or 1, self.dims, 1)
    self.options = {
        stride = stride,
        padding = padding_of(self, options.padding, stride),
        dilation = spread(self, "dilation", options.dilation or 1, self.dims, 1),
        groups = groups,
    }
    if self.transposed then
        self.options.output_padding =
            spread(self, "output_padding", options.output_padding or 0, self.dims, 0)
    else
        local mode = options.padding_mode or "zeros"
        if not modes[mode] then
            mare.fail("%s: padding_mode is zeros, reflect, replicate or circular, not %s",
                self._name, tostring(mode))
        end
        self.options.padding_mode = mode
    end
    local first, second = self.outputs, self.inputs // groups
    if self.transposed then first, second = self.inputs, self.outputs // groups end
    local fan_in = second
    for _, k in ipairs(self.kernel) do fan_in = fan_in * k end
    make(self, "weight", { first, second, table.unpack(self.kernel) }, fan_in)
    if options.bias ~= false then make(self, "bias", { self.outputs }, fan_in) end
end

function Base:forward(x)
    return mare[self.call](x, self.weight, self.bias, self.options)
end

function Base:extra()
    local o = self.options
    local text = ("%d, %d, %s"):format(self.inputs, self.outputs, spread_text(self.kernel))
    for _, option in ipairs { { "stride", "1" }, { "padding", "0" }, { "output_padding", "0" },
        { "dilation", "1" }, { "groups", "1" }, { "padding_mode", "zeros" } } do
        local name, default = option[1], option[2]
        local value = o[name] or default
        value = type(value) == "table" and spread_text(value) or tostring(value)
        if value ~= default then text = ("%s, %s=%s"):format(text, name, value) end
    end
    return self.bias and text or text .. ", bias=false"
end

local function class(name, call, dims, transposed)
    local new = Base:extend(name)
    new.init = Base.init
    new.call, new.dims, new.transposed = call, dims, transposed
    return new
end

---Convolution over [N, inputs, L] or [inputs, L].
---@class mare.nn.Conv1d: mare.nn.Module
---@field weight mare.tensor [outputs, inputs / groups, k]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs, outputs, kernel, options?: mare.nn.conv): mare.nn.Conv1d
conv.Conv1d = class("Conv1d", "conv1d", 1, false)

---Convolution over [N, inputs, H, W] or [inputs, H, W].
---@class mare.nn.Conv2d: mare.nn.Module
---@field weight mare.tensor [outputs, inputs / groups, h, w]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs, outputs, kernel, options?: mare.nn.conv): mare.nn.Conv2d
conv.Conv2d = class("Conv2d", "conv2d", 2, false)

---Convolution over [N, inputs, D, H, W] or [inputs, D, H, W].
---@class mare.nn.Conv3d: mare.nn.Module
---@field weight mare.tensor [outputs, inputs / groups, d, h, w]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs, outputs, kernel, options?: mare.nn.conv): mare.nn.Conv3d
conv.Conv3d = class("Conv3d", "conv3d", 3, false)

---Transposed convolution over [N, inputs, L] or [inputs, L].
---@class mare.nn.ConvTranspose1d: mare.nn.Module
---@field weight mare.tensor [inputs, outputs / groups, k]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs, outputs, kernel, options?: mare.nn.conv_transpose): mare.nn.ConvTranspose1d
conv.ConvTranspose1d = class("ConvTranspose1d", "conv_transpose1d", 1, true)

---Transposed convolution over [N, inputs, H, W] or [inputs, H, W].
---@class mare.nn.ConvTranspose2d: mare.nn.Module
---@field weight mare.tensor [inputs, outputs / groups, h, w]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs, outputs, kernel, options?: mare.nn.conv_transpose): mare.nn.ConvTranspose2d
conv.ConvTranspose2d = class("ConvTranspose2d", "conv_transpose2d", 2, true)

---Transposed convolution over [N, inputs, D, H, W] or [inputs, D, H, W].
---@class mare.nn.ConvTranspose3d: mare.nn.Module
---@field weight mare.tensor [inputs, outputs / groups, d, h, w]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs, outputs, kernel, options?: mare.nn.conv_transpose): mare.nn.ConvTranspose3d
conv.ConvTranspose3d = class("ConvTranspose3d", "conv_transpose3d", 3, true)

return conv
