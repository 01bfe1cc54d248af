-- Kernels of a script's own: GLSL becomes an operation, with a gradient and a reference to check it
-- by.

local core = require "mare.core"
local mare, binding = core.api, core.kernel

-- ---- Definitions -------------------------------------------------------------------------------

local fields = {
    name = "string", glsl = "string", inputs = "table", outputs = "table", numbers = "table",
    shape = "function", threads = "function", vjp = "function or string", reference = "function",
    tolerance = "number", workgroup = "number",
}

local function check_options(options)
    if type(options) ~= "table" then
        mare.fail("kernel: expected a table of options, not %s", type(options))
    end
    for name, value in pairs(options) do
        local kinds = fields[name]
        if not kinds then
            mare.fail("kernel: unknown option '%s'", tostring(name))
        elseif not kinds:find(type(value), 1, true) then
            mare.fail("kernel: %s must be a %s, not %s", name, kinds, type(value))
        end
    end
    for _, name in ipairs { "glsl", "outputs" } do
        if not options[name] then mare.fail("kernel: %s is not given", name) end
    end
    local size = options.workgroup
    if size and (math.type(size) ~= "integer" or size < 1 or size > 65535) then
        mare.fail("kernel: workgroup must be a number of invocations, not %s", tostring(size))
    end
end

-- "x" or { "x", "i32" } as names and dtypes.
local function slots(what, list)
    local names, dtypes = {}, {}
    for i, slot in ipairs(list or {}) do
        local pair = type(slot) == "table" and slot or { slot }
        if type(pair[1]) ~= "string" then
            mare.fail("kernel: entry %d of %s is no name", i, what)
        end
        names[i], dtypes[i] = pair[1], pair[2] or "f32"
    end
    return names, dtypes
end

-- The compiler's message, with the lines that it speaks of behind it.
local function with_lines(message, name, glsl)
    local lines, n = {}, 0
    for line in (glsl .. "\n"):gmatch("(.-)\n") do
        n = n + 1
        lines[n] = line
    end
    return (message:gsub("[^\n]+", function(row)
        local at = tonumber(row:match(name .. ":(%d+):"))
        return at and lines[at] and ("%s\n  %4d | %s"):format(row, at, lines[at]) or row
    end))
end

-- What is launched: the compiled kernel, and what it was made of.
local function define(options)
    local inputs, input_dtypes = slots("inputs", options.inputs)
    local outputs, output_dtypes = slots("outputs", options.outputs)
    local definition = {
        name = options.name or "kernel", glsl = options.glsl, inputs = inputs, outputs = outputs,
        numbers = options.numbers or {}, input_dtypes = input_dtypes,
        output_dtypes = output_dtypes, workgroup = options.workgroup or 0,
    }
    local ok, handle = pcall(binding.kernel, definition)
    if not ok then error(with_lines(tostring(handle), definition.name, definition.glsl), 0) end
    definition.handle = handle
    return definition
end

-- ---- Calls -------------------------------------------------------------------------------------

-- Numbers come as a table of options at the end, by name; each is needed.
local function take_numbers(definition, options)
    local values = {}
    for name in pairs(options) do
        local known = false
        for _, n in ipairs(definition.numbers) do known = known or n == name end
        if not known then
            mare.fail("%s: there is no number '%s'", definition.name, tostring(name))
        end
    end
    for i, name in ipairs(definition.numbers) do
        local v = options[name]
        if type(v) ~= "number" then
            mare.fail("%s: %s must be a number, not %s", definition.name, name, type(v))
        end
        values[i] = v
    end
    return values
end

-- The arguments of a call: tensors, as many as `n`, and the table of numbers.
local function arguments(self, ...)
    local args, inputs = table.pack(...), self.definition.inputs
    local last = args[args.n]
    local options = type(last) == "table" and args.n > #inputs and last or nil
    local n = options and args.n - 1 or args.n
    if n ~= #inputs then
        mare.fail("%s: takes %d tensors (%s), got %d", self.name, #inputs,
            table.concat(inputs, ", "), n)
    end
    for i = 1, n do
        if not mare.is_tensor(args[i]) then
            mare.fail("%s: %s must be a tensor, not %s", self.name, inputs[i], type(args[i]))
        end
    end
    args[n + 1], args.n = nil, n
    return args, options or {}
end

-- inputs..., numbers: what the functions of a kernel are called with.
local function spread(args, options)
    local list = table.move(args, 1, args.n, 1, {})
    list[args.n + 1] = options
    return table.unpack(list, 1, args.n + 1)
end

-- A shape as a list of numbers.
local function dims_of(shape)
    local dims = {}
    for d = 1, #shape do dims[d] = shape[d] end
    return dims
end

