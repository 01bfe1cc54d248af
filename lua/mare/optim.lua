--- Optimizers: SGD, Adam, AdamW.
---
---     local opt = optim.Adam(model:parameters(), { lr = 1e-3 })
---     opt:zero_grad()
---     loss:backward()
---     opt:step()
---
--- step() evaluates new parameters, the optimizer's state, the loss that backward() left and
--- everything else that was assigned (running statistics) together. Rates, step counts and bias
--- corrections enter as numbers, which are no part of a plan: a schedule rebuilds nothing.
---
--- Parameter groups have settings of their own: optim.SGD({{params = a, lr = 0.1}, {params = b}},
--- {lr = 0.01}). Change opt.groups[i].lr at any time.

local mare = require "mare"
local core = require "mare.core"
local private, tidy = core.private, core.autodiff.tidy
local module = require "mare.nn.module"

local optim = {}

---@class mare.optim.Optimizer
---@field groups table[] each {params = tensors, lr = number, ...}
---@field steps integer number of steps done
local Optimizer = {}
Optimizer.__index = Optimizer
Optimizer.__name = "mare.optim.Optimizer"

--- Checks settings given by the user against the defaults of the optimizer.
local function settings_of(kind, given, into)
    for name, value in pairs(given) do
        local default = kind.defaults[name]
        if name ~= "params" then
            if default == nil then
                mare.fail("%s: there is no option '%s'", kind.name, tostring(name))
            end
            if type(value) ~= type(default) then
                mare.fail("%s: %s must be a %s, not %s", kind.name, name, type(default),
                    tostring(value))
            end
            into[name] = type(value) == "table" and { table.unpack(value) } or value
        end
    end
    return into
end

local function check_range(kind, group)
    for name, value in pairs(group) do
        if type(value) == "number" and not (value >= 0 and value < math.huge) then
            mare.fail("%s: %s must be 0 or more, not %s", kind.name, name, tostring(value))
        end
    end
    if kind.check then kind.check(group) end
end

local function create(kind, params, options)
    if type(params) ~= "table" or module.is_module(params) then
        mare.fail("%s: give a list of parameters: model:parameters()", kind.name)
    end
    local self = setmetatable({ kind = kind, groups = {}, state = {}, steps = 0 }, Optimizer)
    local base = settings_of(kind, options or {}, settings_of(kind, kind.defaults, {}))
    local list = type(params[1]) == "table" and params or { { params = params } }
    local seen, total = {}, 0
    for i, given in ipairs(list) do
        if type(given.params) ~= "table" then
            mare.fail("%s: group %d has no list 'params'", kind.name, i)
        end
        local group = settings_of(kind, given, settings_of(kind, base, { params = {} }))
        check_range(kind, group)
        for j, p in ipairs(given.params) do
            if not module.is_tensor(p) then
                mare.fail("%s: entry %d of group %d is a %s, not a tensor", kind.name, j, i,
                    type(p))
            end
            if seen[p] then
                mare.fail("%s: entry %d of group %d is there twice", kind.name, j, i)
            end
            seen[p], total = true, total + 1
            group.params[j] = p
        end
        self.groups[i] = group
    end
    if total == 0 then mare.fail("%s: there is no parameter to train", kind.name) end
    return self
end

--- Zeros shaped like p, evaluated: the first step then has the same plan as all that follow.
local function zeros_like(p)
    local z = mare.zeros(p.shape, { dtype = p.dtype })
    mare.eval(z)
    return z
end

local function state_of(self, p, group)
    local s = self.state[p]
    if not s then
        s = { step = 0 }
        for _, name in ipairs(self.kind.slots(group)) do s[name] = zeros_like(p) end
        self.state[p] = s
    end
    return s
end

--- The numbers that an update takes, once for all parameters of a group that did as many steps.
local function numbers_of(self, group, s, known)
    known[group] = known[group] or {}
    local numbers, trace = known[group][s.step], private.trace
    if not numbers then
        numbers = self.kind.numbers(group, function() return s.step + 1 end)
        for name, get in pairs(numbers) do numbers[name] = trace and trace:number(get) or get() end
        known[group][s.step] = numbers
    end
    return numbers
end

