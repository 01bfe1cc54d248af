--- Modules: layers and models that know their parameters, buffers and children by name.
---
---     local Net = nn.Module:extend("Net")
---     function Net:init(classes)
---         self.fc1 = nn.Linear(784, 128)
---         self.fc2 = nn.Linear(128, classes)
---     end
---     function Net:forward(x)
---         return self.fc2(self.fc1(x):relu())
---     end
---     local net = Net(10)
---     local logits = net(x)
---
--- A module assigned to a field becomes a child, a tensor that requires a gradient a parameter;
--- both keep the order in which their fields were first assigned. Buffers (state that is saved but
--- not trained) are declared with self:buffer(name, tensor).

local mare = require "mare"
local private = require("mare.core").private

---What all layers and models are. local Net = nn.Module:extend("Net"), then Net:init(...) and
---Net:forward(...); Net(...) makes one, and calling that runs forward. Methods: parameters,
---named_parameters, buffers, children, named_modules, num_parameters, parameter, buffer, train,
---eval, freeze, unfreeze, zero_grad, apply, to, state_dict, load_state_dict, save, load.
---@class mare.nn.Module
---@field training boolean whether the module is in training mode
local Module = { _name = "Module", training = true }

--- What failed last: the innermost module, and the path from the module that reported it.
local failure = setmetatable({}, { __mode = "v" })

local is_tensor = mare.is_tensor

---Is this value a module?
---@param value any
---@return boolean
local function is_module(value)
    return type(value) == "table" and rawget(value, "_kinds") ~= nil
end

--- "parameter", "buffer", "module" or nil: what a field is now.
local function kind_of(self, name, value)
    if is_module(value) then return "module" end
    if not is_tensor(value) then return nil end
    local kind = self._kinds[name]
    if kind == "derived" then return nil end
    if not kind and value.requires_grad then
        kind = "parameter"
        self._kinds[name] = kind -- it stays one when it is frozen
    end
    return kind
end

--- Iterates name, value, kind over the registered fields, in the order of their first assignment.
local function fields(self)
    local order, i = self._order, 0
    return function()
        while i < #order do
            i = i + 1
            local name = order[i]
            local value = rawget(self, name)
            local kind = kind_of(self, name, value)
            if kind then return tostring(name), value, kind end
        end
    end
end

