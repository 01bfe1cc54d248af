--- Layers that look vectors up, and that compare vectors.

local mare = require "mare"
local args = require "mare.nn.args"
local module = require "mare.nn.module"

local Module = module.Module
local size, options_of, number = args.size, args.options_of, args.number

local lookup = {}

---@class mare.nn.lookup
---@field padding_idx? integer a row of zeros that is not learnt, and counts in no bag
---@field max_norm? number how long a row may be
---@field norm_type? number in which norm, 2 by default
---@field mode? string of bags: "mean", "sum" or "max"

-- What the layers with a table have in common: the table, its row of zeros, how long rows may be.
local function init_table(self, rows, columns, options)
    self.rows, self.columns = size(self, "rows", rows, 1), size(self, "size", columns, 1)
    local weight, pad = mare.randn(self.rows, self.columns), options.padding_idx
    if pad then
        if math.type(pad) ~= "integer" or pad < -self.rows or pad >= self.rows then
            mare.fail("%s: padding_idx %s is no row from 0 to %d", self._name, tostring(pad),
                self.rows - 1)
        end
        self.padding_idx = pad < 0 and pad + self.rows or pad
        weight[self.padding_idx + 1] = 0
    end
    if options.max_norm then
        self.max_norm = number(self, "max_norm", options.max_norm, 0, math.huge)
    end
    self.norm_type = number(self, "norm_type", options.norm_type or 2, 0, math.huge)
    self:parameter("weight", weight)
end

local function table_text(self)
    return ("%d, %d%s%s"):format(self.rows, self.columns,
        self.padding_idx and ", padding_idx=" .. self.padding_idx or "",
        self.max_norm and ", max_norm=" .. self.max_norm or "")
end

---Rows of a table at indices (from 0): [...] -> [..., size]. Rows longer than max_norm count as if
---they were so long; the table itself stays.
---@class mare.nn.Embedding: mare.nn.Module
---@field weight mare.tensor [rows, size]
---@overload fun(rows: integer, size: integer, options?: mare.nn.lookup): mare.nn.Embedding
lookup.Embedding = Module:extend("Embedding")

function lookup.Embedding:init(rows, columns, options)
    init_table(self, rows, columns,
        options_of(self, options, { padding_idx = true, max_norm = true, norm_type = true }))
end

---@param x mare.tensor integers
function lookup.Embedding:forward(x)
    return mare.embedding(x, self.weight, self.padding_idx, self.max_norm, self.norm_type)
end

function lookup.Embedding:extra()
    return table_text(self)
end

---Mean, sum or largest of rows of a table: [bags, n] -> [bags, size], or a list with offsets.
---@class mare.nn.EmbeddingBag: mare.nn.Module
---@field weight mare.tensor [rows, size]
---@overload fun(rows: integer, size: integer, options?: mare.nn.lookup): mare.nn.EmbeddingBag
lookup.EmbeddingBag = Module:extend("EmbeddingBag")

function lookup.EmbeddingBag:init(rows, columns, options)
    options = options_of(self, options,
        { mode = true, padding_idx = true, max_norm = true, norm_type = true })
    init_table(self, rows, columns, options)
    self.mode = options.mode or "mean"
    if self.mode ~= "mean" and self.mode ~= "sum" and self.mode ~= "max" then
        mare.fail("EmbeddingBag: mode is \"mean\", \"sum\" or \"max\", not %s", tostring(self.mode))
    end
end

---@param x mare.tensor integers
---@param offsets? mare.tensor where each bag of a list begins
---@param weights? mare.tensor factors of the rows of a sum
function lookup.EmbeddingBag:forward(x, offsets, weights)
    return mare.embedding_bag(x, self.weight, offsets, self.mode, weights, self.padding_idx,
        self.max_norm, self.norm_type)
end

function lookup.EmbeddingBag:extra()
    return ("%s, mode=%s"):format(table_text(self), self.mode)
end

---x1 weight[o] x2 + bias[o] for every output o, over the last dimensions.
---@class mare.nn.Bilinear: mare.nn.Module
---@field weight mare.tensor [outputs, inputs1, inputs2]
---@field bias? mare.tensor [outputs]
---@overload fun(inputs1, inputs2, outputs, options?: {bias?: boolean}): mare.nn.Bilinear
lookup.Bilinear = Module:extend("Bilinear")

function lookup.Bilinear:init(inputs1, inputs2, outputs, options)
    options = options_of(self, options, { bias = true })
    local shape = { size(self, "outputs", outputs, 1), size(self, "inputs1", inputs1, 1),
        size(self, "inputs2", inputs2, 1) }
    local bound = 1 / math.sqrt(shape[2])
    self:parameter("weight", mare.uniform(shape, -bound, bound))
    if options.bias ~= false then
        self:parameter("bias", mare.uniform({ shape[1] }, -bound, bound))
    end
end

---@param x1 mare.tensor [..., inputs1]
---@param x2 mare.tensor [..., inputs2]
function lookup.Bilinear:forward(x1, x2)
    return mare.bilinear(x1, x2, self.weight, self.bias)
end

function lookup.Bilinear:extra()
    local s = self.weight.shape
    return ("%d, %d, %d%s"):format(s[2], s[3], s[1], self.bias and "" or ", bias=false")
end

---The cosine of the angle between two tensors along a dimension (the second by default).
---@class mare.nn.CosineSimilarity: mare.nn.Module
---@overload fun(options?: {dim?: integer, eps?: number}): mare.nn.CosineSimilarity
lookup.CosineSimilarity = Module:extend("CosineSimilarity")

function lookup.CosineSimilarity:init(options)
    options = options_of(self, options, { dim = true, eps = true })
    self.dim = options.dim or 2
    self.eps = number(self, "eps", options.eps or 1e-8, 0, math.huge)
end

function lookup.CosineSimilarity:forward(x1, x2)
    return mare.cosine_similarity(x1, x2, self.dim, self.eps)
end

---The p-norm of the difference of two tensors along the last dimension.
---@class mare.nn.PairwiseDistance: mare.nn.Module
---@overload fun(options?: {p?: number, eps?: number, keepdim?: boolean}): mare.nn.PairwiseDistance
lookup.PairwiseDistance = Module:extend("PairwiseDistance")

function lookup.PairwiseDistance:init(options)
    options = options_of(self, options, { p = true, eps = true, keepdim = true })
    self.p = number(self, "p", options.p or 2, 0, math.huge)
    self.eps = number(self, "eps", options.eps or 1e-6, 0, math.huge)
    self.keepdim = options.keepdim or false
end

function lookup.PairwiseDistance:forward(x1, x2)
    return mare.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)
end

---One dimension cut into several sizes, one of which may be -1.
---@class mare.nn.Unflatten: mare.nn.Module
---@overload fun(dim: integer, sizes: integer[]): mare.nn.Unflatten
lookup.Unflatten = Module:extend("Unflatten")

function lookup.Unflatten:init(dim, sizes)
    self.dim, self.sizes = dim, sizes
end

function lookup.Unflatten:forward(x)
    return mare.unflatten(x, self.dim, self.sizes)
end

return lookup
