-- Compiled functions do what the function does, bit for bit, without running it.

local mare = require "mare"
local check = require "check"
local nn = require "mare.nn"
local optim = require "mare.optim"

-- One by one there is nothing to note: the function runs each time.
local one_by_one = os.getenv "MARE_EAGER" or os.getenv "MARE_CHECK"

local function bytes_of(model, opt)
    local list = {}
    for name, t in pairs(model:state_dict()) do list[name] = t:tobytes() end
    for i, s in pairs(opt:state_dict().state) do
        for name, v in pairs(s) do
            list[i .. name] = mare.is_tensor(v) and v:tobytes() or v
        end
    end
    list.steps = opt.steps
    list.position = mare.rng_state().position
    return list
end

-- Losses of `steps` steps, and everything that they leave.
local function train(create, options, steps, compile)
    mare.manual_seed(3)
    local model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(16, 3))
    local opt = create(model:parameters(), options)
    local loss_of = nn.CrossEntropyLoss()
    local step = compile(function(x, y, scale)
        opt:zero_grad()
        local loss = loss_of(model(x), y) * (scale * 0.5 + 1)
        loss:backward()
        opt:step(loss)
        return loss
    end)
    local losses = {}
    for i = 1, steps do
        opt.groups[1].lr = options.lr / i
        local x, y = mare.randn(6, 8), mare.tensor({ 0, 1, 2, i % 3, 0, 1 }, { dtype = "i32" })
        losses[i] = step(x, y, i / 10):item()
    end
    return losses, bytes_of(model, opt), step
end

local function plain(f) return f end

