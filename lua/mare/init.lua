-- The module `mare`: what the engine's binding gives, and what is easier said in Lua.

local core = require "mare.core"
local mare, private = core.api, core.private

mare.fs = core.fs

--- Raises an error that starts with the script's own line, as the binding's errors do.
function mare.fail(format, ...)
    error(private.where() .. string.format(format, ...), 0)
end

-- For the other files of the library: refuses what cannot be called.
function private.need_function(call, f)
    local meta = getmetatable(f)
    if type(f) ~= "function" and not (type(meta) == "table" and meta.__call) then
        mare.fail("%s: expected a function, not %s", call, type(f))
    end
end

--- What to do at Ctrl-C in place of the error "interrupted"; true means: go on.
mare.on_interrupt = private.on_interrupt

require "mare.parts"
require "mare.autograd"
require "mare.compile"
mare.kernel = require "mare.kernel"

--- Runs f under a profile; see mare.profiler.run.
function mare.profile(f, options) return mare.profiler.run(f, options) end

-- ---- Help and submodules -----------------------------------------------------------------------

--- What stands in mare.doc about a function, given by name ("nn.Linear") or as a value.
function mare.help(what)
    return require("mare.help").text(what)
end

-- mare.nn, mare.optim, ... are loaded when first used.
return setmetatable(mare, {
    __index = function(t, name)
        if type(name) == "string" and private.source("mare/" .. name .. ".lua") then
            local module = require("mare." .. name)
            rawset(t, name, module)
            return module
        end
    end,
})
