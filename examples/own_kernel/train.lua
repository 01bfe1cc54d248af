-- An activation of one's own, as GLSL with a gradient, in a network on MNIST:
-- mare examples/own_kernel/train.lua [DIR with MNIST]
local mare = require "mare"
local nn, optim, data = mare.nn, mare.optim, mare.data

-- Squareplus (Barron 2021): a smooth bend in place of ReLU's corner, without exponentials. The bias
-- is added in the same pass over memory.
local slope = mare.kernel {
    name = "squareplus_slope", inputs = { "x", "bias", "gy" }, outputs = { "gx" },
    glsl = [[
        float v = x[i] + bias[i % bias_size];
        gx[i] = gy[i] * 0.5 * (1.0 + v * inversesqrt(v * v + 4.0));
    ]],
    reference = function(x, bias, gy)
        local v = x + bias
        return gy * 0.5 * (1 + v / (v * v + 4):sqrt())
    end,
}
local squareplus = mare.kernel {
    name = "squareplus", inputs = { "x", "bias" }, outputs = { "y" },
    glsl = [[
        float v = x[i] + bias[i % bias_size];
        y[i] = 0.5 * (v + sqrt(v * v + 4.0));
    ]],
    vjp = function(ctx, gy)
        local gx = slope(ctx.inputs[1], ctx.inputs[2], gy)
        return gx, gx:sum(1)
    end,
    reference = function(x, bias)
        local v = x + bias
        return 0.5 * (v + (v * v + 4):sqrt())
    end,
}
squareplus:check(mare.randn(3, 4), mare.randn(4))

mare.manual_seed(1)
local train_set, test_set = data.mnist { dir = arg and arg[1], limit = 10000 }
local hidden, output = nn.Linear(784, 128, { bias = false }), nn.Linear(128, 10)
local bias = mare.zeros(128, { requires_grad = true })
local function model(x) return output(squareplus(hidden(x:reshape(-1, 784)), bias)) end

local parameters = { hidden.weight, bias, output.weight, output.bias }
local opt = optim.Adam(parameters, { lr = 2e-3 })
for epoch = 1, 3 do
    local total, n = 0, 0
    for x, y in data.DataLoader(train_set, { batch = 64, shuffle = true, seed = epoch }):iter() do
        local loss = model(x):cross_entropy(y)
        opt:zero_grad()
        loss:backward()
        opt:step()
        total, n = total + loss:item(), n + 1
    end
    print(("epoch %d  loss %.4f"):format(epoch, total / n))
end

local right, seen = 0, 0
for x, y in data.DataLoader(test_set, { batch = 500 }):iter() do
    right = right + mare.no_grad(model, x):argmax(2):eq(y):sum():item()
    seen = seen + y:numel()
end
print("test accuracy", 100 * right / seen)