--- What a compiled step depends on here, and what it does besides: see mare.compile.
local function tell(self, trace, states)
    trace:guard(function() return self.groups end)
    trace:guard(function() return self.state end)
    for _, group in ipairs(self.groups) do
        trace:guard(function() return #group.params end)
        for name, value in pairs(group) do
            if type(value) == "number" then
                trace:guard(function() return group[name] == 0 end)
            elseif type(value) == "boolean" then
                trace:guard(function() return group[name] end)
            end
        end
    end
    trace:effect(function()
        for _, s in ipairs(states) do s.step = s.step + 1 end
        self.steps = self.steps + 1
    end)
    self:zero_grad()
end

---One step of every parameter that has a gradient, evaluated together with the loss. A step that
---fails (no memory left, say) changes neither parameters nor the optimizer. In a function of
---mare.compile the gradients are gone afterwards.
---@param ... mare.tensor more tensors to evaluate with it, such as predictions
function Optimizer:step(...)
    local extra, targets, values, work, states, known = { ... }, {}, {}, {}, {}, {}
    local function stage(target, value)
        if value.shape ~= target.shape or value.dtype ~= target.dtype then
            mare.fail("%s: a step of %s %s gives %s %s", self.kind.name, target.dtype,
                target.shape, value.dtype, value.shape)
        end
        targets[#targets + 1], values[#values + 1] = target, value
        extra[#extra + 1] = target
    end
    for _, group in ipairs(self.groups) do
        for _, p in ipairs(group.params) do
            if p.grad then
                local s = state_of(self, p, group)
                states[#states + 1] = s
                work[#work + 1] = {
                    p = p, s = s, n = numbers_of(self, group, s, known), group = group,
                }
            end
        end
    end
    -- Nothing but the engine holds what is computed on the way: so new state can take the memory
    -- of the old.
    tidy(function()
        local _ <close> = mare.no_grad()
        for _, w in ipairs(work) do
            self.kind.update(stage, w.p, w.p.grad, w.s, w.n, w.group)
        end
        for i, target in ipairs(targets) do target:assign(values[i]) end
    end)
    mare.eval(extra) -- undoes all assignments when it fails
    for _, s in ipairs(states) do s.step = s.step + 1 end
    self.steps = self.steps + 1
    if private.trace then tell(self, private.trace, states) end
end

---Forgets the gradients of all parameters.
function Optimizer:zero_grad()
    for _, group in ipairs(self.groups) do
        for _, p in ipairs(group.params) do p.grad = nil end
    end
end

---All that a later step depends on: numbers, and the live state tensors (not copies). Parameters
---are known by their position over all groups.
---@return {kind: string, steps: integer, groups: table[], state: table[]}
function Optimizer:state_dict()
    local groups, state, position = {}, {}, 0
    for i, group in ipairs(self.groups) do
        local copy = settings_of(self.kind, group, {})
        copy.params = {}
        for j, p in ipairs(group.params) do
            position = position + 1
            copy.params[j] = position
            local s = self.state[p]
            if s then
                state[position] = {}
                for name, value in pairs(s) do state[position][name] = value end
            end
        end
        groups[i] = copy
    end
    return { kind = self.kind.name, steps = self.steps, groups = groups, state = state }
end

--- The state of parameter p at a position, checked, with tensors of its own.
local function load_one(self, position, p, group, saved)
    local s = { step = math.tointeger(saved.step) }
    if not s.step then
        mare.fail("load_state_dict of %s: parameter %d has no step count", self.kind.name, position)
    end
    for _, name in ipairs(self.kind.slots(group)) do
        local value = saved[name]
        if not module.is_tensor(value) then
            mare.fail("load_state_dict of %s: parameter %d has no '%s'", self.kind.name, position,
                name)
        end
        if value.shape ~= p.shape or value.dtype ~= p.dtype then
            mare.fail("load_state_dict of %s: '%s' of parameter %d is %s %s, and that is %s %s",
                self.kind.name, name, position, value.dtype, value.shape, p.dtype, p.shape)
        end
        s[name] = zeros_like(p)
        s[name]:assign(value:detach())
    end
    return s
end

---Goes on where another optimizer of the same kind and the same parameters stood.
---@param saved table from state_dict()
function Optimizer:load_state_dict(saved)
    local name = self.kind.name
    if saved.kind ~= name then
        mare.fail("load_state_dict of %s: the state is of %s", name, tostring(saved.kind))
    end
    if #saved.groups ~= #self.groups then
        mare.fail("load_state_dict of %s: %d groups here, %d in the state", name, #self.groups,
            #saved.groups)
    end
    local groups, state, position = {}, {}, 0
    mare.no_grad(function()
        for i, group in ipairs(self.groups) do
            local given = saved.groups[i]
            if #given.params ~= #group.params then
                mare.fail("load_state_dict of %s: group %d has %d parameters here, %d in the state",
                    name, i, #group.params, #given.params)
            end
            groups[i] = settings_of(self.kind, given,
                settings_of(self.kind, group, { params = group.params }))
            check_range(self.kind, groups[i])
            for _, p in ipairs(group.params) do
                position = position + 1
                local entry = saved.state[position]
                if entry then state[p] = load_one(self, position, p, groups[i], entry) end
            end
        end
    end)
    mare.eval()
    self.groups, self.state = groups, state
    self.steps = math.tointeger(saved.steps) or 0
end

function Optimizer:__tostring()
    local lines = {}
    for i, group in ipairs(self.groups) do
        lines[i] = ("%s: %d parameters, lr %g"):format(self.kind.name, #group.params, group.lr)
    end
    return table.concat(lines, "\n")
end

local SGD = {
    name = "SGD",
    defaults = { lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0, nesterov = false },
}

function SGD.check(group)
    if group.nesterov and (group.momentum == 0 or group.dampening ~= 0) then
        mare.fail("SGD: nesterov needs a momentum and no dampening")
    end
end

function SGD.slots(group)
    return group.momentum ~= 0 and { "momentum_buffer" } or {}
end

--- What update() takes as n, as functions of the number of the step. The first step takes the whole
--- gradient; written so that its plan is that of all steps.
function SGD.numbers(group, step)
    return {
        lr = function() return group.lr end,
        decay = function() return group.weight_decay end,
        momentum = function() return group.momentum end,
        keep = function() return step() == 1 and 0 or group.momentum end,
        share = function() return step() == 1 and 1 or 1 - group.dampening end,
    }
end

function SGD.update(stage, p, g, s, n, group)
    if group.weight_decay ~= 0 then g = g + p * n.decay end
    if group.momentum ~= 0 then
        local velocity = s.momentum_buffer * n.keep + g * n.share
        stage(s.momentum_buffer, velocity)
        g = group.nesterov and g + velocity * n.momentum or velocity
    end
    stage(p, p - g * n.lr)
end

local function check_betas(group)
    for i = 1, 2 do
        local beta = group.betas[i]
        if type(beta) ~= "number" or not (beta >= 0 and beta < 1) then
            mare.fail("Adam: betas[%d] must be in 0 <= beta < 1, not %s", i, tostring(beta))
        end
    end
end

local function adam_slots() return { "exp_avg", "exp_avg_sq" } end

local function adam_numbers(group, step)
    local function beta(i) return group.betas[i] end
    return {
        keep_1 = function() return beta(1) end,
        share_1 = function() return 1 - beta(1) end,
        keep_2 = function() return beta(2) end,
        share_2 = function() return 1 - beta(2) end,
        rate = function() return group.lr / (1 - beta(1) ^ step()) end,
        scale = function() return 1 / math.sqrt(1 - beta(2) ^ step()) end,
        eps = function() return group.eps end,
        decay = function() return group.weight_decay end,
        shrink = function() return 1 - group.lr * group.weight_decay end,
    }
end

--- from: the parameter's value before the step, or what decay left of it.
local function adam_update(stage, p, from, g, s, n)
    local m = s.exp_avg * n.keep_1 + g * n.share_1
    local v = s.exp_avg_sq * n.keep_2 + g * g * n.share_2
    stage(s.exp_avg, m)
    stage(s.exp_avg_sq, v)
    stage(p, from - m / (v:sqrt() * n.scale + n.eps) * n.rate)
end

local Adam = {
    name = "Adam",
    defaults = { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0 },
    check = check_betas,
    slots = adam_slots,
    numbers = adam_numbers,
}

function Adam.update(stage, p, g, s, n, group)
    if group.weight_decay ~= 0 then g = g + p * n.decay end
    adam_update(stage, p, p, g, s, n)
end

local AdamW = {
    name = "AdamW",
    defaults = { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 1e-2 },
    check = check_betas,
    slots = adam_slots,
    numbers = adam_numbers,
}

function AdamW.update(stage, p, g, s, n, group)
    local shrunk = group.weight_decay ~= 0 and p * n.shrink or p
    adam_update(stage, p, shrunk, g, s, n)
end

---@class mare.optim.sgd
---@field lr? number default 1e-3
---@field momentum? number default 0
---@field dampening? number default 0
---@field weight_decay? number default 0
---@field nesterov? boolean default false

---@class mare.optim.adam
---@field lr? number default 1e-3
---@field betas? number[] default {0.9, 0.999}
---@field eps? number default 1e-8
---@field weight_decay? number default 0; 0.01 in AdamW

---Stochastic gradient descent with momentum, dampening, Nesterov's momentum and weight decay.
---@param params mare.tensor[]|table[] parameters, or groups {params = ..., lr = ...}
---@param options? mare.optim.sgd
---@return mare.optim.Optimizer
function optim.SGD(params, options) return create(SGD, params, options) end

---Kingma and Ba 2015; weight_decay is added to the gradient.
---@param params mare.tensor[]|table[]
---@param options? mare.optim.adam
---@return mare.optim.Optimizer
function optim.Adam(params, options) return create(Adam, params, options) end

---Loshchilov and Hutter 2019: Adam with weight decay apart from the gradient.
---@param params mare.tensor[]|table[]
---@param options? mare.optim.adam
---@return mare.optim.Optimizer
function optim.AdamW(params, options) return create(AdamW, params, options) end

return optim
