--- What the command line asks for.

local options = {}

local KEYS = {
    rounds = function(text)
        local n = math.tointeger(tonumber(text))
        return n and n > 0 and n or nil, "a whole number from 1 on"
    end,
    seconds = function(text)
        local s = tonumber(text)
        return s and s >= 0 and s or nil, "a number of seconds"
    end,
    match = function(text) return text end,
    type = function(text) return text end,
    json = function(text) return text end,
    svg = function(text) return text end,
    vs = function(text) return text end,
}

local LISTS = { match = true, type = true } -- may be given several times

---Words of the command line: names of families and nets, "--key=value" or "--key value".
---@param words string[]
---@param families string[] all there are
---@param nets string[] all there are
---@return table? result { families = set, nets = list, any = was a family named?, key = value
---  or, of match and type, a list }
---@return string? message why there is none
function options.parse(words, families, nets)
    local result = { families = {}, nets = {}, any = false, rounds = 3, seconds = 1,
        match = {}, type = {} }
    local known, of_nets = {}, {}
    for _, name in ipairs(families) do known[name] = true end
    for _, name in ipairs(nets) do of_nets[name] = true end
    local i = 1
    while i <= #words do
        local word = words[i]
        local key, value = word:match "^%-%-(%l+)=(.*)$"
        if not key then key = word:match "^%-%-(%l+)$" end
        if key and KEYS[key] then
            if not value then
                i = i + 1
                value = words[i]
            end
            local parsed, expected
            if value then parsed, expected = KEYS[key](value) end
            if parsed == nil then
                return nil, ("--%s needs %s"):format(key, expected or "a value")
            end
            if LISTS[key] then
                table.insert(result[key], parsed)
            else
                result[key] = parsed
            end
        elseif known[word] then
            result.families[word], result.any = true, true
        elseif of_nets[word] then
            result.nets[#result.nets + 1] = word
        else
            return nil, ("cannot use '%s'; families: %s; nets: %s; --rounds, --seconds, --match, "
                .. "--type, --json, --svg, --vs"):format(word, table.concat(families, ", "),
                table.concat(nets, ", "))
        end
        i = i + 1
    end
    if not result.any then
        for _, name in ipairs(families) do result.families[name] = true end
    end
    return result
end

return options
