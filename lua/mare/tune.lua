--- Which kernels run: candidates measured on this device before they are needed, and what is known
--- of them listed, pinned, carried to other machines and forgotten.
---
---     mare.tune.kernels { step = function() return train_step(x, y) end, budget = 60 }
---     mare.tune.export("tuning.json")

local core = require "mare.core"
local mare = require "mare"
local args = require "mare.nn.args"
local tables = require "mare.tune.table"
local binding = core.tune

local tune = {}

---A share is of what the device does at best: the time that the arithmetic would take at its
---measured rate of f32 multiply-adds, or the data at that of a copy, whichever is longer, over
---seconds.
---@class mare.tune.Candidate
---@field name string
---@field seconds? number of one run; nil: not measured, or it failed
---@field share? number

---A problem: work of one kind and size, which several kernels can do.
---@class mare.tune.Result
---@field key string such as "matmul/f32/512x512x512/b1/a100/b21"
---@field state string "measured" now, "known" from before, "pinned", "failed": all, or "left"
---@field best? string name of the candidate that is used; of "left": what suits such devices
---@field seconds? number of the best
---@field share? number of the best
---@field flops number of one run; 0: not known
---@field bytes number of one run: all that it binds
---@field candidates mare.tune.Candidate[]

-- ---- Shares of the limit -----------------------------------------------------------------------

-- { bandwidth, flops } of the device; empty where they cannot be measured.
local function peaks()
    local ok, bandwidth, flops = pcall(core.profile.peaks)
    return ok and { bandwidth = bandwidth, flops = flops } or {}
end

local function add_shares(result, best)
    local limit = 0
    if best.flops then
        limit = math.max(result.flops / best.flops, result.bytes / best.bandwidth)
    end
    for _, c in ipairs(result.candidates) do
        if c.seconds and limit > 0 then c.share = limit / c.seconds end
        if c.name == result.best then result.seconds, result.share = c.seconds, c.share end
    end
    return result
end

-- ---- What is to be tuned -----------------------------------------------------------------------

