-- Runs specs: mare tests/lua/run.lua [files]. A spec calls describe(name, f) and it(name, f);
-- inside a case, skip(reason) leaves it. One line a failing case with its traceback; the exit code
-- is 1 when a case failed.

local mare = require "mare"

local folder = arg[0]:match("^(.*/)") or "./"
package.path = folder .. "?.lua;" .. package.path

local passed, failed, skipped = 0, 0, 0
local names = {}
local Skip = {}

function describe(name, f) -- luacheck: ignore 131
    names[#names + 1] = name
    f()
    names[#names] = nil
end

function skip(reason) -- luacheck: ignore 131
    error(setmetatable({ reason = reason }, Skip), 0)
end

local function handler(e)
    if getmetatable(e) == Skip then return e end
    return debug.traceback(tostring(e), 2)
end

function it(name, f) -- luacheck: ignore 131
    local whole = table.concat(names, ": ") .. ": " .. name
    local ok, e = xpcall(f, handler)
    if ok then
        passed = passed + 1
    elseif getmetatable(e) == Skip then
        skipped = skipped + 1
        print("skipped " .. whole .. ": " .. tostring(e.reason))
    else
        failed = failed + 1
        print("FAILED " .. whole .. ": " .. e)
    end
end

local files = { ... }
if #files == 0 then
    local list = assert(io.popen("ls '" .. folder .. "'"))
    for name in list:lines() do
        if name:match("_spec%.lua$") then files[#files + 1] = folder .. name end
    end
    list:close()
end
for _, file in ipairs(files) do
    names = {}
    local chunk, message = loadfile(file, "t")
    if chunk then
        local ok, e = xpcall(chunk, handler)
        if not ok then chunk, message = nil, e end
    end
    if not chunk then
        failed = failed + 1
        print("FAILED " .. file .. ": " .. tostring(message))
    end
end
local ok, stats = pcall(mare.stats)
if ok and stats.validation > 0 then
    failed = failed + 1
    print(("FAILED: the validation layer had %d messages"):format(stats.validation))
end
print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
os.exit(failed == 0 and passed + skipped > 0, true)
