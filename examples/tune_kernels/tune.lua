-- Kernels measured before they are needed, kept, and carried to another machine of the same kind:
-- mare examples/tune_kernels/tune.lua [SECONDS [FILE]]
local mare = require "mare"
local nn, tune = mare.nn, mare.tune

local budget, path = tonumber(arg and arg[1]), arg and arg[2]

-- What a program would run in its frames, where nothing may be measured.
mare.set_tuning "known"
local net = nn.Sequential {
    nn.Conv2d(3, 16, 3, { padding = 1 }), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(16 * 16 * 16, 10),
}:eval()
local function frame() return net(mare.zeros(8, 3, 32, 32)):sum():item() end
local before = mare.stats().tuned
frame()
print("measured in a frame", mare.stats().tuned - before)

-- While it loads, say: what is known is not measured again, so this is done once a machine.
local report = tune.kernels { model = net, inputs = mare.randn(8, 3, 32, 32), budget = budget }
print("problems", #report)
print("left", report.left)

before = mare.stats().tuned
frame()
print("measured afterwards", mare.stats().tuned - before)
if path then
    tune.export(path)
    print("records", path)
end
