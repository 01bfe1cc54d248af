-- What specs of the binding compare with: values against numbers computed by hand, errors with the
-- script's line.

local mare = require "mare"

local function show(v)
    if type(v) ~= "table" then return tostring(v) end
    local parts = {}
    for i, e in ipairs(v) do parts[i] = show(e) end
    return "{" .. table.concat(parts, ", ") .. "}"
end

local function close(a, b, tolerance)
    if type(a) ~= type(b) then return false end
    if type(a) == "table" then
        if #a ~= #b then return false end
        for i = 1, #a do
            if not close(a[i], b[i], tolerance) then return false end
        end
        return true
    elseif type(a) == "number" then
        return a == b or math.abs(a - b) <= tolerance * math.max(1, math.abs(b))
            or (a ~= a and b ~= b)
    end
    return a == b
end

-- A tensor's (or table's) values are these, to f32's precision.
local function is(x, expected, tolerance)
    local got = mare.is_tensor(x) and x:totable() or x
    if not close(got, expected, tolerance or 1e-6) then
        error(("expected %s, got %s"):format(show(expected), show(got)), 2)
    end
end

local function equal(a, b)
    if a ~= b then error(("expected %s, got %s"):format(tostring(b), tostring(a)), 2) end
end

local function shaped(x, ...)
    equal(tostring(x.shape), "[" .. table.concat({ ... }, ", ") .. "]")
end

-- f fails with a message that holds every pattern, and tells a line of the file that calls this.
local function fails(f, ...)
    local file = debug.getinfo(2, "S").short_src
    local ok, message = pcall(f)
    if ok then error("it did not fail", 2) end
    if type(message) ~= "string" then error("the error is no string: " .. tostring(message), 2) end
    for _, pattern in ipairs { file:gsub("%p", "%%%0") .. ":%d+: ", ... } do
        if not message:match(pattern) then
            error(("no '%s' in the error: %s"):format(pattern, message), 2)
        end
    end
    return message
end

local function temporary(extension)
    local name = os.tmpname()
    os.remove(name)
    return name .. extension
end

local seq = function(...) -- 1, 2, 3, ... in a shape
    local n = 1
    for _, d in ipairs { ... } do n = n * d end
    return mare.arange(1, n + 1):float():reshape(...)
end

local function ints(t) return mare.tensor(t, { dtype = "i32" }) end

local function leaf(...) -- seq, which requires a gradient
    local x = seq(...)
    x.requires_grad = true
    return x
end

return {
    close = close, is = is, equal = equal, shaped = shaped, fails = fails, temporary = temporary,
    seq = seq, ints = ints, leaf = leaf,
}
