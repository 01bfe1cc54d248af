--- Checkpoints: one safetensors file with the model's and the optimizer's tensors, and in its
--- metadata all numbers of the run. One file is replaced whole or not at all.
---
--- Tensors are named "model.<name>" and "optimizer.<position>.<slot>". Metadata are scalars under
--- dotted keys ("run.epoch"), "#3" being position 3 of a list.

local mare = require "mare"
local private = require("mare.core").private

local FORMAT = "mare.checkpoint.1"

local checkpoint = {}

local function encode_key(key)
    if math.type(key) == "integer" then return "#" .. key end
    return (key:gsub("[%%.#]", function(c) return ("%%%02x"):format(c:byte()) end))
end

local function decode_key(text)
    if text:sub(1, 1) == "#" then return math.tointeger(tonumber(text:sub(2))) end
    return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- Seventeen digits tell every double apart.
local function encode_value(value)
    if type(value) == "string" then return '"' .. value .. '"' end
    if math.type(value) ~= "float" then return tostring(value) end
    local text = ("%.17g"):format(value)
    return text:find("[.enif]") and text or text .. ".0"
end

local function decode_value(text)
    local kind = text:sub(1, 1)
    if kind == '"' then return text:sub(2, -2) end
    if text == "true" or text == "false" then return text == "true" end
    if text == "inf" then return math.huge end
    if text == "-inf" then return -math.huge end
    if text:find("nan", 1, true) then return 0 / 0 end
    return tonumber(text)
end

local function flatten(prefix, value, into)
    if type(value) ~= "table" then
        into[prefix] = encode_value(value)
        return into
    end
    for key, entry in pairs(value) do
        flatten(prefix .. "." .. encode_key(key), entry, into)
    end
    return into
end

--- Metadata as nested tables; nil and the key that makes no sense.
local function unflatten(metadata)
    local root = {}
    for path, text in pairs(metadata) do
        local at, last = root, nil
        for part in path:gmatch("[^.]+") do
            local key = decode_key(part)
            if key == nil then return nil, path end
            if last ~= nil then
                at[last] = at[last] == nil and {} or at[last]
                at = at[last]
                if type(at) ~= "table" then return nil, path end
            end
            last = key
        end
        local value = decode_value(text)
        if last == nil or value == nil then return nil, path end
        at[last] = value
    end
    return root
end

---Writes a checkpoint; the folder is made.
---@param path string
---@param model mare.nn.Module
---@param optimizer mare.optim.Optimizer
---@param run table numbers, strings and booleans, nested
function checkpoint.save(path, model, optimizer, run)
    local tensors, state = {}, optimizer:state_dict()
    for name, tensor in pairs(model:state_dict()) do tensors["model." .. name] = tensor end
    for position, slots in pairs(state.state) do
        local numbers = {}
        for slot, value in pairs(slots) do
            if mare.is_tensor(value) then
                tensors[("optimizer.%d.%s"):format(position, slot)] = value
            else
                numbers[slot] = value
            end
        end
        state.state[position] = numbers
    end
    local metadata = flatten("run", run, {})
    flatten("optimizer", state, metadata)
    metadata.format = encode_value(FORMAT)
    local folder = path:match("^(.*)/[^/]*$")
    if folder and folder ~= "" then mare.fs.mkdir(folder) end
    mare.save(path, tensors, metadata)
end

---Reads a checkpoint into a model and an optimizer.
---@param path string
---@param model mare.nn.Module
---@param optimizer mare.optim.Optimizer
---@param check? fun(run: table) raises an error when the run does not fit; before anything changes
---@return table run
function checkpoint.load(path, model, optimizer, check)
    local tensors, metadata = mare.load(path)
    local all, bad = unflatten(metadata or {})
    if not all then mare.fail("%s: the metadata '%s' makes no sense", path, bad) end
    if all.format ~= FORMAT or type(all.run) ~= "table" or type(all.optimizer) ~= "table" then
        mare.fail("%s is no checkpoint of a training run", path)
    end
    if check then check(all.run) end
    local weights, state = {}, all.optimizer
    state.state = state.state or {}
    for name, tensor in pairs(tensors) do
        local position, slot = name:match("^optimizer%.(%d+)%.([%w_]+)$")
        if position then
            position = math.tointeger(tonumber(position))
            state.state[position] = state.state[position] or {}
            state.state[position][slot] = tensor
        else
            weights[name:gsub("^model%.", "")] = tensor
        end
    end
    local ok, message = pcall(function()
        model:load_state_dict(weights)
        optimizer:load_state_dict(state)
    end)
    if not ok then
        local where = private.where() -- in the message already
        if message:sub(1, #where) == where then message = message:sub(#where + 1) end
        mare.fail("%s: %s", path, message)
    end
    return all.run
end

return checkpoint
