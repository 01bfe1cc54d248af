-- Learns exclusive or with plain tensors and gradients: mare examples/xor/train.lua
local mare = require "mare"

mare.manual_seed(2)
local x = mare.tensor { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 } }
local y = mare.tensor { { 0 }, { 1 }, { 1 }, { 0 } }
local parameters = { mare.randn(2, 8), mare.zeros(8), mare.randn(8, 1), mare.zeros(1) }
mare.eval(parameters)
for _, p in ipairs(parameters) do p.requires_grad = true end
local w1, b1, w2, b2 = table.unpack(parameters)

local function predict() return (x:matmul(w1) + b1):tanh():matmul(w2) + b2 end

for step = 1, 300 do
    local loss = mare.bce_with_logits(predict(), y)
    loss:backward()
    mare.no_grad(function()
        for _, p in ipairs(parameters) do
            p:assign(p - p.grad * 0.5)
            p.grad = nil
        end
    end)
    mare.eval(loss, parameters)
    if step % 100 == 0 then print(("step %d  loss %.4f"):format(step, loss:item())) end
end
print(predict():sigmoid())
