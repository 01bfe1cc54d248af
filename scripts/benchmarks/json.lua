--- JSON, as much of it as the bench writes: objects with keys in order, lists, strings, finite
--- numbers, booleans.

local json = {}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quoted(s)
    return '"' .. s:gsub('[%c"\\]', function(c)
        return ESCAPES[c] or ("\\u%04x"):format(c:byte())
    end) .. '"'
end

---@param value any a table with [1], or an empty one, is a list
---@param indent? string what stands before each entry of the outermost table
---@return string
function json.encode(value, indent)
    if type(value) == "string" then return quoted(value) end
    if type(value) == "number" then
        if value ~= value or value == math.huge or value == -math.huge then return "null" end
        return ("%.9g"):format(value)
    end
    if type(value) ~= "table" then return tostring(value) end
    local parts, list = {}, value[1] ~= nil or next(value) == nil
    if list then
        for i, v in ipairs(value) do parts[i] = json.encode(v) end
    else
        local keys = {}
        for k in pairs(value) do keys[#keys + 1] = k end
        table.sort(keys)
        for i, k in ipairs(keys) do
            parts[i] = quoted(k) .. ": " .. json.encode(value[k], k == "rows" and "\n " or nil)
        end
    end
    local open, close = list and "[" or "{", list and "]" or "}"
    return open .. (indent or "") .. table.concat(parts, "," .. (indent or " ")) .. close
end

local UNESCAPED = { n = "\n", r = "\r", t = "\t", b = "\b", f = "\f" }

local decode_value

-- The text of the string literal that starts at `at`, and the place behind it.
local function decode_string(text, at)
    local parts, i = {}, at + 1
    while true do
        local plain, mark, next_i = text:match('^([^"\\]*)(["\\])()', i)
        if not plain then error("json: a string without an end", 0) end
        parts[#parts + 1] = plain
        if mark == '"' then return table.concat(parts), next_i end
        local hex = text:match("^u(%x%x%x%x)", next_i)
        local c = text:sub(next_i, next_i)
        parts[#parts + 1] = hex and utf8.char(tonumber(hex, 16)) or UNESCAPED[c] or c
        i = next_i + (hex and 5 or 1)
    end
end

-- The entries of a list or an object, up to `close`.
local function decode_entries(text, at, close, entry)
    local i = text:match("^%s*()", at + 1)
    if text:sub(i, i) == close then return i + 1 end
    while true do
        i = text:match("^%s*()", entry(text:match("^%s*()", i)))
        local c = text:sub(i, i)
        i = i + 1
        if c == close then return i end
        if c ~= "," then error(("json: '%s' or a comma at %d"):format(close, i - 1), 0) end
    end
end

local WORDS = { ["true"] = true, ["false"] = false }

function decode_value(text, at)
    local c, result = text:sub(at, at), {}
    if c == '"' then return decode_string(text, at) end
    if c == "[" then
        return result, decode_entries(text, at, "]", function(i)
            result[#result + 1], i = decode_value(text, i)
            return i
        end)
    end
    if c == "{" then
        return result, decode_entries(text, at, "}", function(i)
            if text:sub(i, i) ~= '"' then error("json: a key at " .. i, 0) end
            local key, colon = decode_string(text, i)
            colon = text:match("^%s*:%s*()", colon)
            if not colon then error("json: a colon behind " .. key, 0) end
            result[key], i = decode_value(text, colon)
            return i
        end)
    end
    local word, behind = text:match("^([%w.+-]+)()", at)
    local number = word and tonumber(word)
    if number then return number, behind end
    if word == "null" then return nil, behind end
    if WORDS[word] == nil then error("json: no value at " .. at, 0) end
    return WORDS[word], behind
end

---@param text string
---@return any value null is nil
function json.decode(text)
    local value, behind = decode_value(text, text:match("^%s*()"))
    if text:find("%S", behind) then error("json: text behind the end, at " .. behind, 0) end
    return value
end

return json
