-- The commands of the binary besides running scripts. Each returns an exit code.

local mare = require "mare"

local cli = {}

--- Has finish() called when the script ends the process, or closes its context.
function cli.at_end(finish)
    local close, exit = mare.close, os.exit
    function mare.close()
        finish()
        close()
    end
    function os.exit(...) -- luacheck: ignore 122
        finish()
        exit(...)
    end
end

function cli.version()
    print("mare " .. mare.version .. " (" .. _VERSION .. ")")
    return 0
end

local function size(bytes)
    local units, i = { "B", "KiB", "MiB", "GiB", "TiB" }, 1
    while bytes >= 1024 and i < #units do
        bytes, i = bytes / 1024, i + 1
    end
    return (i == 1 and "%d %s" or "%.1f %s"):format(bytes, units[i])
end

local function quote(s)
    return '"' .. s:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

local fields = {
    "index", "name", "driver", "type", "api_version", "memory", "workgroup", "shared",
    "push_constants", "storage_buffers", "binding", "groups", "subgroup", "features",
}

local function json(device)
    local members = {}
    for _, field in ipairs(fields) do
        local v = device[field]
        if type(v) == "table" then
            local names = {}
            for i, name in ipairs(v) do names[i] = quote(name) end
            v = "[" .. table.concat(names, ", ") .. "]"
        elseif type(v) == "string" then
            v = quote(v)
        end
        members[#members + 1] = ("%s: %s"):format(quote(field), v)
    end
    return "  {" .. table.concat(members, ", ") .. "}"
end

--- mare devices [--json]
function cli.devices(option)
    local ok, devices = pcall(mare.devices)
    if not ok then
        io.stderr:write("mare: ", devices, "\n")
        return 1
    end
    for i, d in ipairs(devices) do d.index = i - 1 end
    if option == "--json" then
        local lines = {}
        for i, d in ipairs(devices) do lines[i] = json(d) end
        print("[\n" .. table.concat(lines, ",\n") .. "\n]")
        return 0
    end
    for _, d in ipairs(devices) do
        print(("%d  %s"):format(d.index, d.name))
        print(("   %s, Vulkan %s, %s, driver %s"):format(d.type, d.api_version, size(d.memory),
            d.driver))
        print(("   %d invocations a workgroup, %s shared, %d B push constants, "
            .. "%d buffers a stage, bindings of %s"):format(d.workgroup, size(d.shared),
            d.push_constants, d.storage_buffers, size(d.binding)))
        local features = table.concat(d.features, " ")
        print("   " .. (features ~= "" and features or "no optional features"))
    end
    return 0
end

-- ---- mare ops ----------------------------------------------------------------------------------

local derivatives = { [0] = "none", "first", "any" }

-- "floats", "integers", "any", "own": what the list of dtypes amounts to.
local function dtypes_of(op)
    local floats, integers = 0, 0
    for _, name in ipairs(op.dtypes) do
        if name:match("^b?f%d") then floats = floats + 1 else integers = integers + 1 end
    end
    if floats > 0 and integers > 0 then return "any" end
    return floats > 0 and "floats" or integers > 0 and "integers" or "own"
end

local function where(entry)
    return entry.file and ("%s:%d"):format(entry.file, entry.line) or ""
end

local function table_of_ops()
    print("Calls: what scripts write, and where it is said what they are made of.\n")
    for _, call in ipairs(mare.calls()) do
        print(("%-28s %s"):format(call.name, where(call)))
    end
    print("\nOperations: what the graph is made of. dtypes: of their tensors (own: what other "
        .. "operations\nmake for them); gradient: none, the first, or of any order; the shaders "
        .. "that may run.\n")
    local row = "%-22s %-8s %-8s %-34s %s"
    print(row:format("operation", "dtypes", "gradient", "where", "shaders"))
    for _, op in ipairs(mare.ops(true)) do
        print(row:format(op.name, dtypes_of(op), derivatives[op.derivatives], where(op),
            op.kernels or ""))
    end
end

-- The reference as Markdown, from the same tables.
local function reference()
    local help = require "mare.help"
    local function cell(text) return (text:gsub("|", "\\|"):gsub("%s+", " ")) end
    print("# Operations of Mare " .. mare.version .. "\n\n## Calls\n")
    print("| call | what it computes | where |\n|---|---|---|")
    for _, call in ipairs(mare.calls()) do
        local signature = cell(help.signature(call))
        print(("| `%s` | %s | %s |"):format(signature, cell(call.doc), where(call)))
    end
    print("\n## Operations\n")
    print("| operation | what it computes | dtypes | gradient | shaders | where |")
    print("|---|---|---|---|---|---|")
    for _, op in ipairs(mare.ops(true)) do
        print(("| `%s` | %s | %s | %s | %s | %s |"):format(op.name, cell(op.doc), dtypes_of(op),
            derivatives[op.derivatives], op.kernels or "", where(op)))
    end
end

--- mare ops [--markdown | NAME]: the table of all, the same as a reference with their
--- documentation, or what there is to know of one.
function cli.ops(option)
    if option == "--markdown" then
        reference()
    elseif option then
        local text = mare.help(option)
        if not text then
            io.stderr:write("mare: there is no operation '", option, "'\n")
            return 1
        end
        print(text)
        for _, list in ipairs { mare.calls(), mare.ops() } do
            for _, entry in ipairs(list) do
                if entry.name == option then print("    " .. where(entry)) end
            end
        end
    else
        table_of_ops()
    end
    return 0
end

return cli
