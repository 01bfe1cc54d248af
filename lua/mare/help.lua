-- help(): what mare.doc says.

local mare = require "mare"

local help = {}

-- name -> { signature, text } of everything: mare.doc, the elementwise operations (documented where
-- they are defined), and what the other modules say of themselves in a field `doc`.
local function entries()
    local all = {}
    for name, entry in pairs(require "mare.doc") do all[name] = entry end
    for _, op in ipairs(mare.ops()) do
        if op.inputs > 0 and not all[op.name] then
            local args = table.concat({ "a", "b", "c" }, ", ", 1, op.inputs)
            all[op.name] = { ("mare.%s(%s)"):format(op.name, args), op.doc }
        end
    end
    return all
end

--- The entry of a name such as "sum", "mare.sum", "x:sum", "nn.Linear"; or nil.
function help.entry(name)
    name = name:gsub("^mare[.:]", ""):gsub("^x:", "")
    return entries()[name]
end

-- The name under which a value is found in mare or in a module of it that is loaded.
local function name_of(value)
    for name, v in pairs(mare) do
        if v == value then return name end
    end
    for module, t in pairs(package.loaded) do
        local short = module:match("^mare%.([%w_.]+)$")
        if short and type(t) == "table" then
            if t == value then return short end
            for name, v in pairs(t) do
                if v == value and type(name) == "string" then return short .. "." .. name end
            end
        end
    end
end

local function overview(all)
    local names = {}
    for name in pairs(all) do names[#names + 1] = name end
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

--- Text about a name or a function; without one, a list of all names; nil when nothing is known.
function help.text(what)
    if what == nil then return overview(entries()) end
    local name = type(what) == "string" and what or name_of(what)
    local entry = name and help.entry(name)
    return entry and entry[1] .. "\n    " .. entry[2] or nil
end

--- Prints the text.
function help.show(what)
    print(help.text(what) or ("nothing is known about %s; help() lists what there is")
        :format(tostring(what)))
end

--- All names with their entries.
help.entries = entries

return help
