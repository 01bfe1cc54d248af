local mare = require "mare"
local check = require "check"
local nn = require "mare.nn"
local F = nn.functional

local function names(iterator)
    local list = {}
    for name in iterator do list[#list + 1] = name end
    return list
end

local function net()
    local Block = nn.Module:extend("Block")
    function Block:init(n)
        self.conv = nn.Conv2d(n, n, 3, { padding = 1 })
        self.norm = nn.BatchNorm2d(n)
    end
    function Block:forward(x) return self.norm(self.conv(x)):relu() end

    local Net = nn.Module:extend("Net")
    function Net:init()
        self.stem = nn.Conv2d(1, 4, 3)
        self.blocks = nn.ModuleList { Block(4), Block(4) }
        self.head = nn.Sequential { { "pool", nn.AvgPool2d(2) }, { "flat", nn.Flatten() },
            { "out", nn.Linear(4 * 9, 3) } }
    end
    function Net:forward(x)
        x = self.stem(x)
        for _, block in ipairs(self.blocks) do x = block(x) end
        return self.head(x)
    end
    return Net()
end

describe("Module", function()
    it("names parameters and buffers in order of their definition", function()
        local model = net()
        check.equal(names(model:named_parameters()), {
            "stem.weight", "stem.bias", "blocks.1.conv.weight", "blocks.1.conv.bias",
            "blocks.1.norm.weight", "blocks.1.norm.bias", "blocks.2.conv.weight",
            "blocks.2.conv.bias", "blocks.2.norm.weight", "blocks.2.norm.bias",
            "head.out.weight", "head.out.bias",
        })
        check.equal(names(model:named_buffers()), {
            "blocks.1.norm.running_mean", "blocks.1.norm.running_var",
            "blocks.1.norm.num_batches_tracked", "blocks.2.norm.running_mean",
            "blocks.2.norm.running_var", "blocks.2.norm.num_batches_tracked",
        })
        check.equal(#model:parameters(), 12)
        check.equal(model:num_parameters(), 40 + 2 * (148 + 8) + 36 * 3 + 3)
    end)

    it("counts a shared parameter once and saves it under both names", function()
        local a, b = nn.Linear(2, 2), nn.Linear(2, 2)
        b.weight = a.weight
        local model = nn.Sequential(a, b)
        check.equal(#model:parameters(), 3)
        check.truthy(model:state_dict()["2.weight"] == a.weight)
    end)

    it("takes a tensor that requires a gradient as a parameter, also when frozen", function()
        local Scale = nn.Module:extend("Scale")
        function Scale:init() self.factor = mare.tensor({ 2, 3 }, { requires_grad = true }) end
        function Scale:forward(x) return x * self.factor end
        local scale = Scale()
        check.equal(names(scale:named_parameters()), { "factor" })
        scale:freeze()
        check.equal(names(scale:named_parameters()), { "factor" })
        check.equal(scale:num_parameters(), 2)
        check.equal(scale:num_parameters(true), 0)
        scale:unfreeze()
        check.equal(scale:num_parameters(true), 2)
    end)

    it("switches training and evaluation in the whole tree", function()
        local model = net()
        check.equal(model.head.training, true)
        check.truthy(model:eval() == model)
        for _, module in model:named_modules() do check.equal(module.training, false) end
        model:train()
        for _, module in model:named_modules() do check.equal(module.training, true) end
    end)

    it("applies a function to every module, children first", function()
        local seen = {}
        net():apply(function(_, path) seen[#seen + 1] = path end)
        check.equal(seen[#seen], "")
        check.equal(#seen, 13)
    end)

    it("clears gradients", function()
        local layer = nn.Linear(2, 1)
        layer(mare.ones(3, 2)):sum():backward()
        check.equal(layer.bias.grad, { 3 })
        layer:zero_grad()
        check.equal(layer.bias.grad, nil)
    end)

    it("saves and loads", function()
        check.in_folder(function(folder)
            local a, b = net(), net()
            local x = mare.randn(2, 1, 8, 8)
            a(x):eval() -- moves the running statistics
            a:save(folder .. "/net.safetensors", { note = "kept" })
            local result, metadata = b:load(folder .. "/net.safetensors")
            check.equal(result, { missing = {}, unexpected = {} })
            check.equal(metadata.note, "kept")
            a:eval()
            b:eval()
            check.equal(b(x), a(x))
        end)
    end)

    it("tells what a state lacks, has too much, and what does not fit; then changes nothing",
        function()
            local layer = nn.Linear(2, 3)
            local before = layer.bias:totable()
            local text = check.fails("load_state_dict of Linear: missing: bias; "
                .. "unexpected: extra, more; do not fit: weight is %[3, 2%] here and %[2, 3%]",
                layer.load_state_dict, layer,
                { weight = mare.zeros(2, 3), extra = mare.zeros(1), more = mare.zeros(1) })
            check.truthy(text)
            check.fails("missing: weight", layer.load_state_dict, layer, { bias = mare.zeros(3) })
            check.equal(layer.bias, before)
            local result = layer:load_state_dict({ bias = mare.ones(3), more = mare.zeros(1) },
                { strict = false })
            check.equal(result, { missing = { "weight" }, unexpected = { "more" } })
            check.equal(layer.bias, { 1, 1, 1 })
        end)

    it("keeps the tensors when it loads, so that an optimizer goes on with them", function()
        local layer = nn.Linear(1, 1)
        local weight = layer.weight
        layer:load_state_dict { weight = mare.full({ 1, 1 }, 5), bias = mare.zeros(1) }
        check.truthy(layer.weight == weight)
        check.equal(weight, { { 5 } })
        check.equal(weight.requires_grad, true)
    end)

    it("names the failing module by its path, once, with the script's line", function()
        local model = net()
        model.blocks[2].conv = nn.Conv2d(5, 4, 3)
        local text = check.fails("in blocks%.2%.conv %(Conv2d%): ", model, mare.zeros(2, 1, 8, 8))
        check.truthy(text:find("nn_spec.lua:%d+: in "), text)
        local _, count = text:gsub("in blocks", "")
        check.equal(count, 1)
        check.fails("in head%.out %(Linear%): expected %[%.%.%., 36%], got %[2, 16%]", net(),
            mare.zeros(2, 1, 6, 6))
        check.fails("in Linear: ", nn.Linear(2, 3), mare.zeros(2, 5))
    end)

    it("lets an interrupt pass unchanged", function()
        local Stopped = nn.Module:extend("Stopped")
        function Stopped.forward() error("interrupted", 0) end
        check.fails("^interrupted$", nn.Sequential(Stopped()), mare.zeros(1))
    end)

    it("refuses what would silently go wrong", function()
        local module = nn.Module()
        check.fails("plain table of modules", function() module.list = { nn.ReLU() } end)
        check.fails("is a method", function() module.train = nn.ReLU() end)
        check.fails("has a dot", function() module["a.b"] = nn.ReLU() end)
        check.fails("no forward", module, 1)
        check.fails("a name is needed", function() nn.Module:extend() end)
    end)

    it("prints as a tree", function()
        local text = tostring(nn.Sequential { { "fc", nn.Linear(100, 50) }, { "act", nn.ReLU() } })
        check.equal(text, "Sequential\n  fc: Linear(100, 50)  5,050\n  act: ReLU\n5,050 parameters")
    end)

    it("changes the element type of floats alone", function()
        local norm = nn.BatchNorm1d(2):to("f16")
        check.equal(norm.weight.dtype, "f16")
        check.equal(norm.running_var.dtype, "f16")
        check.equal(norm.num_batches_tracked.dtype, "i32")
        check.equal(norm.weight.requires_grad, true)
        check.equal(norm.running_var.requires_grad, false)
        check.equal(names(norm:named_parameters()), { "weight", "bias" })
    end)
end)

describe("Sequential", function()
    it("runs lists, arguments and names in order", function()
        local x = mare.tensor { { -1, 2 } }
        check.equal(nn.Sequential(nn.ReLU(), nn.Identity())(x), { { 0, 2 } })
        check.equal(nn.Sequential { nn.ReLU() }(x), { { 0, 2 } })
        check.equal(nn.Sequential {}(x), { { -1, 2 } })
        local named = nn.Sequential { { "act", nn.ReLU() } }:add(nn.Flatten(1), "flat")
        check.equal(named(x), { 0, 2 })
        check.truthy(named.act)
    end)

    it("refuses entries that are no modules, names twice, and unordered names", function()
        check.fails("entry 2 is a number, not a module", nn.Sequential, { nn.ReLU(), 3 })
        check.fails("two entries named 'a'", nn.Sequential,
            { { "a", nn.ReLU() }, { "a", nn.ReLU() } })
        check.fails("order of 'fc' is unknown", nn.Sequential, { fc = nn.ReLU() })
        check.fails("entry 1 is nil", nn.Sequential, { { "a" } })
    end)
end)

describe("Linear", function()
    it("computes x W^T + b over the last dimension", function()
        local layer = nn.Linear(3, 2)
        layer:load_state_dict { weight = mare.tensor { { 1, 2, 3 }, { 4, 5, 6 } },
            bias = mare.tensor { 0.5, -1 } }
        check.near(layer(mare.tensor { { 1, 0, -1 }, { 2, 1, 0 } }),
            { { -1.5, -3 }, { 4.5, 12 } }, 1e-6)
        check.near(layer(mare.tensor { { { 1, 0, -1 } } }), { { { -1.5, -3 } } }, 1e-6)
        check.equal(nn.Linear(3, 2, { bias = false }).bias, nil)
    end)

    it("starts uniform within 1 / sqrt(inputs)", function()
        mare.manual_seed(3)
        local layer = nn.Linear(400, 50)
        local top, low = layer.weight:max():item(), layer.weight:min():item()
        check.truthy(top <= 0.05 and top > 0.0499)
        check.truthy(low >= -0.05 and low < -0.0499)
        check.near(layer.weight:std():item(), 0.05 / math.sqrt(3), 2e-4)
        check.truthy(layer.bias:abs():max():item() <= 0.05)
    end)

    it("refuses sizes and options that make no sense", function()
        check.fails("inputs must be a whole number, 1 or more, not 0", nn.Linear, 0, 2)
        check.fails("outputs must be a whole number, 1 or more, not nil", nn.Linear, 2)
        check.fails("not 2.5", nn.Linear, 2.5, 2)
        check.fails("there is no option 'bais'", nn.Linear, 2, 2, { bais = false })
    end)
end)

describe("Pooling", function()
    it("takes the largest and the mean", function()
        local x = mare.arange(16, { dtype = "f32" }):reshape(1, 1, 4, 4)
        check.equal(nn.MaxPool2d(2)(x), { { { { 5, 7 }, { 13, 15 } } } })
        check.equal(nn.AvgPool2d(2)(x), { { { { 2.5, 4.5 }, { 10.5, 12.5 } } } })
        check.equal(nn.MaxPool2d(3, { stride = 1 })(x), { { { { 10, 11 }, { 14, 15 } } } })
        check.equal(nn.MaxPool2d(3, { ceil_mode = true })(x).shape, { 1, 1, 2, 2 })
        check.fails("no option 'exclude'", nn.AvgPool2d, 2, { exclude = true })
    end)
end)

-- Mean and variance over the given lists of numbers.
local function moments(list, correction)
    local mean, var = 0, 0
    for _, v in ipairs(list) do mean = mean + v / #list end
    for _, v in ipairs(list) do var = var + (v - mean) ^ 2 / (#list - correction) end
    return mean, var
end

describe("BatchNorm", function()
    local batches = { { { 1, 10 }, { 2, 30 }, { 6, 20 } }, { { 0, 5 }, { 3, 5 }, { 4, 11 } } }
    local function column(batch, c)
        local list = {}
        for i, row in ipairs(batch) do list[i] = row[c] end
        return list
    end

    it("normalises by the batch and tracks running statistics", function()
        local norm = nn.BatchNorm1d(2)
        local means, vars = { 0, 0 }, { 1, 1 }
        for _, batch in ipairs(batches) do
            local y = norm(mare.tensor(batch))
            mare.eval(y)
            for c = 1, 2 do
                local mean, var = moments(column(batch, c), 0)
                for i = 1, 3 do
                    check.near(y[i][c]:item(), (batch[i][c] - mean) / math.sqrt(var + 1e-5), 1e-5)
                end
                local _, unbiased = moments(column(batch, c), 1)
                means[c] = 0.9 * means[c] + 0.1 * mean
                vars[c] = 0.9 * vars[c] + 0.1 * unbiased
            end
            check.near(norm.running_mean, means, 1e-6)
            check.near(norm.running_var, vars, 1e-6)
        end
        check.equal(norm.num_batches_tracked:item(), 2)
        norm:eval()
        local y = norm(mare.tensor(batches[1]))
        for c = 1, 2 do
            check.near(y[1][c]:item(), (batches[1][1][c] - means[c]) / math.sqrt(vars[c] + 1e-5),
                1e-5)
        end
        check.equal(norm.num_batches_tracked:item(), 2)
    end)

    it("averages all batches without a momentum", function()
        local norm = nn.BatchNorm1d(2, { momentum = false })
        for _, batch in ipairs(batches) do mare.eval(norm(mare.tensor(batch))) end
        local a, b = moments(column(batches[1], 1), 1), moments(column(batches[2], 1), 1)
        check.near(norm.running_mean[1]:item(), (a + b) / 2, 1e-6)
    end)

    it("sends gradients through the statistics", function()
        local norm = nn.BatchNorm2d(2)
        local x = mare.randn(3, 2, 4, 4, { requires_grad = true })
        local y = norm(x) * mare.randn(3, 2, 4, 4)
        y:sum():backward()
        -- What normalisation takes away has no gradient.
        check.near(x.grad:sum({ 1, 3, 4 }), { 0, 0 }, 1e-4)
        check.near((x.grad * x:detach()):sum({ 1, 3, 4 }), { 0, 0 }, 1e-3)
    end)

    it("works on the batch alone without running statistics or an affine part", function()
        local norm = nn.BatchNorm1d(2, { track_running_stats = false, affine = false }):eval()
        check.equal(norm:state_dict(), {})
        check.near(norm(mare.tensor(batches[1])):mean(1), { 0, 0 }, 1e-6)
    end)

    it("refuses one value a channel and other shapes", function()
        local norm = nn.BatchNorm1d(2)
        check.fails("more than one value a channel, got %[1, 2%]", norm, mare.zeros(1, 2))
        check.equal(norm:eval()(mare.zeros(1, 2)).shape, { 1, 2 })
        check.fails("expected %[N, 2%] or %[N, 2, L%], got %[4, 3%]", norm, mare.zeros(4, 3))
        check.fails("expected %[N, 2, H, W%]", nn.BatchNorm2d(2), mare.zeros(4, 2))
    end)
end)

describe("Dropout", function()
    it("drops a share and keeps the mean, and does nothing in evaluation", function()
        mare.manual_seed(5)
        local drop, x = nn.Dropout(0.25), mare.ones(100, 100)
        local y = drop(x):eval()
        check.near(y:eq(0):to("f32"):mean():item(), 0.25, 0.02)
        check.near(y:max():item(), 4 / 3, 1e-6)
        check.near(y:mean():item(), 1, 0.03)
        check.truthy(drop:eval()(x) == x)
        check.equal(nn.Dropout(1)(mare.ones(2)), { 0, 0 })
        check.fails("p must be a number from 0 to 1, not 1.5", nn.Dropout, 1.5)
    end)

    it("passes gradients only where it kept", function()
        local x = mare.ones(50, { requires_grad = true })
        local y = nn.Dropout(0.5)(x)
        y:sum():backward()
        mare.eval(y, x.grad)
        check.equal(x.grad, y)
    end)
end)

describe("Activations", function()
    local points = { -3, -0.5, 0, 0.5, 3 }
    local function sigmoid(v) return 1 / (1 + math.exp(-v)) end
    local function softmax(log)
        local sum, list = 0, {}
        for _, v in ipairs(points) do sum = sum + math.exp(v) end
        for i, v in ipairs(points) do
            list[i] = log and v - math.log(sum) or math.exp(v) / sum
        end
        return list
    end
    local function each(f)
        local list = {}
        for i, v in ipairs(points) do list[i] = f(v) end
        return list
    end
    local expected = {
        { nn.ReLU(), each(function(v) return math.max(v, 0) end) },
        { nn.LeakyReLU(), each(function(v) return v > 0 and v or 0.01 * v end) },
        { nn.LeakyReLU(0.2), each(function(v) return v > 0 and v or 0.2 * v end) },
        { nn.ELU(), each(function(v) return v > 0 and v or math.exp(v) - 1 end) },
        { nn.ELU(2), each(function(v) return v > 0 and v or 2 * (math.exp(v) - 1) end) },
        { nn.SiLU(), each(function(v) return v * sigmoid(v) end) },
        { nn.Sigmoid(), each(sigmoid) },
        { nn.Tanh(), each(function(v) return 2 * sigmoid(2 * v) - 1 end) },
        { nn.GELU(), { -0.00404969, -0.15426877, 0, 0.34573123, 2.99595031 } },
        { nn.Softmax(), softmax(false) },
        { nn.LogSoftmax(), softmax(true) },
        { nn.Identity(), points },
    }
    for _, case in ipairs(expected) do
        it((tostring(case[1]):match("^[^\n]*")), function()
            check.near(case[1](mare.tensor(points)), case[2], 2e-6)
        end)
    end
end)

describe("Losses", function()
    local logits = { { 1, 2, 0.5 }, { -1, 0, 3 } }
    local function nll(row, class)
        local sum = 0
        for _, v in ipairs(row) do sum = sum + math.exp(v) end
        return math.log(sum) - row[class + 1]
    end
    local a, b = nll(logits[1], 1), nll(logits[2], 0)
    local target = { 1, 0 }

    it("CrossEntropyLoss with its reductions and smoothing", function()
        local x, t = mare.tensor(logits), mare.tensor(target, { dtype = "i32" })
        check.near(nn.CrossEntropyLoss()(x, t):item(), (a + b) / 2, 1e-6)
        check.near(nn.CrossEntropyLoss { reduction = "sum" }(x, t):item(), a + b, 1e-6)
        check.near(nn.CrossEntropyLoss { reduction = "none" }(x, t), { a, b }, 1e-6)
        local all = 0
        for class = 0, 2 do all = all + (nll(logits[1], class) + nll(logits[2], class)) / 3 end
        check.near(nn.CrossEntropyLoss { label_smoothing = 0.1 }(x, t):item(),
            0.9 * (a + b) / 2 + 0.1 * all / 2, 1e-6)
        check.near(nn.NLLLoss()(x:log_softmax(2), t):item(), (a + b) / 2, 1e-6)
    end)

    it("refuses classes out of range, wherever they come from", function()
        local x = mare.tensor(logits)
        for _, bad in ipairs { { 1, 3 }, { -3, 0 } } do
            check.fails("in CrossEntropyLoss: cross_entropy: class %-?3 in the target", function()
                nn.CrossEntropyLoss()(x, mare.tensor(bad, { dtype = "i32" })):item()
            end)
        end
        check.fails("no option 'weights'", nn.CrossEntropyLoss, { weights = {} })
        check.fails("reduction", nn.CrossEntropyLoss { reduction = "avg" }, x,
            mare.tensor(target, { dtype = "i32" }))
    end)

    it("MSELoss, L1Loss, BCELoss, BCEWithLogitsLoss", function()
        local p, t = mare.tensor { 0.2, 0.9 }, mare.tensor { 0, 1 }
        check.near(nn.MSELoss()(p, t):item(), (0.04 + 0.01) / 2, 1e-6)
        check.near(nn.L1Loss { reduction = "sum" }(p, t):item(), 0.3, 1e-6)
        local bce = -(math.log(0.8) + math.log(0.9)) / 2
        check.near(nn.BCELoss()(p, t):item(), bce, 1e-6)
        check.near(nn.BCEWithLogitsLoss()((p / (1 - p)):log(), t):item(), bce, 1e-6)
        check.fails("in MSELoss: ", nn.MSELoss(), mare.zeros(2, 3), mare.zeros(2, 4))
    end)
end)

describe("init", function()
    it("computes fans and bounds as PyTorch does", function()
        check.equal({ nn.init.fans { 8, 4, 3, 3 } }, { 36, 72 })
        check.fails("no fan", nn.init.fans, { 3 })
        check.near(nn.init.gain("relu"), math.sqrt(2), 1e-12)
        check.fails("unknown nonlinearity", nn.init.gain, "step")
        mare.manual_seed(7)
        local w = mare.zeros(300, 200)
        check.truthy(nn.init.kaiming_uniform(w, { a = math.sqrt(5) }) == w)
        check.near(w:abs():max():item(), 1 / math.sqrt(200), 1e-4)
        check.near(nn.init.kaiming_normal(w, { nonlinearity = "relu", mode = "fan_out" })
            :std():item(), math.sqrt(2 / 300), 1e-3)
        check.near(nn.init.xavier_uniform(w):std():item(), math.sqrt(2 / 500), 1e-3)
        check.near(nn.init.xavier_normal(w, 2):std():item(), 2 * math.sqrt(2 / 500), 2e-3)
        check.near(nn.init.normal(w, 3, 0.5):mean():item(), 3, 0.01)
        check.equal(nn.init.constant(mare.zeros(2), 4), { 4, 4 })
        check.equal(nn.init.ones(mare.zeros(2)), { 1, 1 })
        check.fails("mode", nn.init.kaiming_normal, w, { mode = "fan" })
    end)

    it("sets a parameter in place without a trace in its gradient", function()
        local layer = nn.Linear(2, 2)
        nn.init.zeros(layer.weight)
        check.equal(layer.weight, { { 0, 0 }, { 0, 0 } })
        check.equal(layer.weight.requires_grad, true)
        layer(mare.ones(1, 2)):sum():backward()
        check.equal(layer.weight.grad, { { 1, 1 }, { 1, 1 } })
    end)
end)

describe("functional", function()
    it("has the forms of the layers", function()
        check.near(F.linear(mare.ones(1, 2), mare.ones(3, 2)), { { 2, 2, 2 } }, 1e-6)
        check.equal(F.max_pool2d(mare.ones(1, 1, 2, 2), { kernel = 2 }), { { { { 1 } } } })
        check.equal(F.avg_pool2d(mare.ones(1, 1, 2, 2), { kernel = 2 }), { { { { 1 } } } })
        check.near(F.conv2d(mare.ones(1, 1, 3, 3), mare.ones(1, 1, 3, 3), mare.ones(1)),
            { { { { 10 } } } }, 1e-6)
        check.truthy(F.dropout(mare.ones(1), 0.5, false))
        check.near(F.bce_with_logits(mare.zeros(1), mare.ones(1)):item(), math.log(2), 1e-6)
        check.near(F.bce_loss(mare.full({ 1 }, 0.5), mare.ones(1)):item(), math.log(2), 1e-6)
        check.equal(F.l1_loss(mare.zeros(1), mare.ones(1)):item(), 1)
    end)
end)

describe("help", function()
    for _, module in ipairs { "nn", "optim", "data", "metrics", "train" } do
        it("knows all of mare." .. module, function()
            for name, value in pairs(mare[module]) do
                local kind = type(value)
                if kind == "function" or kind == "table" and (rawget(value, "_name")) then
                    check.truthy(mare.help(module .. "." .. name), module .. "." .. name)
                end
            end
        end)
    end
end)
