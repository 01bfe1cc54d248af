-- The commands of the binary besides running scripts. Each returns an exit code.

local mare = require "mare"

local cli = {}

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

--- mare ops
function cli.ops()
    for _, op in ipairs(mare.ops()) do
        print(("%-18s %s  %s"):format(op.name, op.inputs > 0 and op.inputs or " ", op.doc or ""))
    end
    return 0
end

return cli