local function shapes_of(self, args, options)
    local outputs, shapes = self.definition.outputs, {}
    if not self.shape then
        if #args == 0 then mare.fail("%s: shape is not given", self.name) end
        for i = 1, #outputs do shapes[i] = dims_of(args[1].shape) end
        return shapes
    end
    local given = table.pack(self.shape(spread(args, options)))
    for i, name in ipairs(outputs) do
        if given[i] == nil then mare.fail("%s: shape gives none for %s", self.name, name) end
        shapes[i] = dims_of(given[i])
    end
    return shapes
end

local function threads_of(self, args, options)
    if not self.threads then return 0 end
    local threads = self.threads(spread(args, options))
    if math.type(threads) ~= "integer" or threads < 1 then
        mare.fail("%s: threads gives %s, not a number of invocations", self.name,
            tostring(threads))
    end
    return threads
end

-- The outputs, without a gradient.
local function launch(definition, args, options, shapes, threads)
    if not binding.alive(definition.handle) then definition.handle = binding.kernel(definition) end
    local numbers = take_numbers(definition, options)
    return table.pack(binding.run(definition.handle, args, numbers, shapes, threads))
end

-- The same in the dtype of the first float input, where they are floats.
local function run(self, args, options)
    local outs = launch(self.definition, args, options, shapes_of(self, args, options),
        threads_of(self, args, options))
    if self.definition.output_dtypes[1] ~= "f32" then return outs end
    for _, x in ipairs(args) do
        if x:is_floating_point() then
            for i, y in ipairs(outs) do outs[i] = y:to(x.dtype) end
            break
        end
    end
    return outs
end

-- ---- Gradients ---------------------------------------------------------------------------------

-- What forward() gives; where a gradient is wanted, backward(gy...) makes those of args.
local function with_gradient(name, args, forward, backward)
    local f = mare.custom_function {
        name = name,
        forward = function() return table.unpack(forward()) end,
        backward = function(_, ...) return backward(...) end,
    }
    return table.pack(f(table.unpack(args, 1, args.n)))
end

local function no_vjp(name)
    return function()
        mare.fail("%s: has no vjp, so a gradient cannot go through it; detach its arguments, or "
            .. "call it within no_grad", name)
    end
end

local call

-- A vjp's ctx. Results that knew a gradient would keep themselves alive, so those that are kept
-- know none: where gradients of the gradients are recorded, they are made again.
local function context(self, args, options, outs)
    return setmetatable({ inputs = args, numbers = options }, {
        __index = function(ctx, key)
            if key ~= "outputs" then return nil end
            ctx.outputs = mare.is_grad_enabled() and call(self, args, options) or outs
            return ctx.outputs
        end,
    })
end

function call(self, args, options)
    if self.definition.output_dtypes[1] ~= "f32" then return run(self, args, options) end
    local outs
    return with_gradient(self.name, args, function()
        outs = run(self, args, options)
        return outs
    end, self.vjp and function(...)
        return self.vjp(context(self, args, options, outs), ...)
    end or no_vjp(self.name))
end