describe("a compiled training step", function()
    for _, case in ipairs {
        { "Adam", optim.Adam, { lr = 1e-2 } },
        { "AdamW", optim.AdamW, { lr = 1e-2, weight_decay = 0.1 } },
        { "SGD", optim.SGD, { lr = 0.1, momentum = 0.9, dampening = 0.1, weight_decay = 0.01 } },
    } do
        it("leaves the same as the function, to the bit: " .. case[1], function()
            local losses, left = train(case[2], case[3], 20, plain)
            local same, also, step = train(case[2], case[3], 20, mare.compile)
            check.equal(same, losses, "losses")
            for name, bytes in pairs(left) do
                if also[name] ~= bytes then error(name .. " differs") end
            end
            if one_by_one then return end
            check.equal({ step.plain, step.traces, step.runs }, { 1, 1, 18 })
            if losses[1] == losses[20] then error "nothing was learned" end
        end)
    end

    it("runs no Lua, builds nothing and keeps memory flat", function()
        if one_by_one then skip "one by one" end
        local model, calls = nn.Linear(4, 2), 0
        local opt = optim.Adam(model:parameters(), { lr = 1e-3 })
        local step = mare.compile(function(x)
            calls = calls + 1
            opt:zero_grad()
            local loss = (model(x) ^ 2):mean()
            loss:backward()
            opt:step()
            return loss
        end)
        local function turn() step(mare.ones(3, 4)) end
        for _ = 1, 50 do turn() end
        local before, memory = mare.stats(), mare.memory()
        for _ = 1, 1000 do turn() end
        local after = mare.stats()
        check.equal(calls, 2)
        check.equal(opt.steps, 1050)
        check.equal(after.plans, before.plans)
        check.equal(after.pipelines, before.pipelines)
        if after.nodes > before.nodes + 200 then error(after.nodes .. " nodes") end
        local now = mare.memory()
        check.equal(now.used + now.cached, memory.used + memory.cached)
    end)

    it("goes on when others change parameters, state, settings and modes", function()
        local function scenario(compile)
            mare.manual_seed(1)
            local model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))
            local opt = optim.SGD(model:parameters(), { lr = 0.1, momentum = 0.5 })
            local step = compile(function(x)
                opt:zero_grad()
                local loss = (model(x) - 1):abs():sum()
                loss:backward()
                opt:step()
                return loss
            end)
            local x, losses = mare.randn(5, 4), {}
            local function turns(n)
                for _ = 1, n do losses[#losses + 1] = step(x):item() end
            end
            turns(4)
            local saved, state = {}, opt:state_dict()
            for name, t in pairs(model:state_dict()) do saved[name] = (t:detach() * 1):eval() end
            turns(2)
            model:load_state_dict(saved)
            turns(2)
            opt:load_state_dict(state)
            turns(4)
            model:eval()
            turns(4)
            opt.groups[1].weight_decay = 0.1
            turns(4)
            model:train()
            turns(2)
            mare.no_grad(function() model[1].weight:assign(mare.ones(4, 4)) end)
            turns(3)
            mare.manual_seed(7)
            turns(2)
            for i = 1, 4 do
                x = mare.randn(i % 2 + 2, 4)
                turns(1)
            end
            return losses
        end
        check.equal(scenario(mare.compile), scenario(plain))
    end)

    it("accumulates gradients that are applied outside", function()
        local function scenario(compile)
            mare.manual_seed(2)
            local model = nn.Linear(3, 2)
            local opt = optim.SGD(model:parameters(), { lr = 0.1 })
            local add = compile(function(x)
                local loss = (model(x) ^ 2):sum()
                loss:backward()
                return loss
            end)
            local seen = {}
            for _ = 1, 5 do
                opt:zero_grad()
                for _ = 1, 3 do seen[#seen + 1] = add(mare.randn(4, 3)):item() end
                seen[#seen + 1] = model.weight.grad:totable()
                opt:step()
            end
            return seen
        end
        check.equal(scenario(mare.compile), scenario(plain))
    end)
end)

describe("a compiled function", function()
    it("takes and gives tables, and values beside tensors", function()
        local calls = 0
        local f = mare.compile(function(batch, k, word)
            calls = calls + 1
            local sum = batch.x + batch.list[1] * k
            return { sum = sum, parts = { sum * 2, batch.x } }, k + 1, word, nil, true
        end)
        for i = 1, 5 do
            local x, y = mare.tensor { i, 2 * i }, mare.tensor { 1, 1 }
            local t, k, word, none, yes = f({ x = x, list = { y } }, i + 0.5, "word")
            check.equal(t.sum, { 2 * i + 0.5, 3 * i + 0.5 })
            check.equal(t.parts[1], { 4 * i + 1, 6 * i + 1 })
            check.equal(t.parts[2], { i, 2 * i })
            check.equal({ k, word, yes }, { i + 1.5, "word", true })
            check.equal(none, nil)
        end
        if not one_by_one then check.equal(calls, 2) end
    end)

    it("is noted anew for other shapes, dtypes, words and needs of gradients", function()
        if one_by_one then skip "one by one" end
        local f = mare.compile(function(x, word) return word == "twice" and x * 2 or x + 1 end)
        local inputs = {
            { mare.ones(2) }, { mare.ones(3) }, { mare.ones(2, 1) },
            { mare.ones(2, { dtype = "i32" }) }, { mare.ones(2), "twice" },
            { mare.ones(2, { requires_grad = true }) }, { mare.ones(4):narrow(1, 2, 2) },
        }
        for _ = 1, 4 do
            for _, a in ipairs(inputs) do
                check.equal(f(a[1], a[2]):totable(), (a[1] * 0 + 2):totable())
            end
        end
        -- The view has the shape of the first: it is seen, but laid out in another way.
        check.equal({ f.plain, f.traces, f.plain + f.traces + f.runs }, { 6, 7, 28 })
    end)

    it("assigns to tensors that it knows, also when they change places", function()
        local a, b = mare.tensor { 1, 2 }, mare.tensor { 3, 4 }
        local kept = mare.tensor { 0, 0 }
        local f = mare.compile(function(x)
            local old = a * 1
            a:assign(b + 0)
            b:assign(old)
            kept:assign(x)
        end)
        for i = 1, 5 do
            local before = kept * 1
            f(mare.tensor { i, i })
            check.equal(a, i % 2 == 1 and { 3, 4 } or { 1, 2 })
            check.equal(b, i % 2 == 1 and { 1, 2 } or { 3, 4 })
            check.equal(kept, { i, i })
            check.equal(before, { i - 1, i - 1 }, "what was computed before keeps what it saw")
        end
    end)

    it("checks the range of indices each time", function()
        local table = mare.arange(0, 4)
        local f = mare.compile(function(i) return table:take(i) * 2 end)
        for _, i in ipairs { 1, 1, 1, 3, 2, 0, 3 } do
            check.equal(f(mare.tensor({ i }, { dtype = "i32" })), { 2 * i })
        end
        check.fails("4", f, mare.tensor({ 4 }, { dtype = "i32" }))
        check.equal(f(mare.tensor({ 3 }, { dtype = "i32" })), { 6 })
    end)

    it("has whole numbers of tensors of integers checked", function()
        local f = mare.compile(function(x, k) return x + k end)
        local x = mare.tensor({ 1, 2 }, { dtype = "u8" })
        for _, k in ipairs { 1, 2, 3, 300, 4, 0.5, 1.5, 2.5, 5 } do
            local y = f(x, k)
            check.equal(y, (x + k):totable())
            check.equal(y.dtype, (x + k).dtype)
        end
    end)

    it("forgets what it noted when it is told to", function()
        local factor = 2
        local f = mare.compile(function(x) return x * factor end)
        local x = mare.tensor { 1 }
        for _ = 1, 3 do check.equal(f(x), { 2 }) end
        factor = 3
        if not one_by_one then check.equal(f(x), { 2 }) end
        f:reset()
        for _ = 1, 3 do check.equal(f(x), { 3 }) end
    end)

    it("may call another", function()
        local inner = mare.compile(function(x) return x + 1 end)
        local outer = mare.compile(function(x) return inner(x) * 2 end)
        for i = 1, 4 do check.equal(outer(mare.tensor { i }), { 2 * (i + 1) }) end
    end)

    it("draws the random numbers that the function would", function()
        local function numbers(compile)
            mare.manual_seed(5)
            local f = compile(function(x) return x + mare.rand(2) + mare.randn(2) end)
            local list = {}
            for i = 1, 5 do
                list[i] = f(mare.tensor { i, i }):totable()
                list[i][3] = mare.rand(1):item()
            end
            return list
        end
        check.equal(numbers(mare.compile), numbers(plain))
    end)
end)

describe("a kernel of the script's own in a compiled function", function()
    local cube = mare.kernel {
        name = "scaled_cube", inputs = { "x" }, outputs = { "y" }, numbers = { "scale" },
        glsl = "y[i] = scale * x[i] * x[i] * x[i];",
        vjp = function(ctx, gy) return gy * 3 * ctx.numbers.scale * ctx.inputs[1]:square() end,
    }

    it("trains as it does outside", function()
        local function cubes(wrap)
            local w = mare.tensor({ 0.5, -0.25, 1 }, { requires_grad = true })
            local opt = optim.Adam({ w }, { lr = 0.05 })
            local losses = {}
            local step = wrap(function(x)
                opt:zero_grad()
                local loss = (cube(w * x, { scale = 2 }) - 1):square():mean()
                loss:backward()
                opt:step()
                return loss
            end)
            for i = 1, 12 do losses[i] = step(mare.tensor { 1, i / 8, 2 - i / 9 }):item() end
            return { losses, w:totable() }
        end
        check.equal(cubes(mare.compile), cubes(function(f) return f end))
    end)

    it("takes no number that each call gets anew, and says so", function()
        if one_by_one then skip "one by one" end
        local f = mare.compile(function(x, n) return cube(x, { scale = n }) end)
        check.equal(f(mare.tensor { 1, 2 }, 3):totable(), { 3, 24 })
        check.fails("scale must be a number", f, mare.tensor { 1, 2 }, 4)
    end)
end)

describe("an error in a compiled function", function()
    local function matches(text, pattern)
        if not text:find(pattern) then error(("%q has no %q"):format(text, pattern), 2) end
    end

    -- The error of the call that is noted; the first runs the function as it is.
    local function noted(f, ...)
        if one_by_one then skip "one by one" end
        local g = mare.compile(f)
        pcall(g, ...)
        local ok, e = pcall(g, ...)
        if ok then error("no error", 2) end
        return e
    end

    it("names the line that asks for a value", function()
        local e = noted(function(x) return x * (x + 1):sum():item() end, mare.ones(2))
        matches(e, "compile_spec.lua:%d+: .*value of sum is asked for.*return the tensor")
        matches(noted(function(x) return tostring(x + 1) end, mare.ones(2)), "is asked for")
        matches(noted(function(x) return x:nonzero() end, mare.ones(2)), "is asked for")
    end)

    it("says what cannot be done with a number", function()
        local x = mare.ones(4)
        local compare = noted(function(y, n) return n > 1 and y or y + 1 end, x, 2)
        matches(compare, "compile_spec.lua:%d+: compile: a comparison with a number")
        local size = noted(function(y, n) return y:reshape(n, -1) end, x, 2)
        matches(size, "not a number that a compiled step gets anew")
        matches(noted(function(y, n) return y * math.sqrt(n) end, x, 2), "number expected")
        matches(noted(function(y, n) return y, "n = " .. n end, x, 2), "the text of")
        local kept
        noted(function(y, n) kept = n error "stop" return y end, x, 2)
        check.fails("after its call", function() return kept + 1 end)
    end)

    it("leaves all usable", function()
        local fail, w = false, mare.tensor { 1, 2 }
        local f = mare.compile(function(x)
            w:assign(w + x)
            if fail then error("of its own", 0) end
            return w * 2
        end)
        f(mare.ones(2))
        fail = true
        local ok, e = pcall(f, mare.ones(2))
        check.equal({ ok, e }, { false, "of its own" })
        fail = false
        for _ = 1, 4 do f(mare.ones(2)) end
        check.equal(w:totable()[2], 8)
        check.fails("function", mare.compile, 3)
    end)

    it("refuses a stream of random numbers that is set inside", function()
        local e = noted(function(x) mare.manual_seed(1) return x + mare.rand(2) end, mare.ones(2))
        matches(e, "random stream was set")
    end)
end)
