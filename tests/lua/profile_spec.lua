-- Profiles as a script sees them: reports, their sums, trace files.

local mare = require "mare"
local check = require "check"

-- Both evaluate for themselves, so that no pass joins them. Where they stand is what reports tell.
local function exp(x) return (mare.eval(x:exp())) end
local function sin(x) return (mare.eval(x:sin())) end
local exp_line, sin_line

for name, f in pairs { exp = exp, sin = sin } do
    local info = debug.getinfo(f, "S")
    local place = ("%s:%d"):format(info.short_src, info.linedefined)
    if name == "exp" then exp_line = place else sin_line = place end
end

local function row(list, name)
    for _, r in ipairs(list) do
        if r.name == name then return r end
    end
    error("no row " .. name, 2)
end

describe("profile", function()
    local x = mare.eval(mare.arange(64):float() / 64)

    it("tells launches by operation and by line", function()
        local report = mare.profile(function()
            exp(x)
            for _ = 1, 3 do sin(exp(x)) end
        end)
        check.equal(report.launches, 7)
        check.equal(report.evals, 7)
        check.equal(row(report:by_op(), "exp").launches, 4)
        check.equal(row(report:by_op(), "sin").launches, 3)
        check.equal(row(report:by_line(), exp_line).launches, 4)
        check.equal(row(report:by_line(), exp_line).parts, "exp")
        check.equal(row(report:by_line(), sin_line).launches, 3)
        check.equal(row(report:by_line(), sin_line).bytes, 3 * 2 * 64 * 4)
        for _, site in ipairs(report.sites) do
            check.equal(site.shape, { 64 })
            check.equal(site.dtype, "f32")
            check.equal(site.kernel, "elementwise/map.comp")
            check.equal(site.groups, { 1, 1, 1 })
        end
    end)

    it("returns what the function returns, which is what it always is", function()
        local report, y, word = mare.profile(function() return exp(x), "word" end)
        check.equal(y, exp(x))
        check.equal(word, "word")
        check.equal(report.launches, 1)
    end)

    it("adds up", function()
        local report = mare.profile(function()
            for _ = 1, 5 do sin(exp(x)):sum():item() end
        end)
        local function sum(list, field)
            local s = 0
            for _, r in pairs(list) do s = s + (field and r[field] or r) end
            return s
        end
        check.near(sum(report:by_op(), "seconds"), report.busy + report.copying, 1e-9)
        check.near(sum(report:by_line(), "seconds"), report.busy + report.copying, 1e-9)
        check.near(sum(report.host), report.wall, 1e-9)
        check.near(sum(report.idle), report.wall - report.busy - report.copying, 1e-9)
        check.truthy(report.busy <= report.wall)
        check.equal(sum(report:by_op(), "launches"), report.launches)
    end)

    it("has the device's best beside it, measured once", function()
        local bandwidth, flops = mare.profiler.peaks()
        check.truthy(bandwidth > 0 and bandwidth < math.huge, "bandwidth")
        check.truthy(flops > 0 and flops < math.huge, "flops")
        local again, of_again = mare.profiler.peaks()
        check.equal({ again, of_again }, { bandwidth, flops })
        mare.profile(function() check.fails("a profile is on", mare.profiler.peaks) end)
    end)

    it("is a text", function()
        local report = mare.profile(function() exp(x) end)
        local text = tostring(report)
        check.truthy(text:find("\nexp +1 "), text)
        check.truthy(text:find(exp_line:sub(-27), 1, true), text)
        check.truthy(text:find("launches 1, evaluations 1, submissions 1"), text)
        check.truthy(text:find("GB/s copied and"), text)
        local short = mare.profile(function() sin(exp(x)) end):text { rows = 1 }
        check.truthy(short:find("and 1 more", 1, true), short)
    end)

    it("counts flops where they are known", function()
        local a = mare.eval(mare.ones(96, 80))
        local report = mare.profile(function() mare.eval(a:matmul(a:t())) end)
        check.equal(row(report:by_op(), "matmul").flops, 2 * 96 * 96 * 80)
    end)

    it("of any stretch, and what is wrong", function()
        mare.profiler.start()
        exp(x)
        check.fails("profile: it is on already", mare.profiler.start)
        check.fails("profile: it is on already", mare.profile, print)
        check.equal(mare.profiler.stop().launches, 1)
        check.fails("profile: it is not on", mare.profiler.stop)
        check.fails("profile: expected a function, not number", mare.profile, 3)
        check.fails("profile: there is no option 'tracks'", mare.profile, print, { tracks = 1 })
        check.fails("profile: trace must be a path, not boolean", mare.profile, print,
            { trace = true })
        check.fails("there is no folder /nonexistent for the trace", mare.profile, print,
            { trace = "/nonexistent/trace.json" })
    end)

    it("ends with an error in the function", function()
        check.fails("boom", mare.profile, function() error("boom") end)
        check.equal(mare.profile(function() exp(x) end).launches, 1)
    end)

    it("writes a trace", function()
        check.in_folder(function(folder)
            local path = folder .. "/trace.json"
            mare.profile(function() exp(x) end, { trace = path })
            local text = mare.fs.read(path)
            check.truthy(text:find('"name":"exp","ph":"X"', 1, true), text)
            check.truthy(text:find(('"line":"%s"'):format(exp_line), 1, true), text)
        end)
    end)

    it("is documented", function()
        check.truthy(mare.help("profile"):find("trace"))
        check.truthy(mare.help("profiler.stop"):find("Perfetto"))
    end)
end)
