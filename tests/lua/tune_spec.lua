-- Tuning as a script does it: runs for steps, models and shapes, their tables, pins and files.

local mare = require "mare"
local check = require "check"
local tune = mare.tune

local square = { "matmul", { 64, 48 }, { 48, 64 } }

-- What is on record is put back behind f(folder), so that a spec takes nothing from anybody.
local function apart(f)
    check.in_folder(function(folder)
        local path = folder .. "/before.json"
        tune.export(path)
        local _ <close> = setmetatable({}, { __close = function()
            tune.clear()
            tune.import(path)
            mare.set_tuning("first use")
        end })
        tune.clear()
        f(folder)
    end)
end

local function quiet(options)
    options.quiet = true
    return tune.kernels(options)
end

local function tuned() return mare.stats().tuned end

describe("tune", function()
    it("measures once, and goes on where a run ended", function()
        apart(function()
            local shapes = { square, { "matmul", { 128, 48 }, { 48, 64 } } }
            local report = quiet { shapes = shapes, budget = 0 }
            check.equal({ #report, report.measured, report.left }, { 2, 0, 2 })
            check.equal(report[1].state, "left")
            local before = tuned()
            report = quiet { shapes = { square } }
            check.equal({ #report, report.measured, report.left }, { 1, 1, 0 })
            report = quiet { shapes = shapes }
            check.equal({ #report, report.measured, report.left }, { 2, 1, 0 })
            check.equal({ report[1].state, report[2].state }, { "known", "measured" })
            check.equal(tuned() - before, 2)
            report = quiet { shapes = shapes, force = true }
            check.equal(report.measured, 2)
            check.equal(#tune.list(), 2)
        end)
    end)

    it("returns candidates, times and shares", function()
        apart(function()
            local r = quiet { shapes = { square } }[1]
            check.truthy(r.key:find("^matmul/f32/64x64x64/"), r.key)
            check.equal(r.flops, 2 * 64 * 64 * 48)
            check.truthy(r.bytes > 0 and #r.candidates > 1)
            local found
            for _, c in ipairs(r.candidates) do
                check.truthy(not c.seconds or (c.seconds > 0 and c.share > 0), c.name)
                if c.name == r.best then found = c end
            end
            check.equal({ found.seconds, found.share }, { r.seconds, r.share })
            local listed = tune.list()[1]
            check.equal({ listed.key, listed.best, listed.state }, { r.key, r.best, "known" })
            check.equal(listed.seconds, r.seconds)
        end)
    end)

    it("runs steps, models and gradients of shapes", function()
        apart(function()
            local calls = 0
            local report = quiet { step = function()
                calls = calls + 1
                return mare.ones(64, 48):matmul(mare.ones(48, 64))
            end }
            check.equal({ calls, report.measured }, { 1, 1 })
            report = quiet { shapes = { { "matmul", { 64, 48 }, { 48, 64 }, backward = true } } }
            check.equal(#report, 3, "the product and two for its gradients")
            report = quiet { shapes = {
                { "conv2d", { 2, 8, 12, 12 }, { 8, 8, 3, 3 }, padding = 1, stride = 2 },
                { "matmul", { 64, 64 }, { 64, 64 }, dtype = "i32" },
                function() return mare.ones(64, 64):matmul(mare.ones(64, 32)) end,
            } }
            check.truthy(report[1].key:find("^conv/f32/128x8x128/"), report[1].key)
            check.truthy(report[2].key:find("^matmul/i32/64x64x64/"), report[2].key)
            check.truthy(report[3].key:find("^matmul/f32/64x32x64/"), report[3].key)
        end)
    end)

    it("leaves a model and the random stream as they were", function()
        apart(function()
            local nn = mare.nn
            local net = nn.Sequential { nn.Linear(40, 32), nn.BatchNorm1d(32), nn.Linear(32, 40) }
            local x = mare.randn(64, 40)
            net(x):sum():backward()
            local function state()
                local all = { mare.rng_state().position }
                for _, p in ipairs(net:parameters()) do
                    all[#all + 1], all[#all + 2] = p:totable(), p.grad:totable()
                end
                for _, b in ipairs(net:buffers()) do all[#all + 1] = b:totable() end
                return all
            end
            local before = state()
            local report = quiet { model = net, inputs = x }
            check.truthy(#report > 2, "forward and backward")
            check.equal(state(), before)
            net:eval()
            check.truthy(#quiet { model = net, inputs = { x } } < #report, "forward alone")
            local seen
            net:train()
            quiet { model = net, inputs = x, loss = function(y)
                seen = y.shape
                return y:square():mean()
            end }
            check.equal(seen, { 64, 40 })
            check.equal(state(), before)
        end)
    end)

    it("shows a table, live on a terminal", function()
        apart(function()
            local shown = {}
            local function write(text) shown[#shown + 1] = text end
            local report = tune.kernels { shapes = { square }, write = write, terminal = true }
            local n = #report[1].candidates
            check.truthy(shown[1]:find("^matmul/f32/64x64x64/%S+ +running\n"), shown[1])
            check.truthy(shown[1]:find("%.%.%."), "what is not measured yet: " .. shown[1])
            check.equal(shown[2], ("\27[%dA\27[J"):format(n + 1), "drawn over itself")
            check.equal(#shown, 2 * n + 2)
            local last = shown[#shown - 1]
            check.truthy(last:find("^matmul/f32/64x64x64/%S+ +measured\n"), last)
            local best = report[1].best:gsub("%p", "%%%0")
            check.truthy(last:find(best .. " +[%d.]+ %a+ +%d+%%  best"), last)
            check.equal(shown[#shown], "1 problem: 1 measured\n")
            check.equal(select(2, last:gsub("\n", "")), n + 1)
            shown = {}
            tune.kernels { shapes = { square }, write = write, force = true }
            check.equal(#shown, 2, "elsewhere once a problem")
            check.truthy(tostring(report):find("  best\n.*1 problem: 1 measured$"))
        end)
    end)

    it("an error in what shows it ends the measuring, and comes out", function()
        apart(function()
            local shapes = { square, { "matmul", { 128, 48 }, { 48, 64 } } }
            check.fails("no paper", tune.kernels, {
                shapes = shapes, write = function() error("no paper") end,
            })
            check.equal(#tune.list(), 1)
            check.equal(quiet { shapes = shapes }.measured, 1)
        end)
    end)

    it("what shows it evaluates nothing, and does not close the context", function()
        apart(function()
            check.fails("an evaluation within another one", tune.kernels, {
                shapes = { square }, write = function() mare.eval(mare.ones(3):exp()) end,
            })
            check.fails("close: an evaluation is under way", tune.kernels, {
                shapes = { square }, write = mare.close, force = true,
            })
            check.equal(mare.eval(mare.ones(2) + 1):totable(), { 2, 2 })
        end)
    end)

    it("an error in the step ends the run", function()
        apart(function()
            check.fails("boom", tune.kernels, { step = function() error("boom") end, quiet = true })
            check.equal(#quiet { shapes = { square } }, 1)
        end)
    end)

    it("refuses what it does not know", function()
        check.fails("tune.kernels: expected a table of options, not nil", tune.kernels)
        check.fails("one of step, model and shapes is needed", tune.kernels, {})
        check.fails("tune.kernels: there is no option 'shape'", tune.kernels, { shape = {} })
        check.fails("expected a function, not number", tune.kernels, { step = 3 })
        check.fails("model is a module, and inputs", tune.kernels, { model = {} })
        check.fails("the budget is a number of seconds, not %-1", tune.kernels,
            { shapes = {}, budget = -1 })
        check.fails("tune.kernels: an entry of shapes is", quiet,
            { shapes = { { "nonsense", { 2 } } } })
        check.fails("matmul: shape 2 is 3", quiet, { shapes = { { "matmul", { 2, 2 }, 3 } } })
        check.fails("tune_begin: a run is on already", quiet, { step = function()
            quiet { shapes = { square } }
        end })
    end)

    it("pins", function()
        apart(function()
            local r = quiet { shapes = { square } }[1]
            local other = r.candidates[1].name == r.best and r.candidates[2] or r.candidates[1]
            tune.pin(r.key, other.name)
            local pinned = quiet { shapes = { square } }[1]
            check.equal({ pinned.state, pinned.best }, { "pinned", other.name })
            check.equal(tune.list()[1].state, "pinned")
            check.fails("tune_pin: 'x' is none of the candidates of " .. r.key, tune.pin, r.key,
                "x")
            tune.pin(r.key, nil)
            check.equal(quiet { shapes = { square } }[1].best, r.best)
            check.fails("the key must be", tune.pin, 3, "x")
        end)
    end)

    it("goes to a file and comes back", function()
        apart(function(folder)
            local r = quiet { shapes = { square } }[1]
            tune.export(folder .. "/t.json")
            tune.clear()
            check.equal(#tune.list(), 0)
            check.equal({ tune.import(folder .. "/t.json") }, { 1, 0 })
            local before = tuned()
            check.equal(quiet { shapes = { square } }[1].best, r.best)
            check.equal(tuned(), before)
            mare.fs.write(folder .. "/bad.json", "{}")
            check.fails("tune_import: .*bad.json: it is no file of tuning records", tune.import,
                folder .. "/bad.json")
            local text = mare.fs.read(folder .. "/t.json")
            mare.fs.write(folder .. "/old.json", (text:gsub('("list":%s*")%x+', "%1"
                .. ("0"):rep(32))))
            local taken, refused, why = tune.import(folder .. "/old.json")
            check.equal({ taken, refused }, { 0, 1 })
            check.truthy(why:find("another list of candidates"), why)
        end)
    end)

    it("measures when it may", function()
        apart(function()
            local function use(n) mare.eval(mare.ones(n, 48):matmul(mare.ones(48, 64))) end
            check.equal({ mare.tuning() }, { "first use", 60 })
            local before = tuned()
            mare.set_tuning("known")
            use(64)
            mare.set_tuning("first use", 0)
            use(64)
            mare.set_tuning("off")
            use(64)
            check.equal(tuned(), before)
            mare.set_tuning("first use", 20)
            use(64)
            check.equal(tuned(), before + 1)
            check.equal(mare.tuning(), "first use")
            check.truthy(select(2, mare.tuning()) < 20)
            check.fails("set_tuning: 'never' is none of", mare.set_tuning, "never")
            check.fails("set_tuning: a budget of %-1 seconds", mare.set_tuning, "first use", -1)
        end)
    end)

    it("is documented", function()
        check.truthy(mare.help("tune.kernels"):find("shapes%?"))
        check.truthy(mare.help("tune.pin"):find("candidate"))
        check.truthy(mare.help("set_tuning"):find("first use"))
    end)
end)
