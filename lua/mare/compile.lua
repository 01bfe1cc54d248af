-- mare.compile: a step whose Lua runs once, and whose work is done again with other inputs.

local core = require "mare.core"
local mare, private, step = core.api, core.private, core.step

local MOST_NOTED = 64  -- ways to run that a function keeps
local MOST_SEEN = 1024 -- signatures of arguments that it remembers

-- ---- What is noted -----------------------------------------------------------------------------

-- While the function runs under mare.compile, private.trace is there for the library to say what
-- the engine cannot see: numbers that change from call to call, what else the step depends on, and
-- what is to be done in Lua after each call. In the first call of a kind nothing is noted yet.

---@class mare.trace
---@field noting boolean false in the first call
local Trace = {}
Trace.__index = Trace

local function new_trace(noting)
    return setmetatable({
        noting = noting, getters = {}, guards = {}, states = {}, effects = {}, modules = {},
        training = {}, numbers = {},
    }, Trace)
end

local getter_of = setmetatable({}, { __mode = "k" })

--- get() as a number that each call gets anew: a number, or while a step is noted a value that
--- stands for it in operations on tensors.
function Trace:number(get)
    local value = get()
    if not self.noting or getter_of[value] then return value end
    self.getters[#self.getters + 1] = get
    local n = step.number(#self.getters - 1, value)
    getter_of[n] = get
    return n
end

--- The step is only what it was noted as while get() gives the same.
function Trace:guard(get)
    if not self.noting then return end
    self.guards[#self.guards + 1], self.states[#self.guards + 1] = get, get()
end

--- What calls do besides: f() after each that runs what was noted.
function Trace:effect(f)
    if self.noting then self.effects[#self.effects + 1] = f end
end

--- A module takes part; whether it trains is a part of the step.
function Trace:see(module)
    if not self.noting then return end
    self.modules[#self.modules + 1] = module
    self.training[#self.modules] = module.training
end

local function holds(trace)
    for i, get in ipairs(trace.guards) do
        if get() ~= trace.states[i] then return false end
    end
    for i, module in ipairs(trace.modules) do
        if module.training ~= trace.training[i] then return false end
    end
    return true
end

-- ---- Numbers -----------------------------------------------------------------------------------

local function value_of(v)
    local get = getter_of[v]
    if get then return get() end
    return v
end

local meta = step.number_meta()
local operators = {
    __add = { "add", function(a, b) return a + b end },
    __sub = { "sub", function(a, b) return a - b end },
    __mul = { "mul", function(a, b) return a * b end },
    __div = { "div", function(a, b) return a / b end },
    __mod = { "mod", function(a, b) return a % b end },
    __pow = { "pow", function(a, b) return a ^ b end },
    __idiv = { "floordiv", function(a, b) return a // b end },
}
for event, how in pairs(operators) do
    local of_tensors, of_numbers = mare[how[1]], how[2]
    meta[event] = function(a, b)
        if mare.is_tensor(a) or mare.is_tensor(b) then return of_tensors(a, b) end
        if not private.trace then
            mare.fail("compile: a number of a compiled function is used after its call")
        end
        return private.trace:number(function() return of_numbers(value_of(a), value_of(b)) end)
    end
end
function meta.__unm(a) return 0 - a end

local function no_value(what)
    return function()
        mare.fail("compile: %s a number that each call gets anew; what depends on it must be an "
            .. "operation on tensors, or stand outside of the function", what)
    end
end
meta.__lt, meta.__le = no_value "a comparison with", no_value "a comparison with"
meta.__tostring, meta.__concat = no_value "the text of", no_value "the text of"

-- ---- Arguments and results ---------------------------------------------------------------------

local function is_plain(v) return type(v) == "table" and getmetatable(v) == nil end

local function by_name(a, b)
    if type(a) ~= type(b) then return type(a) < type(b) end
    if type(a) == "number" or type(a) == "string" then return a < b end
    return tostring(a) < tostring(b)
end

-- The structure of a value: its tensors and numbers come into lists, in a fixed order.
local function structure(v, tensors, numbers)
    if mare.is_tensor(v) then
        tensors[#tensors + 1] = v
        return { tensor = #tensors }
    elseif type(v) == "number" and numbers then
        numbers[#numbers + 1] = v
        return { number = #numbers, type = math.type(v) }
    elseif not is_plain(v) then
        return { value = v }
    end
    local keys, parts = {}, {}
    for key in pairs(v) do keys[#keys + 1] = key end
    table.sort(keys, by_name)
    for i, key in ipairs(keys) do parts[i] = structure(v[key], tensors, numbers) end
    return { keys = keys, parts = parts }
end

-- Has v that structure? Adds its tensors and numbers to the lists.
local function matches(s, v, tensors, numbers)
    if s.tensor then
        tensors[s.tensor] = v
        return mare.is_tensor(v)
    elseif s.number then
        numbers[s.number] = v
        return math.type(v) == s.type
    elseif not s.keys then
        return rawequal(s.value, v)
    elseif not is_plain(v) then
        return false
    end
    for i, key in ipairs(s.keys) do
        local part = v[key]
        if part == nil or not matches(s.parts[i], part, tensors, numbers) then return false end
    end
    local n = 0
    for _ in pairs(v) do n = n + 1 end
    return n == #s.keys
end

-- A value of that structure, from its tensors and numbers.
local function build(s, tensors, numbers)
    if s.tensor then return tensors[s.tensor] end
    if s.number then return numbers[s.number] end
    if not s.keys then return value_of(s.value) end
    local v = {}
    for i, key in ipairs(s.keys) do v[key] = build(s.parts[i], tensors, numbers) end
    return v
end

local function structures(values, tensors, numbers)
    local list = { n = values.n }
    for i = 1, values.n do list[i] = structure(values[i], tensors, numbers) end
    return list
end

local function all_match(list, values, tensors, numbers)
    if list.n ~= values.n then return false end
    for i = 1, list.n do
        if not matches(list[i], values[i], tensors, numbers) then return false end
    end
    return true
end

local function build_all(list, tensors, numbers)
    local values = {}
    for i = 1, list.n do values[i] = build(list[i], tensors, numbers) end
    return values
end

-- What tells kinds of calls apart, as text.
local function signature(s, tensors, parts)
    if s.tensor then
        local t = tensors[s.tensor]
        parts[#parts + 1] = ("%s%s%s"):format(t.dtype, t.shape, t.requires_grad and "g" or "")
    elseif s.keys then
        parts[#parts + 1] = "{"
        for i, key in ipairs(s.keys) do
            parts[#parts + 1] = tostring(key)
            signature(s.parts[i], tensors, parts)
        end
        parts[#parts + 1] = "}"
    else
        parts[#parts + 1] = s.type or tostring(s.value)
    end
end

-- ---- Calls -------------------------------------------------------------------------------------

local Compiled = { __name = "mare.compiled" }
Compiled.__index = Compiled

-- Results come out as plain data.
local function detached(values)
    local tensors = {}
    local list = structures(values, tensors)
    mare.eval(tensors)
    for i, t in ipairs(tensors) do
        if t.requires_grad then tensors[i] = t:detach() end
    end
    mare.eval(tensors)
    return build_all(list, tensors)
end

local function run_under(trace, f, args, n)
    private.trace = trace
    local r = table.pack(pcall(f, table.unpack(args, 1, n)))
    private.trace = nil
    return r
end

local function plain_call(self, args)
    local r = run_under(new_trace(false), self.f, args, args.n)
    if not r[1] then error(r[2], 0) end
    local values = detached(table.pack(table.unpack(r, 2, r.n)))
    self.plain = self.plain + 1
    return table.unpack(values, 1, r.n - 1)
end

local function note_call(self, args, list, tensors, numbers)
    local trace, wrapped = new_trace(true), {}
    if not step.begin(tensors) then return plain_call(self, args) end
    trace.arguments, trace.numbers = list, numbers
    for i in ipairs(numbers) do
        wrapped[i] = trace:number(function() return trace.numbers[i] end)
    end
    local r = run_under(trace, self.f, build_all(list, tensors, wrapped), args.n)
    if not r[1] then
        step.cancel()
        error(r[2], 0)
    end
    local out = {}
    trace.results = structures(table.pack(table.unpack(r, 2, r.n)), out)
    local made
    trace.step, made = step.finish(out)
    trace.n_out = #out
    table.insert(self.noted, 1, trace)
    self.noted[MOST_NOTED + 1] = nil
    self.traces = self.traces + 1
    return table.unpack(build_all(trace.results, made), 1, trace.results.n)
end

-- The results of what was noted; nil when it does not fit.
local function run_noted(trace, args)
    local tensors, numbers = {}, {}
    if not all_match(trace.arguments, args, tensors, numbers) or not holds(trace) then
        return nil
    end
    trace.numbers = numbers
    local values = {}
    for i, get in ipairs(trace.getters) do values[i] = get() end
    local made = step.run(trace.step, tensors, values, trace.n_out)
    if not made then return nil end
    for _, effect in ipairs(trace.effects) do effect() end
    return build_all(trace.results, made)
end

function Compiled:__call(...)
    if private.trace then return self.f(...) end
    local args = table.pack(...)
    for i, trace in ipairs(self.noted) do
        local values = run_noted(trace, args)
        if values then
            if i > 1 then table.insert(self.noted, 1, table.remove(self.noted, i)) end
            self.runs = self.runs + 1
            return table.unpack(values, 1, trace.results.n)
        end
    end
    local tensors, numbers, parts = {}, {}, {}
    local list = structures(args, tensors, numbers)
    for i = 1, list.n do signature(list[i], tensors, parts) end
    local key = table.concat(parts, " ")
    if self.seen[key] then return note_call(self, args, list, tensors, numbers) end
    if self.n_seen == MOST_SEEN then self.seen, self.n_seen = {}, 0 end
    self.seen[key], self.n_seen = true, self.n_seen + 1
    return plain_call(self, args)
end

--- Forgets what was noted: the next call runs the function. Needed when something changed that the
--- function reads and that no call can see: a Lua variable, a field.
function Compiled:reset()
    self.noted, self.seen, self.n_seen = {}, {}, 0
end

function Compiled:__tostring()
    return ("compiled function: %d traces, %d runs, %d plain calls"):format(self.traces, self.runs,
        self.plain)
end

--- mare.compile(f): a function that does what f does, from the third call of a kind on without
--- running its Lua: made for a training step, f(x, y) with forward, backward and
--- optimizer:step(). The first call of a kind runs f; the second notes what it does; calls with
--- arguments of the same shapes and dtypes then only check their inputs and do it again.
---
---     local step = mare.compile(function(x, y)
---         opt:zero_grad()
---         local loss = loss_of(model(x), y)
---         loss:backward()
---         opt:step()
---         return loss
---     end)
---
--- Arguments and results are tensors, numbers, other values, or plain tables of them. Tensors that
--- f knows from outside (parameters, buffers, the optimizer's state) are read and assigned as they
--- then are. Numbers among the arguments may change from call to call, as may the optimizer's; they
--- go into operations on tensors (on tensors of integers, f is noted once more for a new one).
--- Whether modules train, whether gradients are recorded and all other arguments are compared, and
--- f is noted once more where they differ. Random numbers are those that f would have drawn. What
--- else f reads in Lua is as it was when it was noted: step:reset() forgets that. Reading a value
--- of a tensor inside of f is an error; gradients that optimizer:step() used are gone after the
--- call; results have no graph behind them. What f assigns takes the memory of what was there,
--- where no other tensor needs that: a step takes its arena and no second copy of the parameters.
--- step.traces, step.runs and step.plain count calls.
function mare.compile(f)
    private.need_function("compile", f)
    return setmetatable({
        f = f, noted = {}, seen = {}, n_seen = 0, traces = 0, runs = 0, plain = 0,
    }, Compiled)
end
