-- The cases of tests/known/*.lua: their tensors, and comparison with what they know.

local mare = require "mare"
local F = require "mare.nn.functional"

local known = {}

local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"

-- The generator of tests/known/known.py.
function known.draw(seed, n)
    local out, state = {}, seed & 0x7FFFFFFF
    for i = 1, n do
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out[i] = (state >> 7) / 16777216
    end
    return out
end

local function count(shape)
    local n = 1
    for _, d in ipairs(shape) do n = n * d end
    return n
end

local function make(input)
    local n = count(input.input)
    local values, whole = input.values, not input.dtype:find("f", 1, true)
    if not values then
        values = known.draw(input.seed, n)
        for i, u in ipairs(values) do
            local span = input.hi - input.lo
            values[i] = whole and math.floor(input.lo + u * (span + 1)) or input.lo + span * u
        end
    end
    if n == 0 then return mare.zeros(input.input, { dtype = input.dtype }) end
    local t = mare.tensor(values, { dtype = whole and "i32" or "f32" }):to(input.dtype)
    return t:reshape(input.input):eval()
end

local function is_input(v)
    return type(v) == "table" and v.input ~= nil
end

-- The arguments with tensors in place of descriptions; those that have gradients are listed.
function known.arguments(case)
    local args, leaves = {}, {}
    local function one(v)
        if not is_input(v) then return v end
        local t = make(v)
        if t:is_floating_point() and v.grad ~= false then
            t.requires_grad = case.grads ~= nil
            leaves[#leaves + 1] = t
        end
        return t
    end
    for i = 1, case.n do
        local v = case.args[i]
        if type(v) == "table" and is_input(v[1]) then
            args[i] = {}
            for k, x in ipairs(v) do args[i][k] = one(x) end
        elseif type(v) == "table" and not is_input(v) and #v == 0 then
            local names = {}
            args[i] = {}
            for name in pairs(v) do names[#names + 1] = name end
            table.sort(names)
            for _, name in ipairs(names) do args[i][name] = one(v[name]) end
        else
            args[i] = one(v)
        end
    end
    if case.options then args[case.n + 1] = case.options end
    return args, leaves
end

-- The function that a case is of.
function known.call(case)
    return mare[case.call] or F[case.call]
end

-- Within a tolerance relative to the largest value (1 at least: zeros come from cancelling terms).
function known.compare(what, t, expected, shape, tolerance)
    if shape and tostring(t.shape) ~= "[" .. table.concat(shape, ", ") .. "]" then
        error(("%s: shape %s, expected [%s]"):format(what, t.shape, table.concat(shape, ", ")))
    end
    local got, largest = t:float():reshape(-1):totable(), 1
    for _, v in ipairs(expected) do
        if v == v and math.abs(v) < math.huge then largest = math.max(largest, math.abs(v)) end
    end
    if #got ~= #expected then
        error(("%s: %d elements, expected %d"):format(what, #got, #expected))
    end
    for i, v in ipairs(expected) do
        local same = got[i] == v or (v ~= v and got[i] ~= got[i])
        local close = math.abs(got[i] - v) <= tolerance * largest
        if not same and not close then
            error(("%s: element %d is %.9g, expected %.9g"):format(what, i, got[i], v))
        end
    end
end

-- f(family, cases) for each file.
function known.each(f)
    local list = assert(io.popen("ls '" .. folder .. "../known'"))
    for name in list:lines() do
        local family = name:match("^(.*)%.lua$")
        if family then
            f(family, assert(loadfile(folder .. "../known/" .. name, "t", { math = math }))())
        end
    end
    list:close()
end

return known
