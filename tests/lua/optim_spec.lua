local mare = require "mare"
local check = require "check"
local nn = require "mare.nn"
local optim = require "mare.optim"

-- Steps on the loss sum(c (p - q)^2 / 2) + sum(p^3) / 10, whose gradient is easy to write down.
local START, C, Q = { 1, -2, 0.5 }, { 1, 3, 0.2 }, { 0.3, 0.1, -4 }
local STEPS = 6

local function gradient(p)
    local g = {}
    for i, v in ipairs(p) do g[i] = C[i] * (v - Q[i]) + 0.3 * v * v end
    return g
end

local function loss_of(p)
    local off = p - mare.tensor(Q)
    return (mare.tensor(C) * off * off / 2 + p ^ 3 / 10):sum()
end

local function run(create, options, steps, schedule)
    local p = mare.tensor(START, { requires_grad = true })
    local opt = create({ p }, options)
    for step = 1, steps or STEPS do
        if schedule then opt.groups[1].lr = schedule(step) end
        opt:zero_grad()
        loss_of(p):backward()
        opt:step()
    end
    return p, opt
end

-- The formulas in doubles, as PyTorch writes them.
local function sgd(o, schedule)
    local p, buffer = { table.unpack(START) }, {}
    for step = 1, STEPS do
        local lr, g = schedule and schedule(step) or o.lr, gradient(p)
        for i = 1, #p do
            local d = g[i] + (o.weight_decay or 0) * p[i]
            if (o.momentum or 0) ~= 0 then
                buffer[i] = step == 1 and d
                    or o.momentum * buffer[i] + (1 - (o.dampening or 0)) * d
                d = o.nesterov and d + o.momentum * buffer[i] or buffer[i]
            end
            p[i] = p[i] - lr * d
        end
    end
    return p
end

local function adam(o, decoupled)
    local p, m, v = { table.unpack(START) }, { 0, 0, 0 }, { 0, 0, 0 }
    local b1, b2 = table.unpack(o.betas or { 0.9, 0.999 })
    for step = 1, STEPS do
        local g = gradient(p)
        for i = 1, #p do
            local d = g[i]
            if decoupled then p[i] = p[i] - o.lr * o.weight_decay * p[i]
            else d = d + (o.weight_decay or 0) * p[i] end
            m[i] = b1 * m[i] + (1 - b1) * d
            v[i] = b2 * v[i] + (1 - b2) * d * d
            local denominator = math.sqrt(v[i]) / math.sqrt(1 - b2 ^ step) + (o.eps or 1e-8)
            p[i] = p[i] - o.lr / (1 - b1 ^ step) * m[i] / denominator
        end
    end
    return p
end

describe("SGD", function()
    for name, o in pairs {
        plain = { lr = 0.1 },
        decay = { lr = 0.1, weight_decay = 0.3 },
        momentum = { lr = 0.05, momentum = 0.9 },
        dampening = { lr = 0.05, momentum = 0.9, dampening = 0.4 },
        nesterov = { lr = 0.05, momentum = 0.8, nesterov = true, weight_decay = 0.1 },
    } do
        it("follows the formula: " .. name, function()
            check.near(run(optim.SGD, o), sgd(o), 2e-6)
        end)
    end

    it("refuses settings that make no sense", function()
        local p = { mare.zeros(1, { requires_grad = true }) }
        check.fails("nesterov needs a momentum", optim.SGD, p, { nesterov = true })
        check.fails("lr must be 0 or more, not %-1", optim.SGD, p, { lr = -1 })
        check.fails("lr must be a number, not x", optim.SGD, p, { lr = "x" })
        check.fails("no option 'learning_rate'", optim.SGD, p, { learning_rate = 1 })
        check.fails("no parameter", optim.SGD, {})
        check.fails("give a list of parameters", optim.SGD, nn.Linear(1, 1))
        check.fails("entry 2 of group 1 is there twice", optim.SGD, { p[1], p[1] })
        check.fails("group 2 has no list 'params'", optim.SGD, { { params = p }, { lr = 1 } })
    end)
end)

