-- Trains a small convolutional network on MNIST: mare examples/mnist/train.lua [options]
local mare = require "mare"
local nn, optim, data = require "mare.nn", require "mare.optim", require "mare.data"
local metrics, train = require "mare.metrics", require "mare.train"

local usage = "options: --data DIR  --epochs N  --batch N  --limit N  --out DIR  --resume"
    .. "  --seed N  --digits"
local options = { epochs = 1, batch = 64, seed = 1, out = "runs/mnist" }
local kinds = { data = "text", out = "text", epochs = "number", batch = "number",
    limit = "number", seed = "number", resume = "flag", digits = "flag" }
local i = 1
while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$")
    local kind, value = kinds[name], nil
    if kind == "flag" then
        value = true
    elseif kind then
        i = i + 1
        value = kind == "number" and math.tointeger(tonumber(arg[i])) or kind == "text" and arg[i]
    end
    if not value then
        io.stderr:write(("cannot use '%s'\n%s\n"):format(arg[i] or name, usage))
        os.exit(2)
    end
    options[name] = value
    i = i + 1
end

mare.manual_seed(options.seed)
print("device: " .. mare.device().name)

local find = options.digits and data.digits or data.mnist
local train_set, test_set = find { dir = options.data, limit = options.limit, seed = options.seed }

local model = nn.Sequential {
    nn.Conv2d(1, 32, 3, { padding = 1 }), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, { padding = 1 }), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(64 * 7 * 7, 128), nn.ReLU(),
    nn.Linear(128, 10),
}
print(model)
local loader = data.DataLoader(train_set,
    { batch = options.batch, shuffle = true, seed = options.seed })
local steps = options.epochs * #loader
train.Trainer {
    model = model,
    loss = nn.CrossEntropyLoss(),
    optimizer = optim.Adam(model:parameters(), { lr = 2e-3 }),
    metrics = { accuracy = metrics.accuracy },
    train_loader = loader,
    epochs = options.epochs,
    checkpoint = { dir = options.out, every = 200 },
    resume = options.resume,
    log = options.out .. "/log.csv",
    callbacks = { {
        -- The rate falls to nothing: the last steps settle instead of jumping about.
        before_step = function(trainer, info)
            trainer.optimizer.groups[1].lr = 2e-3 * (1 - (info.step - 1) / steps)
        end,
    } },
}:run()

-- Test: the confusion matrix, and a picture of up to 64 wrong guesses.
model:eval()
local confusion, wrong = metrics.ConfusionMatrix(10), {}
for images, labels in data.DataLoader(test_set, { batch = 500 }):iter() do
    local guesses, truth = confusion:update(mare.no_grad(model, images), labels)
    for n, guess in ipairs(guesses) do
        if guess ~= truth[n] and #wrong < 64 then wrong[#wrong + 1] = images[n][1]:eval() end
    end
end
print(("test accuracy: %.2f %%"):format(100 * confusion:accuracy()))
print(confusion)

model:save(options.out .. "/model.safetensors")
print("weights: " .. options.out .. "/model.safetensors")
if #wrong > 0 then
    while #wrong % 8 > 0 do wrong[#wrong + 1] = wrong[1] * 0 + wrong[1]:min() end
    local rows = #wrong // 8
    local grid = mare.stack(wrong):reshape(rows, 8, 28, 28):permute(1, 3, 2, 4)
    local low, high = grid:min(), grid:max()
    mare.imwrite(options.out .. "/wrong.png", ((grid - low) / (high - low)):reshape(rows * 28, 224))
    print("wrong guesses: " .. options.out .. "/wrong.png")
end
