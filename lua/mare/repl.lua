-- The read-evaluate-print loop: lines from a terminal with editing and history, or from a pipe.

local core = require "mare.core"
local mare = require "mare"
local help = require "mare.help"

local repl = {}

-- Where the history lies; nil when there is no home.
local function history_path()
    local state, home = os.getenv("XDG_STATE_HOME"), os.getenv("HOME")
    if not state or state == "" then
        if not home or home == "" then return nil end
        state = home .. "/.local/state"
    end
    return state .. "/mare/history"
end

-- A reader: (prompt) -> line, nil at the end, false when the line was given up.
local function open_reader()
    if not (mare.fs.isatty("stdin") and mare.fs.isatty("stdout")) then
        return function() return io.read("L") end, function() end, function() end
    end
    local path = history_path()
    local editor = core.edit.open(path)
    local function save()
        -- A history that cannot be kept is no reason to stop.
        if path and pcall(mare.fs.mkdir, (path:match("^(.*)/"))) then editor:save(path) end
    end
    return function(prompt) return editor:read(prompt) end,
        function(text) editor:add(text) end,
        save
end

-- A chunk from what was typed so far: function; or nil and "more" when it is not complete; or nil
-- and the error.
local function compile(text)
    local value, as_value = load("return " .. text, "=stdin", "t")
    if value then return value end
    local chunk, message = load(text, "=stdin", "t")
    if chunk then return chunk end
    if message:match("<eof>$") then return nil, "more", message end
    if as_value:match("<eof>$") then return nil, "more", as_value end
    return nil, message
end

local function message_of(e)
    return debug.traceback(tostring(e), 2)
end

-- The library's frames below the loop say nothing to the user.
local function trim(trace)
    return (trace:gsub("\n[^\n]*%[C%]: in function 'xpcall'.*$", ""))
end

local function run_chunk(chunk)
    local results = table.pack(xpcall(chunk, message_of))
    if not results[1] then return trim(results[2]) end
    if results.n < 2 then return end
    local texts = {}
    for i = 2, results.n do
        local ok, text = pcall(tostring, results[i])
        if not ok then return tostring(text) end
        texts[#texts + 1] = text
    end
    print(table.concat(texts, "\t"))
end

--- Runs until the input ends; returns the exit code: 1 when lines from a pipe failed.
function repl.run(_, arm_interrupt)
    local interactive = mare.fs.isatty("stdin")
    local read, add, save = open_reader()
    rawset(_G, "mare", mare)
    rawset(_G, "help", help.show)
    if interactive then
        print(("Mare %s, %s. help() lists what there is, Ctrl-D ends.")
            :format(mare.version, _VERSION))
    end
    local text, failed = nil, false
    local function report(message)
        io.stdout:flush()
        io.stderr:write(message, "\n")
        failed = true
    end
    local last
    while true do
        local ok, line = pcall(read, text and "   ... " or "mare> ")
        if not ok then -- Ctrl-C outside of the editing of a line
            if line ~= "interrupted" then error(line, 0) end
            arm_interrupt()
            line = false
        end
        if line == false then
            text = nil
            print()
        elseif line == nil then
            break
        else
            line = line:gsub("[\r\n]+$", "")
            text = text and text .. "\n" .. line or line
            local chunk, what, message = compile(text)
            last = what == "more" and message
            if what ~= "more" then
                if text:match("%S") then add(text) end
                local whole = text
                text = nil
                if chunk then
                    arm_interrupt()
                    local e = run_chunk(chunk)
                    if e then report(e) end
                elseif whole:match("%S") then
                    report(what)
                end
            end
        end
    end
    if text and text:match("%S") then report(last or "unfinished input") end
    if interactive then print() end
    save()
    return (failed and not interactive) and 1 or 0
end

return repl
