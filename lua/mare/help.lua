-- help(): what mare.doc says of the tensor functions, and what the comments in the library's own
-- text say of everything else.

local core = require "mare.core"
local mare = require "mare"

local help = {}

--- How a call of mare.calls() is written: "mare.softmax(x, { dim=-1 })".
function help.signature(call)
    local needed, options = {}, {}
    for _, arg in ipairs(call.args) do
        local tensor = arg.kind == "tensor" or arg.kind == "value"
        if not arg.optional or (tensor and #options == 0) then
            needed[#needed + 1] = arg.name
        elseif arg.kind ~= "choice" and arg.words then
            options[#options + 1] = ("%s=%s|\"%s\""):format(arg.name, arg.default or arg.kind,
                arg.words:gsub(" ", "\"|\""))
        elseif arg.words then
            options[#options + 1] = ("%s=\"%s\""):format(arg.name, arg.words:gsub(" ", "|"))
        else
            local default = arg.default == nil and "" or tostring(arg.default)
            options[#options + 1] = arg.name .. "=" .. default
        end
    end
    if #options > 0 then
        needed[#needed + 1] = "{ " .. table.concat(options, ", ") .. " }"
    end
    return ("mare.%s(%s)"):format(call.name, table.concat(needed, ", "))
end

--- name -> { signature, text } of mare.doc and of the elementwise operations, which are documented
--- where they are defined.
function help.entries()
    local all = {}
    for name, entry in pairs(require "mare.doc") do all[name] = entry end
    for _, call in ipairs(mare.calls()) do
        all[call.name] = { help.signature(call), call.doc }
    end
    for _, op in ipairs(mare.ops()) do
        if op.inputs > 0 and not all[op.name] then
            local args = table.concat({ "a", "b", "c" }, ", ", 1, op.inputs)
            all[op.name] = { ("mare.%s(%s)"):format(op.name, args), op.doc }
        end
    end
    return all
end

-- ---- The library's comments --------------------------------------------------------------------

local function lines_of(file)
    local text, lines = core.private.source(file), {}
    for line in (text or ""):gmatch("([^\n]*)\n?") do lines[#lines + 1] = line end
    return lines
end

-- Where a function or a class is defined: lines of the file, number of the line.
local function definition(name, value)
    local f = value
    if type(value) == "table" then f = value.init or value.new end
    if type(f) ~= "function" then return nil end
    local info = debug.getinfo(f, "S")
    local file = info.source:match("^=(mare/.*)$")
    if not file then return nil end
    local lines, at = lines_of(file), info.linedefined
    if type(value) == "table" then -- above the constructor stands the class
        local last = name:match("[^.]+$")
        local assigned = "%f[%w_]" .. last .. "%s*="
        while at > 0 and not lines[at]:match(assigned) do at = at - 1 end
        if at == 0 then -- a class made by a function above
            at = info.linedefined
            while lines[at] and not lines[at]:match(assigned) do at = at + 1 end
            if not lines[at] then return nil end
        end
    end
    return lines, at
end

-- A comment line of the annotations as text; a second result when it is a signature.
local function plain(name, line)
    local overload = line:match("^@overload fun(.*)$")
    if overload then return nil, name .. overload end
    local tag, rest = line:match("^@(%a+)%s*(.*)$")
    if tag == "param" or tag == "field" then
        local field, about = rest:match("^(%S+)%s*(.*)$")
        return ("%s%s  %s"):format(tag == "field" and "." or "", field, about)
    elseif tag == "return" then
        return "returns " .. rest
    elseif tag then
        return nil
    end
    return line
end

-- The fields of a class of options that is described in the same file.
local function add_fields(texts, lines, class)
    local at = 1
    while lines[at] and lines[at] ~= "---@class " .. class do at = at + 1 end
    while lines[at + 1] and lines[at + 1]:match("^%-%-%-@field ") do
        at = at + 1
        texts[#texts + 1] = "        " .. plain("", (lines[at]:gsub("^%-%-%-", ""))):sub(2)
    end
end

-- The comment above a definition.
local function from_comment(name, value)
    local lines, at = definition(name, value)
    if not lines or at < 1 then return nil end
    local first = at
    while first > 1 and lines[first - 1]:match("^%s*%-%-%-") do first = first - 1 end
    local signature = lines[at]:match("function%s+[%w_.:]+(%b())")
    signature = name .. (signature or "")
    local texts = {}
    for i = first, at - 1 do
        local text, overload = plain(name, (lines[i]:gsub("^%s*%-%-%-%s?", "")))
        signature = overload or signature
        if text then texts[#texts + 1] = "    " .. text end
        local class = lines[i]:match("options%??:? *([%w_.]+)")
        if class then add_fields(texts, lines, class) end
    end
    return signature .. (#texts > 0 and "\n" or "") .. table.concat(texts, "\n")
end

-- ---- Answers -----------------------------------------------------------------------------------

-- The name under which a value is found in mare or in a loaded module of it.
local function name_of(value)
    for name, v in pairs(mare) do
        if v == value then return name end
    end
    for module, t in pairs(package.loaded) do
        local short = module:match("^mare%.(%w+)$")
        if short and type(t) == "table" and short ~= "core" then
            if t == value then return short end
            for name, v in pairs(t) do
                if v == value and type(name) == "string" then return short .. "." .. name end
            end
        end
    end
    for name, v in pairs(core.methods) do
        if v == value then return name end
    end
end

-- mare.nn.Linear from "nn.Linear".
local function value_of(name)
    local value = mare
    for part in name:gmatch("[^.:]+") do
        if type(value) ~= "table" then return nil end
        value = value[part]
    end
    return value
end

local function overview()
    local names = {}
    local entries = help.entries()
    for name in pairs(entries) do names[#names + 1] = name end
    for name, v in pairs(mare) do
        if type(v) == "function" and not entries[name] then names[#names + 1] = name end
    end
    for _, module in ipairs { "data", "metrics", "nn", "optim", "profiler", "train", "tune" } do
        local t = value_of(module)
        if type(t) == "table" then
            for name, v in pairs(t) do
                if type(name) == "string" and (type(v) == "function" or type(v) == "table") then
                    names[#names + 1] = module .. "." .. name
                end
            end
        end
    end
    table.sort(names)
    local lines, line = {}, ""
    for _, name in ipairs(names) do
        if #line + #name > 76 then
            lines[#lines + 1], line = line, ""
        end
        line = line .. (line == "" and "" or "  ") .. name
    end
    lines[#lines + 1] = line
    return "help \"name\" tells more about one of these:\n\n" .. table.concat(lines, "\n")
end

--- Text about a name ("sum", "x:sum", "nn.Linear") or about a function or class; without one, a
--- list of all names; nil when nothing is known.
function help.text(what)
    if what == nil then return overview() end
    local name
    if type(what) == "string" then
        name = what:gsub("^mare[.:]", ""):gsub("^x[.:]", "")
    elseif type(what) == "table" or type(what) == "function" then
        name = name_of(what)
    end
    if not name then return nil end
    local entry = help.entries()[name]
    if entry then return entry[1] .. "\n    " .. entry[2] end
    return from_comment(name, type(what) == "string" and value_of(name) or what)
end

--- Prints the text.
function help.show(...)
    local what = ...
    if select("#", ...) > 0 and what == nil then what = "nil" end
    print(help.text(what) or ("nothing is known about %s; help() lists what there is")
        :format(tostring(what)))
end

return help
