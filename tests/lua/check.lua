-- What specs compare with. Each raises an error that tells both sides.

local mare = require "mare"

local check = {}

local function values(v)
    if mare.is_tensor(v) then return v:totable() end
    return v
end

local function show(v)
    if mare.is_tensor(v) then return tostring(v) end
    if type(v) ~= "table" then
        return type(v) == "string" and ("%q"):format(v) or tostring(v)
    end
    local parts = {}
    for i, e in ipairs(v) do parts[i] = show(e) end
    for k, e in pairs(v) do
        if math.type(k) ~= "integer" or k < 1 or k > #v then
            parts[#parts + 1] = tostring(k) .. "=" .. show(e)
        end
    end
    return "{" .. table.concat(parts, ", ") .. "}"
end

-- Do a and b hold the same? close(x, y) decides about numbers.
local function same(a, b, close)
    if type(a) == "number" and type(b) == "number" then return close(a, b) end
    if type(a) ~= "table" or type(b) ~= "table" then return a == b end
    for k, v in pairs(a) do
        if not same(v, b[k], close) then return false end
    end
    for k in pairs(b) do
        if a[k] == nil then return false end
    end
    return true
end

-- Equal, tables and tensors by their contents.
function check.equal(got, expected, what)
    local function equal(x, y) return x == y or (x ~= x and y ~= y) end
    if not same(values(got), values(expected), equal) then
        error(("%sgot %s, expected %s"):format(what and what .. ": " or "", show(got),
            show(expected)), 2)
    end
end

-- Within tolerance: |got - expected| <= tolerance * max(1, |expected|). NaN is near nothing.
function check.near(got, expected, tolerance, what)
    local worst = 0
    local function close(x, y)
        local off = math.abs(x - y) / math.max(1, math.abs(y))
        if off ~= off or off > worst then worst = off end
        return off <= tolerance
    end
    if not same(values(got), values(expected), close) then
        error(("%sgot %s, expected %s (off by %g, allowed %g)"):format(what and what .. ": " or "",
            show(got), show(expected), worst, tolerance), 2)
    end
end

function check.truthy(v, what)
    if not v then error((what or "value") .. " is " .. tostring(v), 2) end
end

-- f(...) must fail with a message that matches a Lua pattern. Returns the message.
function check.fails(pattern, f, ...)
    local ok, message = pcall(f, ...)
    if ok then error(("no error; expected one like %q"):format(pattern), 2) end
    message = tostring(message)
    if not message:find(pattern) then
        error(("the error is %q, expected one like %q"):format(message, pattern), 2)
    end
    return message
end

-- An empty folder for the time of f(folder).
function check.in_folder(f)
    local folder = os.tmpname()
    os.remove(folder)
    mare.fs.mkdir(folder)
    local ok, message = xpcall(f, debug.traceback, folder)
    os.execute("rm -rf '" .. folder .. "'")
    if not ok then error(message, 0) end
end

return check
