-- What scripts/bench does beside measuring: medians, text, JSON, comparisons, the picture; and that
-- its cases give what they say. Nothing is timed here.

local mare = require "mare"
local check = require "check"

package.path = (arg[0]:match("^(.*/)") or "./") .. "../../scripts/benchmarks/?.lua;" .. package.path
local compare, json, measure = require "compare", require "json", require "measure"
local kernels, nets, options = require "kernels", require "nets", require "options"
local report, svg = require "report", require "svg"

describe("measure", function()
    it("takes the middle of what is not in order", function()
        local list = { 5, 1, 9, 2, 7 }
        check.equal(measure.median(list), 5)
        check.equal(list, { 5, 1, 9, 2, 7 })
        check.equal(measure.median { 4, 3, 2, 1 }, 2)
        check.equal(measure.median { 8 }, 8)
    end)

    it("samples within a budget, three times at least and 21 at most", function()
        local function count(budget, each)
            local now = 0
            local firsts, seconds = measure.samples(budget, function()
                now = now + each
                return now, -now
            end, function() return now end)
            for i, v in ipairs(firsts) do check.equal(seconds[i], -v) end
            return #firsts
        end
        check.equal(count(1, 10), 3)
        check.equal(count(1, 0.125), 8)
        check.equal(count(1, 0), 21)
        check.equal(count(0, 1), 3)
    end)

    it("turns the order of ways round by round", function()
        local order = {}
        local function way(name, value)
            return function()
                order[#order + 1] = name
                value = 2 * value
                return value, name == "a" and 6 or 3
            end
        end
        local firsts, seconds = measure.rounds(3, { way("a", 1), way("b", 4) })
        check.equal(table.concat(order), "abbaab")
        check.equal(firsts, { { 2, 4, 8 }, { 8, 16, 32 } })
        check.equal(measure.ratio(firsts[2], firsts[1]), 4)
        check.equal(measure.ratio(seconds[1], seconds[2]), 2)
    end)

    it("takes the median of ratios, not the ratio of medians", function()
        check.equal(measure.ratio({ 10, 3, 100 }, { 10, 1, 10 }), 3)
    end)

    it("knows what binds", function()
        local limits = { bandwidth = 10, flops = 100 }
        check.equal({ measure.bound(1000, 50, limits) }, { 10, "arithmetic" })
        check.equal({ measure.bound(100, 50, limits) }, { 5, "memory" })
        check.equal({ measure.bound(0, 50, limits) }, { 5, "memory" })
    end)
end)

describe("json", function()
    it("is read as it was written", function()
        local value = {
            device = 'A "B" \\ C\n\t\1', limits = { bandwidth = 1.5e9, flops = -2 },
            rows = { { case = "3x3, b32", share = 0.25, error = "é" },
                { done = true, off = false } },
            none = {},
        }
        check.equal(json.decode(json.encode(value)), value)
    end)

    it("keeps keys in order and rows on lines of their own", function()
        check.equal(json.encode { rows = { { b = 1, a = "x" }, { c = 2 } }, device = "d" },
            '{"device": "d", "rows": [\n {"a": "x", "b": 1},\n {"c": 2}]}')
        check.equal(json.encode { 1 / 0, -1 / 0, 0 / 0 }, "[null, null, null]")
    end)

    it("reads what others write", function()
        check.equal(json.decode ' [ 1 , -2.5e1, "\\u0041\\/\\n", {"a":[],"b" : {}} , null ] ',
            { 1, -25, "A/\n", { a = {}, b = {} } })
    end)

    it("refuses what is none", function()
        for _, text in ipairs { "", "{", "[1", "[1 2]", '{"a" 1}', "{a: 1}", '"x', "[1] 2",
            "nil" } do
            check.fails("^json: ", json.decode, text)
        end
    end)
end)

describe("options", function()
    local families, of_nets = { "gemm", "conv" }, { "gpt" }
    local function parse(...) return options.parse({ ... }, families, of_nets) end

    it("takes families, nets and keys in both forms", function()
        local chosen = parse("conv", "gpt", "--json", "a b.json", "--vs=c.json", "--rounds=5",
            "--seconds", "0.5", "--match", "3x3", "--match=1x1", "--type", "f16")
        check.equal(chosen.families, { conv = true })
        check.equal(chosen.nets, { "gpt" })
        check.equal({ chosen.json, chosen.vs, chosen.rounds, chosen.seconds },
            { "a b.json", "c.json", 5, 0.5 })
        check.equal({ chosen.match, chosen.type }, { { "3x3", "1x1" }, { "f16" } })
    end)

    it("takes all families when none is named", function()
        local chosen = parse("gpt")
        check.equal(chosen.families, { gemm = true, conv = true })
        check.equal({ chosen.match, chosen.type, chosen.rounds }, { {}, {}, 3 })
    end)

    it("refuses what it does not know", function()
        for word, pattern in pairs { nothing = "cannot use 'nothing'; families: gemm, conv;",
            ["--what"] = "cannot use", ["--json"] = "needs a value",
            ["--rounds=0"] = "whole number", ["--seconds=-1"] = "number of seconds" } do
            local chosen, message = parse(word)
            check.equal(chosen, nil)
            check.truthy(message:find(pattern), message)
        end
    end)
end)

local function row(family, case, figure, value, more)
    local r = { family = family, case = case, figure = figure, value = value, unit = "s" }
    for k, v in pairs(more or {}) do r[k] = v end
    return r
end

describe("report", function()
    it("writes durations with three digits", function()
        check.equal(report.duration(12.345), "12.3 s")
        check.equal(report.duration(0.5), "500 ms")
        check.equal(report.duration(0.00123), "1.23 ms")
        check.equal(report.duration(4.56e-5), "45.6 us")
        check.equal(report.duration(2e-9), "0.00 us")
    end)

    it("has time, rates and the share in a kernel's line", function()
        local line = report.line(row("gemm", "512^3", "f32", 1e-3, { flops = 2e9, bytes = 3e6,
            share = 0.5, bound = "arithmetic", first = 0.25 }))
        check.equal(line:gsub(" +", " "),
            "gemm 512^3 f32 1.00 ms 2000 3 50 % arithmetic 250 ms")
        line = report.line(row("copy", "c", "f32", 1, { flops = 0, bytes = 2.5e9, share = 0.25,
            bound = "memory", first = 2 }))
        check.equal(line:gsub(" +", " "), "copy c f32 1.00 s - 2.5 25 % memory 2.00 s")
    end)

    it("says what failed", function()
        local line = report.line { family = "conv", case = "c", figure = "i8", error = "no memory" }
        check.truthy(line:find("failed: no memory", 1, true), line)
    end)
end)

describe("compare", function()
    local earlier = {
        device = "old", driver = "1", limits = { bandwidth = 4, flops = 8 },
        rows = { row("gemm", "a", "f32", 4, { processor = 9 }), row("gemm", "b", "f32", 9),
            row("train", "gpt", "steps", 10, { unit = "a second" }),
            row("memory", "gpt", "arena", 10, { unit = "MB" }), row("gemm", "gone", "f32", 1) },
    }
    local run = {
        device = "new", driver = "1", limits = { bandwidth = 2, flops = 16 },
        rows = { row("gemm", "a", "f32", 2, { processor = 3 }), row("gemm", "b", "f32", 3),
            row("gemm", "b", "f16", 1), row("train", "gpt", "steps", 15, { unit = "a second" }),
            row("memory", "gpt", "arena", 5, { unit = "MB" }),
            { family = "gemm", case = "gone", figure = "f32", error = "failed" } },
    }

    it("has a ratio for what both runs have", function()
        local list, only = compare.pairs(run.rows, earlier.rows)
        local ratios, speeds = {}, {}
        for i, pair in ipairs(list) do ratios[i], speeds[i] = pair.ratio, pair.speed end
        check.equal(ratios, { 2, 3, 1.5, 0.5 })
        check.equal(speeds, { true, true, true, false })
        check.equal(list[1].processor, 3)
        check.equal(list[2].processor, nil)
        check.equal(only, 1)
    end)

    it("names devices that differ, the limits, and each family's median", function()
        local text = compare.text(run, earlier)
        for _, part in ipairs { "this run:    new, 1", "the earlier: old, 1",
            "0.50 times the copy, 2.00 times the multiply-adds", "3.00 times as fast",
            "0.50 times the value", "3.00 by processor time", "1 figures are in this run only" } do
            check.truthy(text:find(part, 1, true), text)
        end
        check.truthy(text:find("gemm +median of 2 +2.00 times as fast, 3.00 by"), text)
        local same = compare.text(run, run)
        check.truthy(not same:find("the earlier:", 1, true), same)
        check.truthy(not same:find("run only", 1, true), same)
    end)
end)

describe("svg", function()
    it("has a bar a row, and shows no figure in place of markup", function()
        local picture = svg.bars("a <b> & c", {
            row("gemm", "x < y", "f32", 1, { share = 0.5 }),
            row("gemm", "large", "f16", 1, { share = 40 }),
            { family = "conv", case = "failed", figure = "f32", error = "no" },
            row("copy", "other", "u8", 1, { share = 0 }),
        })
        local _, bars = picture:gsub("<rect", "")
        check.equal(bars, 1 + 3 + 3) -- the background, the legend, the bars
        check.truthy(picture:find("a &lt;b&gt; &amp; c", 1, true))
        check.truthy(picture:find("x &lt; y", 1, true))
        check.truthy(picture:find(">4000%<", 1, true))
        check.truthy(not picture:find("failed", 1, true))
        for width, x in picture:gmatch 'x="([%d.]+)" y="[%d.]+" width="([%d.]+)"' do
            check.truthy(width + x <= 900, "the right end of a bar")
        end
        local _, open = picture:gsub("<text", "")
        local _, closed = picture:gsub("</text>", "")
        check.equal(open, closed)
        check.truthy(picture:find("^<svg xmlns=") and picture:find("</svg>\n$"))
    end)
end)

describe("kernels", function()
    it("have names of their own, and every family that there is", function()
        local seen = {}
        for _, case in ipairs(kernels.cases) do
            local name = case.family .. "/" .. case.name
            check.truthy(not seen[name], name .. " is there twice")
            check.truthy(#case.name <= 42, name .. " does not fit its column")
            seen[name] = true
        end
        check.equal(table.concat(kernels.families, " "), "gemm conv attention recurrent softmax "
            .. "norm reduce scan elementwise copy pool index optimiser random")
    end)

    it("counts bytes by element type", function()
        check.equal(kernels.bytes_of { mare.zeros(3, 4), mare.zeros(5, { dtype = "f16" }),
            mare.zeros(7, { dtype = "i8" }) }, 48 + 10 + 7)
    end)

    it("counts the arithmetic of products and convolutions", function()
        local expected = {
            ["gemm/4096x1x4096"] = 2 * 4096 * 4096,
            ["gemm/128^3, 64 of them"] = 64 * 2 * 128 ^ 3,
            ["conv/3x3, 28x28x1 to 32, b64"] = 2 * 64 * 32 * 28 * 28 * 9,
            ["conv/3x3, 28x28x1 to 32, b64, weight gradient"] = 2 * 64 * 32 * 28 * 28 * 9,
            ["conv/3x3, stride 2"] = 2 * 32 * 64 * 16 * 16 * 64 * 9,
            ["attention/8 heads of 64, 256 tokens"] = 4 * 8 * 256 * 256 * 64,
            ["recurrent/LSTM 256 to 256, 64 steps, b32"] = 2 * 64 * 32 * 1024 * 512,
        }
        for _, case in ipairs(kernels.cases) do
            local flops = expected[case.family .. "/" .. case.name]
            if flops then
                check.equal(case.make("f32").flops, flops, case.name)
                expected[case.family .. "/" .. case.name] = nil
            end
        end
        check.equal(next(expected), nil)
    end)
end)

describe("nets", function()
    it("have the layers that they are known for", function()
        local parameters = { cnn = 1199882, lstm = 946625, gpt = 809856, resnet = 11173962 }
        for name, count in pairs(parameters) do
            check.equal(nets[name]().model:num_parameters(), count, name)
        end
    end)

    it("learn the same compiled as plain", function()
        local function losses(compiled)
            mare.manual_seed(7)
            local net, list = nets.mlp(), {}
            for i = 1, 5 do
                net.draw()
                if compiled then net.compiled() else net.step() end
                list[i] = net.loss:item()
            end
            return list
        end
        check.near(losses(true), losses(false), 1e-5)
    end)
end)