local function eval_all(...)
    local list = {}
    for _, v in ipairs { ... } do
        if mare.is_tensor(v) then list[#list + 1] = v end
    end
    if #list > 0 then mare.eval(table.unpack(list)) end
end

-- The sum of all floats among the results, to begin gradients with.
local function sum_of(...)
    local sum
    for _, v in ipairs { ... } do
        if mare.is_tensor(v) and v.requires_grad then
            sum = sum and sum + v:float():sum() or v:float():sum()
        end
    end
    return sum
end

-- Runs f, and what state it changes by that - random numbers, gradients, buffers - is put back.
local function leaving_no_trace(model, f)
    local rng, grads, buffers = mare.rng_state(), {}, {}
    for i, p in ipairs(model:parameters()) do grads[i] = p.grad or false end
    for i, b in ipairs(model:buffers()) do buffers[i] = b:detach() end
    local _ <close> = setmetatable({}, { __close = function()
        for i, p in ipairs(model:parameters()) do p.grad = grads[i] or nil end
        mare.no_grad(function()
            for i, b in ipairs(model:buffers()) do b:assign(buffers[i]) end
        end)
        mare.set_rng_state(rng)
    end })
    f()
end

local function run_model(model, inputs, loss)
    leaving_no_trace(model, function()
        local out = table.pack(model(table.unpack(inputs)))
        local y
        if loss then
            y = loss(table.unpack(out, 1, out.n))
        elseif model.training then
            y = sum_of(table.unpack(out, 1, out.n))
        end
        if not y then return eval_all(table.unpack(out, 1, out.n)) end
        y:backward()
        local all = { y }
        for _, p in ipairs(model:parameters()) do all[#all + 1] = p.grad end
        eval_all(table.unpack(all))
    end)
end

-- A tensor of that shape for an operation's argument.
local function operand(shape, dtype, grad)
    if dtype and not dtype:match("^b?f%d") then return mare.ones(shape, { dtype = dtype }) end
    return mare.randn(shape, { dtype = dtype, requires_grad = grad })
end

-- { "conv2d", {32, 64, 28, 28}, {64, 64, 3, 3}, padding = 1, dtype = "f16", backward = true }
local function run_shapes(entry)
    if type(entry) == "function" then return eval_all(entry()) end
    local f = type(entry) == "table" and type(entry[1]) == "string" and mare[entry[1]]
    if type(f) ~= "function" then
        mare.fail("tune.kernels: an entry of shapes is a function, or { name of an operation, "
            .. "shape, ... }, not %s", type(entry) == "table" and tostring(entry[1])
            or tostring(entry))
    end
    local tensors, options = {}, {}
    for i = 2, #entry do
        if type(entry[i]) ~= "table" then
            mare.fail("tune.kernels: %s: shape %d is %s", entry[1], i - 1, tostring(entry[i]))
        end
        tensors[i - 1] = operand(entry[i], entry.dtype, entry.backward)
    end
    for name, value in pairs(entry) do
        if type(name) == "string" and name ~= "dtype" and name ~= "backward" then
            options[name] = value
        end
    end
    local call = table.move(tensors, 1, #tensors, 1, {})
    if next(options) then call[#call + 1] = options end
    local y = f(table.unpack(call))
    if not entry.backward then return eval_all(y) end
    sum_of(y):backward()
    for i, t in ipairs(tensors) do tensors[i] = t.grad end
    eval_all(y, table.unpack(tensors))
end

-- ---- Runs --------------------------------------------------------------------------------------

---What a run met; tostring() gives all of it as text.
---@class mare.tune.Report
---@field [integer] mare.tune.Result
---@field measured integer how many were measured,
---@field left integer and how many another run has to measure
local Report = {}
Report.__index = Report

Report.__tostring = function(report)
    local lines = {}
    for _, result in ipairs(report) do
        for _, line in ipairs(tables.lines(result)) do lines[#lines + 1] = line end
    end
    lines[#lines + 1] = tables.summary(report)
    return table.concat(lines, "\n")
end

local function report_of(results, best)
    local report = setmetatable({ measured = 0, left = 0 }, Report)
    for i, result in ipairs(results) do
        report[i] = add_shares(result, best)
        local state = result.state
        if report[state] then report[state] = report[state] + 1 end
    end
    return report
end

-- Begins a run that shows what it does. Returns the device's limits, which shares are of.
local function begin(options)
    local best = peaks()
    local live = not options.quiet and tables.live(options.write, options.terminal)
    binding.tune_begin(options.budget, options.force, live and function(result)
        live:show(add_shares(result, best))
    end)
    return best
end

local KNOWN = {
    step = true, model = true, inputs = true, loss = true, shapes = true, budget = true,
    force = true, quiet = true, write = true, terminal = true,
}

local function check(options)
    args.options_of({ _name = "tune.kernels" }, options, KNOWN)
    local step, model, shapes = options.step, options.model, options.shapes
    if not step and not model and not shapes then
        mare.fail("tune.kernels: one of step, model and shapes is needed")
    end
    if step then core.private.need_function("tune.kernels", step) end
    if model and (type(model) ~= "table" or not model.parameters or options.inputs == nil) then
        mare.fail("tune.kernels: model is a module, and inputs what it is called with")
    end
    if shapes and type(shapes) ~= "table" then
        mare.fail("tune.kernels: shapes is a list, not %s", type(shapes))
    end
    local budget = options.budget
    if budget ~= nil and (type(budget) ~= "number" or budget < 0 or budget ~= budget) then
        mare.fail("tune.kernels: the budget is a number of seconds, not %s", tostring(budget))
    end
end

---@class mare.tune.kernels
---@field step? function called once, its results evaluated: a whole training step, say
---@field model? mare.nn.Module called with inputs; in training its gradients are computed, too
---@field inputs? mare.tensor|mare.tensor[] of the model
---@field loss? fun(...): mare.tensor of the model's results; the sum of them, if there is none
---@field shapes? table[] { operation, shape, ..., dtype =, backward =, its options }, or functions
---@field budget? number seconds that measuring may take; what is left is for the next run
---@field force? boolean measure what is known, too
---@field quiet? boolean show nothing
---@field write? fun(text: string) shows it in place of standard output
---@field terminal? boolean with write: whether that moves its cursor as a terminal does

---Measures the kernels that a step, a model or operations of given shapes can run with, each with
---all its candidates, and keeps the fastest on record for this device: later uses and later starts
---take it at once. What is known is not measured again, so an interrupted run goes on where it
---ended. Shows a table meanwhile: candidate, time, share of what the device does at best. A model's
---parameters, gradients and buffers and the random stream are afterwards as they were.
---@param options mare.tune.kernels
---@return mare.tune.Report
function tune.kernels(options)
    if type(options) ~= "table" then
        mare.fail("tune.kernels: expected a table of options, not %s", type(options))
    end
    check(options)
    local best = begin(options)
    local guard <close> = setmetatable({ on = true }, { __close = function(self)
        if self.on then pcall(binding.tune_end) end
    end })
    if options.step then eval_all(options.step()) end
    if options.model then
        local inputs = options.inputs
        if mare.is_tensor(inputs) then inputs = { inputs } end
        run_model(options.model, inputs, options.loss)
    end
    for _, entry in ipairs(options.shapes or {}) do run_shapes(entry) end
    guard.on = false
    local report = report_of(binding.tune_end(), best)
    if not options.quiet then (options.write or io.write)(tables.summary(report) .. "\n") end
    return report
end

-- ---- Records -----------------------------------------------------------------------------------

---All that is known of this device, in the order of the keys: pins first.
---@return mare.tune.Result[]
function tune.list()
    local list = binding.tune_list()
    for _, r in ipairs(list) do add_shares(r, {}) end
    table.sort(list, function(a, b)
        if (a.state == "pinned") ~= (b.state == "pinned") then return a.state == "pinned" end
        if a.key ~= b.key then return a.key < b.key end
        return (a.list or "") < (b.list or "")
    end)
    return list
end

---From now on, and in later starts on this device, problems of that key are answered by the
---candidate of that name. A name that is none of its candidates is an error that lists them.
---@param key string
---@param candidate? string nil takes the pin away
function tune.pin(key, candidate) binding.tune_pin(key, candidate) end

---Forgets all that is known of this device, pins too.
function tune.clear() binding.tune_clear() end

---Writes what is known of this device as a JSON file, whole or not at all.
---@param path string
function tune.export(path) binding.tune_export(path) end

---Takes what such a file holds over what is known. A file of another device or driver is an error,
---as is one that is not well-formed; records that do not fit this version are refused alone.
---@param path string
---@return integer taken
---@return integer refused
---@return string? why
function tune.import(path) return binding.tune_import(path) end

-- ---- mare tune ---------------------------------------------------------------------------------

local pending

-- Ends the run of the command and prints what it met, once.
local function finish()
    if not pending then return end
    local path = pending.export
    pending = nil
    local results = binding.tune_end()
    if not results then
        print("nothing to tune: the script did not use a device")
        return
    end
    io.stdout:write("\n", mare.device().name, "\n\n", tostring(report_of(results, peaks())), "\n")
    if path then
        tune.export(path)
        io.stdout:write("records: ", path, "\n")
    end
end

-- mare tune, before the script: a run that goes on to the script's end. words: its options.
function tune.begin(words)
    local options, rest = {}, words
    while rest ~= "" do
        local name, value, behind = rest:match("^%-%-(%a+)\n([^\n]*)\n(.*)$")
        if name == "force" then
            options.force, rest = true, rest:sub(#"--force\n" + 1)
        else
            options[name], rest = value, behind
        end
    end
    local budget = tonumber(options.budget)
    if options.budget and not (budget and budget >= 0) then
        mare.fail("tune: the budget is a number of seconds, not '%s'", options.budget)
    end
    pending = { export = options.export }
    binding.tune_begin(budget, options.force, nil, true)
    require("mare.cli").at_end(finish)
    return 0
end

function tune.finish()
    finish()
    return 0
end

return tune
