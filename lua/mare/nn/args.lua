--- Checks of what a layer is given.

local mare = require "mare"

local args = {}

--- Refuses a layer's size that is no whole number of at least `least`.
function args.size(class, what, value, least)
    local n = math.tointeger(value)
    if not n or n < least then
        mare.fail("%s: %s must be a whole number, %d or more, not %s", class._name, what, least,
            tostring(value))
    end
    return n
end

--- An integer for all of n dimensions, or a list of one for each, as a list.
function args.spread(class, what, value, n, least)
    local list = {}
    if type(value) == "table" and #value ~= n then
        mare.fail("%s: %s is a number or a list of %d", class._name, what, n)
    end
    for i = 1, n do
        list[i] = args.size(class, what, type(value) == "table" and value[i] or value, least)
    end
    return list
end

--- Such a list as text: 3 or 3x2.
function args.spread_text(list)
    for _, v in ipairs(list) do
        if v ~= list[1] then return table.concat(list, "x") end
    end
    return tostring(list[1])
end

--- Refuses options that a layer does not know: a typing error must not pass silently.
function args.options_of(class, options, known)
    options = options or {}
    if type(options) ~= "table" then
        mare.fail("%s: options are a table, not %s", class._name, tostring(options))
    end
    for name in pairs(options) do
        if not known[name] then
            mare.fail("%s: there is no option '%s'", class._name, tostring(name))
        end
    end
    return options
end

function args.number(class, what, value, lo, hi)
    if type(value) ~= "number" or not (value >= lo and value <= hi) then
        mare.fail("%s: %s must be a number from %g to %g, not %s", class._name, what, lo, hi,
            tostring(value))
    end
    return value
end

return args