local function assign_field(self, name, value)
    if is_module(value) or is_tensor(value) then
        if getmetatable(self).__index[name] ~= nil then
            mare.fail("%s: '%s' is a method of the class and cannot name a field", self._name, name)
        end
        if type(name) == "string" and name:find(".", 1, true) then
            mare.fail("%s: the name '%s' has a dot in it", self._name, name)
        end
    elseif type(value) == "table" and is_module(value[1]) then
        mare.fail("%s: '%s' is a plain table of modules, whose parameters would not be found; "
            .. "use nn.ModuleList", self._name, tostring(name))
    end
    rawset(self, name, value)
    if not self._seen[name] then
        self._seen[name] = true
        self._order[#self._order + 1] = name
    end
end

local function is_interrupt(message)
    return message == "interrupted" or message:sub(-13) == ": interrupted"
end

--- Adds "in conv1 (Conv2d): " to an error that comes out of forward(). Each module on the way out
--- puts the path of the one below in front.
local function finish(self, ok, ...)
    if ok then return ... end
    local message = ...
    if type(message) ~= "string" or is_interrupt(message) then error(message, 0) end
    if message ~= failure.text then
        -- The script's line stays in front.
        local where = private.where()
        if message:sub(1, #where) ~= where then where = "" end
        failure.class, failure.path = self._name, ""
        failure.where, failure.message = where, message:sub(#where + 1)
        failure.text = ("%sin %s: %s"):format(where, self._name, failure.message)
    else
        for path, module in self:named_modules() do
            if module == failure.module and module ~= self then
                failure.path = path .. (failure.path ~= "" and "." or "") .. failure.path
                break
            end
        end
        if failure.path ~= "" then
            failure.text = ("%sin %s (%s): %s"):format(failure.where, failure.path, failure.class,
                failure.message)
        end
    end
    failure.module = self
    error(failure.text, 0)
end

local function forward(self, ...)
    if private.trace then private.trace:see(self) end
    for _, derived in ipairs(self._derived) do rawset(self, derived.name, derived.make(self)) end
    return self:forward(...)
end

local function call(self, ...)
    return finish(self, pcall(forward, self, ...))
end

local function commas(n)
    local text = tostring(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
    return (text:gsub("^,", ""))
end

local function describe(self, name, indent, lines)
    local extra = self:extra()
    local own = 0
    for _, p, kind in fields(self) do
        if kind == "parameter" then own = own + p:numel() end
    end
    lines[#lines + 1] = ("%s%s%s%s%s"):format(indent, name and name .. ": " or "", self._name,
        extra ~= "" and "(" .. extra .. ")" or "", own > 0 and "  " .. commas(own) or "")
    for child_name, child in self:children() do
        describe(child, child_name, indent .. "  ", lines)
    end
    return lines
end

local function to_string(self)
    local lines = describe(self, nil, "", {})
    lines[#lines + 1] = commas(self:num_parameters()) .. " parameters"
    return table.concat(lines, "\n")
end

local function construct(class, ...)
    local self = setmetatable({}, class._instance)
    rawset(self, "_order", {}) -- names of fields in the order of their first assignment
    rawset(self, "_seen", {})
    rawset(self, "_kinds", {}) -- "parameter", "buffer" or "derived" by name
    rawset(self, "_derived", {}) -- {name, make}: what derive() was given
    self:init(...)
    return self
end

local function instance_meta(class)
    return {
        __index = class,
        __newindex = assign_field,
        __call = call,
        __tostring = to_string,
        __name = "mare.nn.Module",
    }
end
Module._instance = instance_meta(Module)
setmetatable(Module, { __call = construct })

---Makes a class of modules. Calling the class makes a module and runs its init(...).
---@param name string the class's name, for errors and printing
---@return table class
function Module:extend(name)
    if type(name) ~= "string" then mare.fail("Module:extend: a name is needed") end
    local class = { _name = name }
    class._instance = instance_meta(class)
    return setmetatable(class, {
        __index = self,
        __call = construct,
        __tostring = function() return "class " .. name end,
    })
end

---Runs when a module is made; classes replace it.
function Module.init() end

---Computes the module's result; classes replace it.
function Module:forward()
    mare.fail("%s has no forward()", self._name)
end

---Text that printing shows in parentheses after the class's name; classes replace it.
---@return string
function Module.extra() return "" end

---Declares a parameter: a tensor that is trained. It is evaluated and made to require a gradient.
---@param name string
---@param tensor mare.tensor
---@return mare.tensor
function Module:parameter(name, tensor)
    mare.eval(tensor)
    tensor = tensor:detach()
    tensor.requires_grad = true
    self._kinds[name] = "parameter"
    self[name] = tensor
    return tensor
end

---Declares a buffer: a tensor that is saved with the parameters but not trained.
---@param name string
---@param tensor mare.tensor
---@return mare.tensor
function Module:buffer(name, tensor)
    mare.eval(tensor)
    self._kinds[name] = "buffer"
    self[name] = tensor
    return tensor
end

---Declares a tensor that others make: make(module) gives it anew before each forward(). It is
---neither trained nor saved.
---@param name string of a field, which is no parameter or buffer any more
---@param make fun(module: mare.nn.Module): mare.tensor
function Module:derive(name, make)
    self._kinds[name] = "derived"
    table.insert(self._derived, { name = name, make = make })
    self[name] = make(self)
end

---Takes a declaration by derive() back; the field is free again.
---@param name string
function Module:underive(name)
    for i, derived in ipairs(self._derived) do
        if derived.name == name then
            table.remove(self._derived, i)
            self._kinds[name] = nil
            rawset(self, name, nil)
            return
        end
    end
    mare.fail("%s: '%s' is not derived from other tensors", self._name, name)
end

---Iterates name, child over the direct children.
---@return fun(): string?, mare.nn.Module?
function Module:children()
    local next_field = fields(self)
    return function()
        local name, value, kind
        repeat name, value, kind = next_field() until not name or kind == "module"
        return name, value
    end
end

--- Calls visit(path, module) for self and everything below it, parents first, each module once.
local function walk(self, path, seen, visit)
    if seen[self] then return end
    seen[self] = true
    visit(path, self)
    for name, child in self:children() do
        walk(child, path == "" and name or path .. "." .. name, seen, visit)
    end
end

--- A list of {dotted name, tensor, kind, owner, field}. once: a tensor under two names counts once.
local function tensors_of(self, once)
    local list, seen = {}, {}
    local function collect(module, path)
        for name, value, kind in fields(module) do
            local full = path == "" and name or path .. "." .. name
            if kind == "module" then
                collect(value, full)
            elseif not (once and seen[value]) then
                seen[value] = true
                list[#list + 1] = { full, value, kind, module, name }
            end
        end
    end
    collect(self, "")
    return list
end

---Iterates dotted path, module over the module itself (path "") and everything below it.
---@return fun(): string?, mare.nn.Module?
function Module:named_modules()
    local list, i = {}, 0
    walk(self, "", {}, function(path, module) list[#list + 1] = { path, module } end)
    return function()
        i = i + 1
        if list[i] then return list[i][1], list[i][2] end
    end
end

local function named(self, wanted)
    local list, i = tensors_of(self, true), 0
    return function()
        repeat i = i + 1 until not list[i] or list[i][3] == wanted
        if list[i] then return list[i][1], list[i][2] end
    end
end

---Iterates dotted name, tensor over the parameters in a stable order, each tensor once.
---@return fun(): string?, mare.tensor?
function Module:named_parameters() return named(self, "parameter") end

---Iterates dotted name, tensor over the buffers.
---@return fun(): string?, mare.tensor?
function Module:named_buffers() return named(self, "buffer") end

---The parameters as a list, for an optimizer.
---@return mare.tensor[]
function Module:parameters()
    local list = {}
    for _, p in self:named_parameters() do list[#list + 1] = p end
    return list
end

---The buffers as a list.
---@return mare.tensor[]
function Module:buffers()
    local list = {}
    for _, b in self:named_buffers() do list[#list + 1] = b end
    return list
end

---Number of values in the parameters.
---@param trainable? boolean count only those that require a gradient
---@return integer
function Module:num_parameters(trainable)
    local n = 0
    for _, p in self:named_parameters() do
        if p.requires_grad or not trainable then n = n + p:numel() end
    end
    return n
end

---Calls visit(module, path) for everything below the module and last for the module itself.
---@param visit fun(module: mare.nn.Module, path: string)
---@return mare.nn.Module self
function Module:apply(visit)
    local list = {}
    walk(self, "", {}, function(path, module) list[#list + 1] = { path, module } end)
    for i = #list, 1, -1 do visit(list[i][2], list[i][1]) end
    return self
end

---Sets training mode (dropout drops, batch norm uses the batch) for the whole tree.
---@param on? boolean default true
---@return mare.nn.Module self
function Module:train(on)
    walk(self, "", {}, function(_, module) rawset(module, "training", on ~= false) end)
    return self
end

---Sets evaluation mode for the whole tree.
---@return mare.nn.Module self
function Module:eval() return self:train(false) end

local function set_trainable(self, on)
    for _, p in self:named_parameters() do p.requires_grad = on end
    return self
end

---Stops training of all parameters below.
---@return mare.nn.Module self
function Module:freeze() return set_trainable(self, false) end

---Makes all parameters below trainable again.
---@return mare.nn.Module self
function Module:unfreeze() return set_trainable(self, true) end

---Clears the gradients of all parameters.
function Module:zero_grad()
    for _, p in self:named_parameters() do p.grad = nil end
end

---Changes the element type of all float parameters and buffers. The tensors are new ones: make
---optimizers afterwards.
---@param dtype string "f32", "f16" or "bf16"
---@return mare.nn.Module self
function Module:to(dtype)
    local done = {}
    for _, entry in ipairs(tensors_of(self, false)) do
        local _, tensor, _, owner, field = table.unpack(entry)
        if tensor:is_floating_point() and tensor.dtype ~= dtype then
            if not done[tensor] then
                local trainable = tensor.requires_grad
                local changed = mare.no_grad(function() return tensor:detach():to(dtype) end)
                mare.eval(changed)
                changed.requires_grad = trainable
                done[tensor] = changed
            end
            rawset(owner, math.tointeger(field) or field, done[tensor])
        end
    end
    return self
end

---All parameters and buffers by dotted name. The tensors are the module's own, not copies.
---@return table<string, mare.tensor>
function Module:state_dict()
    local state = {}
    for _, entry in ipairs(tensors_of(self, false)) do state[entry[1]] = entry[2] end
    return state
end

---Takes values from a table as state_dict() or mare.load() give it. Strict (the default): an error
---that lists what is missing, what is unexpected and which shapes differ, and nothing is changed.
---Not strict: takes what fits by name.
---@param state table<string, mare.tensor>
---@param options? {strict?: boolean}
---@return {missing: string[], unexpected: string[]}
function Module:load_state_dict(state, options)
    local strict = not options or options.strict ~= false
    local missing, unexpected, differ, known = {}, {}, {}, {}
    local entries = tensors_of(self, false)
    for _, entry in ipairs(entries) do
        local name, tensor = entry[1], entry[2]
        known[name] = true
        local value = state[name]
        if value == nil then
            missing[#missing + 1] = name
        elseif not is_tensor(value) then
            differ[#differ + 1] = ("%s is a %s, not a tensor"):format(name, type(value))
        elseif tensor.shape ~= value.shape then
            differ[#differ + 1] = ("%s is %s here and %s in the state"):format(name,
                tensor.shape, value.shape)
        end
    end
    for name in pairs(state) do
        if not known[name] then unexpected[#unexpected + 1] = tostring(name) end
    end
    table.sort(unexpected)
    local problems = {}
    if strict and #missing > 0 then
        problems[#problems + 1] = "missing: " .. table.concat(missing, ", ")
    end
    if strict and #unexpected > 0 then
        problems[#problems + 1] = "unexpected: " .. table.concat(unexpected, ", ")
    end
    if #differ > 0 then
        problems[#problems + 1] = "do not fit: " .. table.concat(differ, ", ")
    end
    if #problems > 0 then
        mare.fail("load_state_dict of %s: %s", self._name, table.concat(problems, "; "))
    end
    mare.no_grad(function()
        for _, entry in ipairs(entries) do
            local tensor, value = entry[2], state[entry[1]]
            if value then
                value = value:detach()
                tensor:assign(value.dtype == tensor.dtype and value or value:to(tensor.dtype))
            end
        end
    end)
    mare.eval()
    return { missing = missing, unexpected = unexpected }
end

---Saves parameters and buffers as safetensors.
---@param path string
---@param metadata? table<string, string>
function Module:save(path, metadata)
    mare.save(path, self:state_dict(), metadata)
end

---Loads parameters and buffers from safetensors.
---@param path string
---@param options? {strict?: boolean}
---@return {missing: string[], unexpected: string[]}
---@return table<string, string> metadata
function Module:load(path, options)
    local state, metadata = mare.load(path)
    return self:load_state_dict(state, options), metadata
end

return {
    Module = Module,
    is_tensor = is_tensor,
    is_module = is_module,
}