describe("Adam", function()
    for name, o in pairs {
        plain = { lr = 0.1 },
        decay = { lr = 0.05, weight_decay = 0.2 },
        betas = { lr = 0.1, betas = { 0.5, 0.9 }, eps = 1e-3 },
    } do
        it("follows the formula: " .. name, function()
            check.near(run(optim.Adam, o), adam(o), 5e-6)
        end)
    end

    it("refuses betas that make no sense", function()
        local p = { mare.zeros(1, { requires_grad = true }) }
        check.fails("betas%[2%] must be in", optim.Adam, p, { betas = { 0.9, 1 } })
        check.fails("betas%[2%] must be in", optim.Adam, p, { betas = { 0.9 } })
    end)
end)

describe("AdamW", function()
    it("follows the formula, with its default decay too", function()
        check.near(run(optim.AdamW, { lr = 0.1, weight_decay = 0.2 }),
            adam({ lr = 0.1, weight_decay = 0.2 }, true), 5e-6)
        check.near(run(optim.AdamW, { lr = 0.1 }), adam({ lr = 0.1, weight_decay = 0.01 }, true),
            5e-6)
    end)
end)

describe("Optimizer", function()
    it("gives groups settings of their own", function()
        local a = mare.ones(1, { requires_grad = true })
        local b = mare.ones(1, { requires_grad = true })
        local opt = optim.SGD({ { params = { a }, lr = 0.5 }, { params = { b } } }, { lr = 0.1 })
        local sum = a + b
        sum:backward()
        opt:step()
        check.near(a, { 0.5 }, 1e-6)
        check.near(b, { 0.9 }, 1e-6)
    end)

    it("leaves parameters without a gradient, frozen ones too", function()
        local layer, other = nn.Linear(2, 1), nn.Linear(2, 1)
        layer.bias.requires_grad = false
        local bias, weight = layer.bias:totable(), other.weight:totable()
        local opt = optim.Adam({ layer.weight, layer.bias, other.weight }, { weight_decay = 1 })
        layer(mare.ones(1, 2)):sum():backward()
        opt:step()
        check.equal(layer.bias, bias)
        check.equal(other.weight, weight)
        check.equal(opt.steps, 1)
    end)

    it("evaluates parameters, loss and what else was assigned in one go", function()
        if os.getenv "MARE_EAGER" == "1" then skip "every operation is evaluated by itself" end
        local norm = nn.BatchNorm1d(2)
        local opt = optim.SGD(norm:parameters(), { lr = 0.1 })
        local loss
        local function step()
            opt:zero_grad()
            loss = norm(mare.tensor { { 1, 2 }, { 3, 5 } }):square():sum()
            loss:backward()
            opt:step()
        end
        step()
        step()
        local before = mare.stats().evals
        step()
        check.equal(mare.stats().evals, before + 1)
        check.truthy(loss:evaluated() and norm.running_mean:evaluated()
            and norm.weight:evaluated())
    end)

    for name, create in pairs { SGD = optim.SGD, Adam = optim.Adam, AdamW = optim.AdamW } do
        it("builds no plan after the second step, whatever the rate does: " .. name, function()
            local options = name == "SGD" and { momentum = 0.9, nesterov = true } or {}
            local model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(),
                nn.Dropout(0.2), nn.Linear(8, 2))
            local opt = create(model:parameters(), options)
            local plans = {}
            for step = 1, 6 do
                opt.groups[1].lr = 0.1 / step
                opt:zero_grad()
                local x = mare.tensor { { step, 1, 2, 3 }, { 0, step, 0, 1 }, { 1, 1, 1, step } }
                local target = mare.tensor({ 0, 1, step % 2 }, { dtype = "i32" })
                local loss = nn.functional.cross_entropy(model(x), target)
                loss:backward()
                opt:step()
                check.truthy(loss:item() == loss:item())
                plans[step] = mare.stats().plans
            end
            check.equal(plans[6], plans[2])
        end)
    end

    it("keeps no graph alive from step to step", function()
        local p, opt = run(optim.Adam, { lr = 0.1 }, 5)
        collectgarbage()
        local nodes = mare.stats().nodes
        for _ = 1, 20 do
            opt:zero_grad()
            loss_of(p):backward()
            opt:step()
        end
        collectgarbage()
        check.truthy(mare.stats().nodes <= nodes + 4, "nodes alive grew to " .. mare.stats().nodes)
    end)

    it("adds up gradients of several backward calls", function()
        local p = mare.ones(1, { requires_grad = true })
        local opt = optim.SGD({ p }, { lr = 0.1 })
        for _ = 1, 3 do (p * 2):sum():backward() end
        opt:step()
        check.near(p, { 1 - 0.6 }, 1e-6)
    end)

    for name, o in pairs {
        SGD = { lr = 0.05, momentum = 0.9 },
        Adam = { lr = 0.1 },
        AdamW = { lr = 0.1 },
    } do
        it("resumes to the bit: " .. name, function()
            local whole = run(optim[name], o, 8)
            local half, opt = run(optim[name], o, 3)
            local p = half:detach():eval()
            p.requires_grad = true
            local other = optim[name]({ p }, { lr = 7 })
            other:load_state_dict(opt:state_dict())
            check.equal(other.groups[1].lr, o.lr)
            for _ = 4, 8 do
                other:zero_grad()
                loss_of(p):backward()
                other:step()
            end
            check.equal(other.steps, 8)
            check.equal(p, whole)
        end)
    end

    it("refuses a state that does not fit", function()
        local _, opt = run(optim.Adam, { lr = 0.1 }, 1)
        local state = opt:state_dict()
        local small = { mare.zeros(2, { requires_grad = true }) }
        check.fails("the state is of Adam", function()
            optim.SGD(small):load_state_dict(state)
        end)
        check.fails("'exp_avg' of parameter 1 is f32 %[3%], and that is f32 %[2%]", function()
            optim.Adam(small):load_state_dict(state)
        end)
        check.fails("group 1 has 2 parameters here, 1 in the state", function()
            optim.Adam { small[1], mare.zeros(3, { requires_grad = true }) }:load_state_dict(state)
        end)
        check.fails("parameter 1 has no 'exp_avg_sq'", function()
            state.state[1].exp_avg_sq = nil
            opt:load_state_dict(state)
        end)
    end)

    for name, o in pairs {
        SGD = { lr = 0.05, momentum = 0.9 },
        Adam = { lr = 0.1 },
        AdamW = { lr = 0.1 },
    } do
        it("changes nothing in a step that fails: " .. name, function()
            local whole = run(optim[name], o, 3)
            local p, opt = run(optim[name], o, 2)
            local before, state = p:totable(), {}
            for k, v in pairs(opt:state_dict().state[1]) do
                state[k] = mare.is_tensor(v) and v:totable() or v
            end
            opt:zero_grad()
            loss_of(p):backward()
            local big = mare.zeros(64 << 20) -- 256 MiB
            mare.set_memory_cap(mare.memory().used + (64 << 20))
            local ok, message = pcall(opt.step, opt, big)
            mare.set_memory_cap(0)
            check.truthy(not ok and tostring(message):find("cap", 1, true), tostring(message))
            check.equal(p, before)
            check.equal(opt.steps, 2)
            for k, v in pairs(opt:state_dict().state[1]) do check.equal(v, state[k], k) end
            opt:step() -- the gradient is there still
            check.equal(p, whole)
            check.equal(opt.steps, 3)
        end)
    end

    it("refuses a step of another shape or dtype before any parameter changes", function()
        local a = mare.tensor({ 1, 2 }, { requires_grad = true })
        local b = mare.tensor({ 3, 4 }, { requires_grad = true, dtype = "f16" })
        local opt = optim.SGD({ a, b }, { lr = 1 })
        local odd = setmetatable({ update = function(stage, p, g)
            stage(p, (p - g):to("f32"))
        end }, { __index = opt.kind })
        opt.kind = odd
        a.grad, b.grad = mare.ones(2), mare.ones(2, { dtype = "f16" })
        check.fails("a step of f16 %[2%] gives f32 %[2%]", function() opt:step() end)
        check.equal(a, { 1, 2 })
        check.equal(opt.steps, 0)
    end)
end)