-- A vjp as a function, of one that is GLSL: a kernel of the inputs and outputs that it names, and
-- of the gradients of the outputs. It has no gradient of its own.
local function vjp_of(definition, glsl)
    local inputs, outputs, from, to = {}, {}, {}, {}
    for _, list in ipairs { "inputs", "outputs" } do
        local dtypes = list == "inputs" and definition.input_dtypes or definition.output_dtypes
        for i, name in ipairs(definition[list]) do
            if glsl:find("%f[%w_]" .. name) then -- x, or x_size and the like
                inputs[#inputs + 1], from[#from + 1] = { name, dtypes[i] }, { list, i }
            end
        end
    end
    for _, name in ipairs(definition.outputs) do inputs[#inputs + 1] = "grad_" .. name end
    for i, name in ipairs(definition.inputs) do
        if definition.input_dtypes[i] == "f32" then
            outputs[#outputs + 1], to[#to + 1] = "grad_" .. name, i
        end
    end
    local vjp = define {
        name = definition.name .. "_vjp", glsl = glsl, inputs = inputs, outputs = outputs,
        numbers = definition.numbers, workgroup = definition.workgroup,
    }
    return function(ctx, ...)
        local args, shapes, threads, grads = { n = #inputs }, {}, 1, {}
        for k, source in ipairs(from) do args[k] = ctx[source[1]][source[2]] end
        table.move({ ... }, 1, #definition.outputs, #from + 1, args)
        for k, i in ipairs(to) do
            shapes[k] = dims_of(ctx.inputs[i].shape)
            threads = math.max(threads, ctx.inputs[i]:numel())
        end
        local made = with_gradient(vjp.name, args, function()
            return launch(vjp, args, ctx.numbers, shapes, threads)
        end, no_vjp(vjp.name))
        for k, i in ipairs(to) do grads[i] = made[k]:to(ctx.inputs[i].dtype) end
        return table.unpack(grads, 1, #definition.inputs)
    end
end

-- ---- Checks ------------------------------------------------------------------------------------

-- What is left to rounding, relative to the largest element: some roundings of the dtype that the
-- results have.
local function tolerance_of(self, y)
    if self.tolerance then return self.tolerance end
    return y.dtype == "bf16" and 2e-2 or y.dtype == "f16" and 2e-3 or 1e-5
end

-- Raises an error where a kernel's results are not its reference's.
local function compare(self, outs, args, options)
    local expected = table.pack(mare.no_grad(self.reference, spread(args, options)))
    for i, y in ipairs(outs) do
        local name, e = self.definition.outputs[i], expected[i]
        if not mare.is_tensor(e) or tostring(e.shape) ~= tostring(y.shape) then
            mare.fail("%s: %s has shape %s, by the reference %s", self.name, name, y.shape,
                mare.is_tensor(e) and tostring(e.shape) or type(e))
        end
        local got, want = y:float():reshape(-1):totable(), e:float():reshape(-1):totable()
        local largest = 1
        for _, v in ipairs(want) do
            if v == v and math.abs(v) < math.huge then largest = math.max(largest, math.abs(v)) end
        end
        for k, v in ipairs(want) do
            local same = got[k] == v or (v ~= v and got[k] ~= got[k])
            local near = math.abs(got[k] - v) <= tolerance_of(self, y) * largest
            if not same and not near then
                mare.fail("%s: element %d of %s is %.9g, by the reference %.9g", self.name, k,
                    name, got[k], v)
            end
        end
    end
end

local function checking()
    local v = os.getenv("MARE_CHECK")
    return v and v ~= "" and v ~= "0"
end

-- ---- What a script holds -----------------------------------------------------------------------

local methods = {}

--- kernel:check(...): calls the kernel, compares what it gives with its reference, and its
--- gradients with central differences (mare.gradcheck); raises an error where they differ.
function methods:check(...)
    local args, options = arguments(self, ...)
    if self.reference then compare(self, run(self, args, options), args, options) end
    if self.vjp then
        mare.gradcheck(function(...)
            local list = table.pack(...)
            list[#list + 1] = options
            return self(table.unpack(list))
        end, args)
    end
    return true
end

local meta = { __index = methods }

function meta:__call(...)
    local args, options = arguments(self, ...)
    local outs = call(self, args, options)
    if self.reference and checking() then compare(self, outs, args, options) end
    return table.unpack(outs)
end

function meta:__tostring()
    return ("kernel %s(%s)"):format(self.name, table.concat(self.definition.inputs, ", "))
end

--- mare.kernel{ name =, inputs =, outputs =, numbers =, glsl =, shape =, threads =, workgroup =,
--- vjp =, reference =, tolerance = }: an operation from GLSL, compiled at once and cached like the
--- library's own. Call it with the input tensors and, if it has numbers, a table of them by name.
---   inputs, outputs  lists of names ("x"), or of a name and a dtype ({ "index", "i32" })
---   glsl     the body of main, run for each `uint i` below `count` (or functions with a
---            "void main() {" among them). x[k] is element k of x in row-major order; x_size,
---            x_rank and x_dim(d), d from 0, tell its shape; numbers are floats of their name.
---            Every element of every output must be written, by one invocation.
---   shape    function(inputs..., numbers) that returns the shape of each output; by default that
---            of the first input
---   threads  function(inputs..., numbers) that returns the number of invocations; by default the
---            number of elements of the first output
---   workgroup  invocations of a workgroup; by default what suits the device
---   vjp      function(ctx, gy...) that returns the gradient of each input, given those of the
---            outputs; ctx has inputs, outputs and numbers. Or GLSL as above, that reads grad_y of
---            each output y and writes grad_x of each float input x; count is the size of the
---            largest of those. GLSL is not differentiated again.
---   reference  function(inputs..., numbers) that computes the same with other operations;
---            compared with at each call under MARE_CHECK=1, and by kernel:check(...)
---   tolerance  how far apart the two may be, relative to the largest element; by default 1e-5,
---            2e-3 of f16, 2e-2 of bf16
return function(options)
    check_options(options)
    local definition, vjp = define(options), options.vjp
    if type(vjp) == "string" then vjp = vjp_of(definition, vjp) end
    return setmetatable({
        name = definition.name, definition = definition, shape = options.shape,
        threads = options.threads, vjp = vjp, reference = options.reference,
        tolerance = options.tolerance,
    }, meta)
end
