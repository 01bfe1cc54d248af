--- Losses as modules: each is a call of the engine with its options kept.

local mare = require "mare"
local F = require "mare.nn.functional"
local module = require "mare.nn.module"

local losses = {}

local calls = {}
for _, call in ipairs(mare.calls()) do calls[call.name] = call end

--- A class whose options are the call's arguments that have defaults. Tensors among them are
--- buffers.
local function loss_class(name, call)
    local known = {}
    for _, arg in ipairs(calls[call].args) do known[arg.name] = arg.optional end
    local class = module.Module:extend(name)

    function class:init(options)
        if options ~= nil and type(options) ~= "table" then
            mare.fail("%s: options are a table, not %s", name, tostring(options))
        end
        self.options = {}
        for option, value in pairs(options or {}) do
            if not known[option] then
                mare.fail("%s: there is no option '%s'", name, tostring(option))
            end
            if module.is_tensor(value) then self:buffer(option, value)
            else self.options[option] = value end
        end
    end

    function class:forward(...)
        local options = {}
        for option, value in pairs(self.options) do options[option] = value end
        for option, value in self:named_buffers() do options[option] = value end
        local inputs = table.pack(...)
        if next(options) then
            inputs.n = inputs.n + 1
            inputs[inputs.n] = options
        end
        return mare[call](table.unpack(inputs, 1, inputs.n))
    end

    losses[name] = class
end

local classes = {
    ---Of scores [N, C, ...] and classes from 0 [N, ...] or probabilities [N, C, ...].
    ---@overload fun(options?: {weight?, ignore_index?, reduction?, label_smoothing?})
    CrossEntropyLoss = "cross_entropy",
    ---Of logarithms of probabilities [N, C, ...] and classes from 0 [N, ...].
    ---@overload fun(options?: {weight?, ignore_index?, reduction?})
    NLLLoss = "nll_loss",
    ---Cross-entropy that counts what is easy less: scores [N, C, ...] and classes from 0.
    ---@overload fun(options?: {weight?, ignore_index?, reduction?, gamma?})
    FocalLoss = "focal_loss",
    ---Binary cross-entropy of scores that counts what is easy less.
    ---@overload fun(options?: {alpha?, gamma?, reduction?})
    SigmoidFocalLoss = "sigmoid_focal_loss",
    ---Of log-probabilities [T, N, C], targets and the lengths of both: all alignments count.
    ---@overload fun(options?: {blank?, reduction?, zero_infinity?})
    CTCLoss = "ctc_loss",
    ---Binary cross-entropy of probabilities.
    ---@overload fun(options?: {weight?, reduction?})
    BCELoss = "binary_cross_entropy",
    ---Binary cross-entropy of scores, without overflow.
    ---@overload fun(options?: {weight?, reduction?, pos_weight?})
    BCEWithLogitsLoss = "binary_cross_entropy_with_logits",
    ---Mean of squared differences.
    ---@overload fun(options?: {reduction?})
    MSELoss = "mse_loss",
    ---Mean of absolute differences.
    ---@overload fun(options?: {reduction?})
    L1Loss = "l1_loss",
    ---Squares of small differences, large ones as they are.
    ---@overload fun(options?: {reduction?, delta?})
    HuberLoss = "huber_loss",
    ---HuberLoss over its delta (beta).
    ---@overload fun(options?: {reduction?, beta?})
    SmoothL1Loss = "smooth_l1_loss",
    ---Kullback-Leibler divergence of log-probabilities and probabilities.
    ---@overload fun(options?: {reduction?, log_target?})
    KLDivLoss = "kl_div",
    ---Of the rate (or its log) and counts.
    ---@overload fun(options?: {log_input?, full?, eps?, reduction?})
    PoissonNLLLoss = "poisson_nll_loss",
    ---Of means, targets and variances.
    ---@overload fun(options?: {full?, eps?, reduction?})
    GaussianNLLLoss = "gaussian_nll_loss",
    ---log(1 + exp(-y x)) for targets y of -1 or 1.
    ---@overload fun(options?: {reduction?})
    SoftMarginLoss = "soft_margin_loss",
    ---Distances and targets of -1 or 1.
    ---@overload fun(options?: {margin?, reduction?})
    HingeEmbeddingLoss = "hinge_embedding_loss",
    ---Scores [N, C] and classes from 0: the right one leads by a margin.
    ---@overload fun(options?: {p?, margin?, weight?, reduction?})
    MultiMarginLoss = "multi_margin_loss",
    ---Scores [N, C] and lists of classes that -1 ends.
    ---@overload fun(options?: {reduction?})
    MultiLabelMarginLoss = "multilabel_margin_loss",
    ---Scores [..., C] and targets of 0 or 1.
    ---@overload fun(options?: {weight?, reduction?})
    MultiLabelSoftMarginLoss = "multilabel_soft_margin_loss",
    ---Two inputs and which is to be larger.
    ---@overload fun(options?: {margin?, reduction?})
    MarginRankingLoss = "margin_ranking_loss",
    ---Pairs of vectors, and whether they point the same way (1) or not (-1).
    ---@overload fun(options?: {margin?, reduction?})
    CosineEmbeddingLoss = "cosine_embedding_loss",
    ---Pairs of vectors, and whether they belong apart (1) or together (0).
    ---@overload fun(options?: {margin?, reduction?})
    ContrastiveLoss = "contrastive_loss",
    ---An anchor, what is to be near it, what is to be far.
    ---@overload fun(options?: {margin?, p?, eps?, swap?, reduction?})
    TripletMarginLoss = "triplet_margin_loss",
    ---Queries and their positives among negatives.
    ---@overload fun(options?: {negatives?, temperature?, reduction?})
    InfoNCELoss = "info_nce_loss",
    ---Two views of the same things.
    ---@overload fun(options?: {temperature?, reduction?})
    NTXentLoss = "nt_xent_loss",
    ---Overlap of regions [N, C, ...].
    ---@overload fun(options?: {smooth?, squared?, reduction?})
    DiceLoss = "dice_loss",
}
for name, call in pairs(classes) do loss_class(name, call) end

---triplet_margin_loss with a distance of one's own: a function of two tensors.
---@class mare.nn.TripletMarginWithDistanceLoss: mare.nn.Module
---@overload fun(distance: function, options?: {margin?, swap?, reduction?})
losses.TripletMarginWithDistanceLoss = module.Module:extend("TripletMarginWithDistanceLoss")

function losses.TripletMarginWithDistanceLoss:init(distance, options)
    if type(distance) ~= "function" then
        mare.fail("%s: the distance must be a function, not %s", self._name, tostring(distance))
    end
    for option in pairs(options or {}) do
        if option ~= "margin" and option ~= "swap" and option ~= "reduction" then
            mare.fail("%s: there is no option '%s'", self._name, tostring(option))
        end
    end
    self.distance, self.options = distance, options or {}
end

function losses.TripletMarginWithDistanceLoss:forward(anchor, positive, negative)
    return F.triplet_margin_with_distance_loss(anchor, positive, negative, self.distance,
        self.options)
end

return losses
