--- The nets that steps are counted and timed with: the usual small ones of images and text, with
--- data that is drawn once, and labels that may be drawn anew. scripts/bench measures them,
--- tests/lua/counts_spec.lua counts their launches.
---
---     local net = nets.gpt()
---     net.step()             -- one training step; its loss is in net.loss
---     net.compiled()         -- one by mare.compile
---     net.draw()             -- other labels
---     net.opt.groups[1].lr = 1e-4

local mare = require "mare"
local nn, optim = require "mare.nn", require "mare.optim"

local nets = {}

---@class bench.net
---@field model mare.nn.Module
---@field opt mare.optim.Optimizer
---@field step fun() one training step: forward, backward, update
---@field compiled fun() the same by mare.compile
---@field draw fun() draws the labels that steps learn
---@field loss mare.tensor of the last step
---@field items integer how many of `unit` a step sees
---@field unit string

--- n labels below `classes`.
local function labels(classes, ...)
    return mare.randint(0, classes, { ... }):eval()
end

--- A net whose step is the mean cross-entropy of logits [n, classes] that forward() gives.
local function trained(net, classes, n, forward)
    local target
    local function step(y)
        net.opt:zero_grad()
        local loss = forward():cross_entropy(y)
        loss:backward()
        net.opt:step()
        return loss
    end
    local compiled = mare.compile(step)
    function net.draw() target = labels(classes, n) end
    function net.step() net.loss = step(target) end
    function net.compiled() net.loss = compiled(target) end
    net.draw()
    return net
end

---MNIST: two convolutions, one pooling, two linear layers; batch 64, Adam. 1,199,882 parameters.
---@return bench.net
function nets.cnn()
    local model = nn.Sequential {
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
    }
    local x = mare.rand(64, 1, 28, 28):eval()
    return trained({ model = model, opt = optim.Adam(model:parameters(), { lr = 1e-3 }),
        items = 64, unit = "images" }, 10, 64, function() return model(x) end)
end

---A small perceptron fed with one image at a time, Adam: what a step costs beside arithmetic.
---@return bench.net
function nets.mlp()
    local model = nn.Sequential {
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
    }
    local x = mare.rand(1, 784):eval()
    return trained({ model = model, opt = optim.Adam(model:parameters(), { lr = 1e-3 }),
        items = 1, unit = "images" }, 10, 1, function() return model(x) end)
end

local Characters = nn.Module:extend("Characters")

function Characters:init()
    self.embedding = nn.Embedding(65, 128)
    self.lstm = nn.LSTM(128, 256, { num_layers = 2, batch_first = true })
    self.out = nn.Linear(256, 65)
end

function Characters:forward(x)
    return self.out((self.lstm(self.embedding(x))))
end

---Characters: two LSTM layers of 256; sequences of 64, batch 32, Adam.
---@return bench.net
function nets.lstm()
    local model = Characters()
    local x = labels(65, 32, 64)
    return trained({ model = model, opt = optim.Adam(model:parameters(), { lr = 1e-3 }),
        items = 32 * 64, unit = "characters" }, 65, 32 * 64,
        function() return model(x):reshape(-1, 65) end)
end

local WIDTH, HEADS, BLOCKS, CONTEXT, VOCABULARY = 128, 4, 4, 64, 65

local Block = nn.Module:extend("Block")

function Block:init()
    self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
    self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
    self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
end

-- Attention is written out: scores, mask, softmax, as in code that knows no fused attention.
function Block:forward(x, mask)
    local batch, time = x.shape[1], x.shape[2]
    local parts = {}
    for i, part in ipairs(self.qkv(self.norm1(x)):split(WIDTH, 3)) do
        parts[i] = part:reshape(batch, time, HEADS, WIDTH // HEADS):transpose(2, 3)
    end
    local q, k, v = table.unpack(parts)
    local scores = q:matmul(k:transpose(-2, -1)) * (WIDTH // HEADS) ^ -0.5
    local a = scores:masked_fill(mask, -math.huge):softmax(-1)
    x = x + self.proj(a:matmul(v):transpose(2, 3):reshape(batch, time, WIDTH))
    return x + self.down(self.up(self.norm2(x)):gelu())
end

local GPT = nn.Module:extend("GPT")

function GPT:init()
    self.tokens = nn.Embedding(VOCABULARY, WIDTH)
    self.places = nn.Embedding(CONTEXT, WIDTH)
    local blocks = {}
    for i = 1, BLOCKS do blocks[i] = Block() end
    self.blocks = nn.ModuleList(blocks)
    self.norm = nn.LayerNorm(WIDTH)
    self:buffer("mask", mare.ones(CONTEXT, CONTEXT, { dtype = "bool" }):triu(1):eval())
    self:buffer("index", mare.arange(CONTEXT):eval())
    for _, p in self:named_parameters() do
        if p.ndim > 1 then nn.init.normal(p, 0, 0.02) end
    end
end

-- The head's weight is the table of tokens.
function GPT:forward(x)
    local h = self.tokens(x) + self.places(self.index)
    for _, block in self.blocks:children() do h = block(h, self.mask) end
    return self.norm(h):matmul(self.tokens.weight:transpose(1, 2))
end

---Characters: four blocks of width 128 with four heads; context 64, batch 12, AdamW. The head
---shares its weight with the embedding.
---@return bench.net
function nets.gpt()
    local model = GPT()
    local x = labels(VOCABULARY, 12, CONTEXT)
    return trained({ model = model, opt = optim.AdamW(model:parameters(), { lr = 1e-3 }),
        items = 12 * CONTEXT, unit = "characters" }, VOCABULARY, 12 * CONTEXT,
        function() return model(x):reshape(-1, VOCABULARY) end)
end

local Residual = nn.Module:extend("Residual")

function Residual:init(inputs, outputs, stride)
    local plain = { padding = 1, bias = false }
    self.conv1 = nn.Conv2d(inputs, outputs, 3, { stride = stride, padding = 1, bias = false })
    self.norm1 = nn.BatchNorm2d(outputs)
    self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, plain), nn.BatchNorm2d(outputs)
    if stride ~= 1 or inputs ~= outputs then
        self.short = nn.Sequential {
            nn.Conv2d(inputs, outputs, 1, { stride = stride, bias = false }),
            nn.BatchNorm2d(outputs),
        }
    end
end

function Residual:forward(x)
    local y = self.norm2(self.conv2(self.norm1(self.conv1(x)):relu()))
    return (y + (self.short and self.short(x) or x)):relu()
end

---CIFAR: ResNet-18 for images of 32 by 32; batch 32, SGD with momentum. 11,173,962 parameters.
---@return bench.net
function nets.resnet()
    local layers = { nn.Conv2d(3, 64, 3, { padding = 1, bias = false }), nn.BatchNorm2d(64),
        nn.ReLU() }
    local width = 64
    for i, outputs in ipairs { 64, 128, 256, 512 } do
        layers[#layers + 1] = Residual(width, outputs, i == 1 and 1 or 2)
        layers[#layers + 1] = Residual(outputs, outputs, 1)
        width = outputs
    end
    for _, layer in ipairs { nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10) } do
        layers[#layers + 1] = layer
    end
    local model = nn.Sequential(layers)
    local x = mare.rand(32, 3, 32, 32):eval()
    return trained({ model = model, opt = optim.SGD(model:parameters(),
        { lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }), items = 32, unit = "images" },
        10, 32, function() return model(x) end)
end

return nets
