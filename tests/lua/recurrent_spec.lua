local mare = require "mare"
local check = require "check"
local nn, optim = mare.nn, mare.optim

local function names(iterator)
    local list = {}
    for name in iterator do list[#list + 1] = name end
    return list
end

describe("recurrent layers", function()
    it("have PyTorch's parameters", function()
        local lstm = nn.LSTM(3, 4, { num_layers = 2, bidirectional = true, proj_size = 2 })
        check.equal(names(lstm:named_parameters()), {
            "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0",
            "weight_ih_l0_reverse", "weight_hh_l0_reverse", "bias_ih_l0_reverse",
            "bias_hh_l0_reverse", "weight_hr_l0_reverse",
            "weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1", "weight_hr_l1",
            "weight_ih_l1_reverse", "weight_hh_l1_reverse", "bias_ih_l1_reverse",
            "bias_hh_l1_reverse", "weight_hr_l1_reverse",
        })
        check.equal(tostring(lstm.weight_ih_l1.shape), "[16, 4]")
        check.equal(tostring(lstm.weight_hh_l0.shape), "[16, 2]")
        check.truthy(lstm.weight_ih_l0:abs():max():item() <= 0.5)
        check.equal(names(nn.GRUCell(2, 3, { bias = false }):named_parameters()),
            { "weight_ih", "weight_hh" })
        check.equal(tostring(nn.RNN(2, 3, { nonlinearity = "relu" })):match("^RNN%b()"),
            "RNN(2, 3, nonlinearity=relu)")
    end)

    it("give what their cells give step by step", function()
        local x = mare.randn(4, 2, 3)
        for name, kind in pairs { RNN = nn.RNN, LSTM = nn.LSTM, GRU = nn.GRU } do
            local layer, cell = kind(3, 5), nn[name .. "Cell"](3, 5)
            for _, p in ipairs { "weight_ih", "weight_hh", "bias_ih", "bias_hh" } do
                cell[p] = layer[p .. "_l0"]
            end
            local y, last = layer(x)
            local h, c
            for t = 1, 4 do
                local state = h
                if name == "LSTM" and h then state = { h, c } end
                h, c = cell(x[t], state)
                check.near(y[t], h:totable(), 1e-5, name)
            end
            check.near(last[1], h:totable(), 1e-5, name)
        end
    end)

    it("run sequences of several lengths as if each were alone", function()
        local lengths = { 3, 5, 1 }
        local layer = nn.LSTM(2, 3, { num_layers = 2, bidirectional = true, batch_first = true })
        local rows = {}
        for i, n in ipairs(lengths) do rows[i] = mare.randn(n, 2) end
        local x = mare.pad_sequence(rows, { batch_first = true, padding_value = 7 })
        x.requires_grad = true
        local y, h, c = layer(x, nil, { lengths = lengths })
        check.equal(tostring(y.shape), "[3, 5, 6]")
        y:sum():backward()
        for i, n in ipairs(lengths) do
            local own, own_h, own_c = layer(rows[i])
            check.near(y[{ i, { 1, n } }], own:totable(), 1e-5)
            check.near(h[{ {}, i }], own_h:totable(), 1e-5)
            check.near(c[{ {}, i }], own_c:totable(), 1e-5)
            if n < 5 then
                check.equal(y[{ i, { n + 1, 5 } }]:abs():max():item(), 0)
                check.equal(x.grad[{ i, { n + 1, 5 } }]:abs():max():item(), 0)
            end
        end
        local as_tensor = layer(x, nil, { lengths = mare.tensor(lengths, { dtype = "i32" }) })
        check.equal(as_tensor, y:totable())
    end)

    it("drop between layers in training alone", function()
        local layer = nn.GRU(2, 8, { num_layers = 2, dropout = 0.5 })
        local x = mare.randn(3, 2, 2)
        local a = layer(x)
        mare.eval(a)
        local b = layer(x)
        check.truthy((a - b):abs():max():item() > 0)
        layer:eval()
        check.equal(layer(x), layer(x):totable())
        local single = nn.GRU(2, 8, { dropout = 0.5 })
        check.equal(single(x), single(x):totable())
    end)

    it("take half precision", function()
        local layer = nn.LSTM(3, 4):to("f16")
        local y, h, c = layer(mare.randn(2, 2, 3):half())
        check.equal({ y.dtype, h.dtype, c.dtype }, { "f16", "f16", "f16" })
    end)

    it("learn", function()
        mare.manual_seed(3)
        local Net = nn.Module:extend("Net")
        function Net:init()
            self.lstm = nn.LSTM(1, 8)
            self.out = nn.Linear(8, 1)
        end
        function Net:forward(x)
            local _, h = self.lstm(x)
            return self.out(h[1])
        end
        local net = Net()
        local opt = optim.Adam(net:parameters(), { lr = 0.02 })
        local x = mare.uniform({ 6, 16, 1 }, -1, 1)
        local target = x:sum(1)
        local first, last
        for _ = 1, 30 do
            local loss = net(x):mse_loss(target)
            opt:zero_grad()
            loss:backward()
            opt:step()
            last = loss:item()
            first = first or last
        end
        check.truthy(last < 0.3 * first, ("from %g to %g"):format(first, last))
    end)

    it("refuse what does not fit", function()
        local layer = nn.GRU(2, 3)
        check.fails("weight_ih_l0 must be %[9, 5%]", layer, mare.zeros(4, 2, 5))
        check.fails("hx must be %[1, 2, 3%]", layer, mare.zeros(4, 2, 2), mare.zeros(1, 2, 4))
        check.fails("input must be %[T, N, features%]", layer, mare.zeros(2))
        check.fails("has no step", layer, mare.zeros(0, 2, 2))
        check.fails("takes floats", layer, mare.zeros(4, 2, 2, { dtype = "i32" }))
        check.fails("lengths lie in 0..4, not 1..5", layer, mare.zeros(4, 2, 2), nil,
            { lengths = { 5, 1 } })
        check.fails("lengths must be %[2%]", layer, mare.zeros(4, 2, 2), nil, { lengths = { 4 } })
        check.fails("those of a batch", layer, mare.zeros(4, 2), nil, { lengths = { 4 } })
        check.fails("a table {h, c}", nn.LSTM(2, 3), mare.zeros(4, 2), mare.zeros(1, 3))
        check.fails("proj_size", nn.LSTM, 2, 3, { proj_size = 3 })
        check.fails("no option 'proj_size'", nn.GRU, 2, 3, { proj_size = 2 })
        check.fails("nonlinearity", nn.RNN, 2, 3, { nonlinearity = "sine" })
        check.fails("3 weights", mare.gru, mare.zeros(4, 2, 2), nil,
            { layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0 })
        check.fails("dropout 2", mare.gru, mare.zeros(4, 2, 2), nil,
            { layer.weight_ih_l0, layer.weight_hh_l0 }, { dropout = 2 })
        check.fails("first dimension alone", mare.pad_sequence,
            { mare.zeros(2, 3), mare.zeros(2, 4) })
        check.fails("hx must be %[3%]", nn.GRUCell(2, 3), mare.zeros(2), mare.zeros(4))
    end)
end)

describe("ctc_loss", function()
    it("has PyTorch's gradient behind log_softmax, and none where nothing fits", function()
        local x = mare.randn(4, 2, 3, { requires_grad = true })
        local loss = mare.ctc_loss(x:log_softmax(-1), { { 1, 2 }, { 1, 1 } }, { 4, 2 }, { 2, 2 },
            { reduction = "none" })
        check.equal(loss[2]:item(), math.huge)
        loss[1]:backward()
        check.near(x.grad:sum(3), mare.zeros(4, 2):totable(), 1e-6)
        check.equal(x.grad[{ {}, 2 }]:abs():max():item(), 0)
        check.truthy(x.grad[{ {}, 1 }]:abs():max():item() > 0)
    end)

    it("takes targets in a row and empty ones", function()
        local x = mare.randn(5, 3, 4):log_softmax(-1)
        local function loss(targets)
            return mare.ctc_loss(x, targets, { 5, 4, 5 }, { 2, 0, 1 }, { reduction = "none" })
        end
        local padded = loss { { 1, 2 }, { 0, 0 }, { 3, 0 } }
        check.near(loss { 1, 2, 3 }, padded:totable(), 1e-6)
        check.near(padded[2]:item(), -x[{ { 1, 4 }, 2, 1 }]:sum():item(), 1e-6)
    end)

    it("refuses what does not fit", function()
        local x = mare.randn(5, 2, 4):log_softmax(-1)
        local targets = { { 1, 2 }, { 3, 0 } }
        check.fails("input_lengths lie in 0..5, not 2..6", mare.ctc_loss, x, targets, { 6, 2 },
            { 2, 1 })
        check.fails("target_lengths lie in 0..2", mare.ctc_loss, x, targets, { 5, 5 }, { 3, 1 })
        check.fails("target_lengths must be %[2%]", mare.ctc_loss, x, targets, { 5, 5 }, { 1 })
        check.fails("lie in 0..3, not %-1..4", mare.ctc_loss, x, { { 1, 4 }, { 3, -1 } },
            { 5, 5 }, { 2, 1 })
        check.fails("blank 4", mare.ctc_loss, x, targets, { 5, 5 }, { 2, 1 }, { blank = 4 })
        check.fails("add up to 4, but there are 3", mare.ctc_loss, x, { 1, 2, 3 }, { 5, 5 },
            { 2, 2 })
        check.fails("take targets", mare.ctc_loss, x, { { 1, 2 } }, { 5, 5 }, { 2, 1 })
        check.fails("must be %[T, N, C%]", mare.ctc_loss, mare.zeros(3), targets, { 5, 5 },
            { 2, 1 })
        x = mare.randn(5, 2, 4, { requires_grad = true })
        local loss = mare.ctc_loss(x, targets, { 5, 5 }, { 2, 1 })
        local gradient = mare.gradients(loss, { x })[1]
        check.fails("no second derivative", mare.gradients, gradient:square():sum(), { x })
    end)
end)

describe("CRF", function()
    it("learns which tags follow each other", function()
        mare.manual_seed(5)
        local layer = nn.CRF(3)
        check.equal(names(layer:named_parameters()),
            { "transitions", "start_transitions", "end_transitions" })
        local emissions = mare.zeros(5, 2, 3)
        local tags, lengths = { { 0, 1 }, { 1, 2 }, { 2, 0 }, { 0, 1 }, { 1, 0 } }, { 5, 4 }
        local opt = optim.Adam(layer:parameters(), { lr = 0.3 })
        local first, last
        for _ = 1, 20 do
            local loss = -layer(emissions, tags, { lengths = lengths }):mean()
            opt:zero_grad()
            loss:backward()
            opt:step()
            last = loss:item()
            first = first or last
        end
        check.truthy(last < 0.3 * first, ("from %g to %g"):format(first, last))
        -- Nothing but the chain tells the tags, so from 1 on they must be those of row 2.
        emissions = mare.tensor { { { 0, 9, 0 } }, { { 0, 0, 0 } }, { { 0, 0, 0 } },
            { { 0, 0, 0 } } }
        check.equal(layer:decode(emissions), { { 1 }, { 2 }, { 0 }, { 1 } })
        check.equal(layer:decode(emissions, { lengths = { 2 } }), { { 1 }, { 2 }, { 0 }, { 0 } })
    end)

    it("refuses what does not fit", function()
        local layer = nn.CRF(3)
        local x, tags = mare.zeros(4, 2, 3), mare.zeros(4, 2, { dtype = "i32" })
        check.fails("transitions must be floats %[2, 2%]", layer, mare.zeros(4, 2, 2), tags)
        check.fails("tags must be integers %[4, 2%]", layer, x, mare.zeros(2, 4, { dtype = "i32" }))
        check.fails("lie in 0..2, not 3..3", layer, x, tags + 3)
        check.fails("must be 1 or more", layer, x, tags, { lengths = { 0, 4 } })
        check.fails("lie in 0..4", layer, x, tags, { lengths = { 5, 4 } })
        check.fails("no step", layer.decode, layer, mare.zeros(0, 2, 3))
    end)
end)
