-- Fits y = 3 x1 - 2 x2 + 1 from noisy samples: mare examples/linear_regression/train.lua
local mare = require "mare"
local nn, optim = require "mare.nn", require "mare.optim"

mare.manual_seed(1)
local x = mare.randn(256, 2)
local y = x:matmul(mare.tensor { { 3 }, { -2 } }) + 1 + mare.randn(256, 1) * 0.005
mare.eval(x, y)

local model = nn.Linear(2, 1)
local opt = optim.SGD(model:parameters(), { lr = 0.1 })
for step = 1, 100 do
    opt:zero_grad()
    local loss = nn.functional.mse_loss(model(x), y)
    loss:backward()
    opt:step()
    if step % 20 == 0 then print(("step %3d  loss %.5f"):format(step, loss:item())) end
end
print("weight", model.weight)
print("bias", model.bias)
