-- Losses beside their known answers (known_spec.lua): extreme values, half precision, what they
-- refuse, modules. Dropout and its relatives.

local mare = require "mare"
local nn = mare.nn
local check = require "check"

local inf = math.huge
local function ints(t) return mare.tensor(t, { dtype = "i32" }) end
local function grad(f, x)
    x.requires_grad = true
    f(x):sum():backward()
    return x.grad
end

describe("Extreme scores", function()
    local far = { 1e4, -1e4, 3e38, -3e38, 0 }
    local none = { reduction = "none" }

    it("do not overflow", function()
        local x = mare.tensor(far)
        check.near(x:binary_cross_entropy_with_logits(mare.tensor { 1, 0, 1, 0, 1 }, none),
            { 0, 0, 0, 0, math.log(2) }, 1e-6)
        check.near(x:soft_margin_loss(ints { 1, -1, 1, 1, 1 }, none),
            { 0, 0, 0, 3e38, math.log(2) }, 1e-6)
        check.near(x:sigmoid_focal_loss(mare.tensor { 1, 0, 0, 1, 1 },
            { alpha = -1, reduction = "none" }), { 0, 0, 3e38, 3e38, math.log(2) / 4 }, 1e-6)
        check.near(mare.multilabel_soft_margin_loss(mare.tensor { far },
            mare.tensor { { 1, 0, 1, 0, 1 } }, none), { math.log(2) / 5 }, 1e-6)
        local rows = mare.tensor { { 1e4, -1e4, 0 }, { 3e38, 0, -3e38 } }
        check.near(rows:cross_entropy(ints { 0, 0 }, none), { 0, 0 }, 0)
        check.near(rows:focal_loss(ints { 1, 1 }, none), { 2e4, 3e38 }, 1e-6)
    end)

    it("have finite gradients, of any power", function()
        for _, gamma in ipairs { 0, 0.01, 0.5, 2, 5 } do
            for _, target in ipairs { 0, 1 } do
                local g = grad(function(x)
                    return x:sigmoid_focal_loss(mare.full({ 4 }, target), { gamma = gamma })
                end, mare.tensor { 500, -500, 90, -90 })
                check.equal(g:isfinite():float():min():item(), 1)
            end
            local g = grad(function(x)
                return x:focal_loss(ints { 0, 1 }, { gamma = gamma })
            end, mare.tensor { { 500, -500 }, { 200, -200 } })
            check.equal(g:isfinite():float():min():item(), 1)
        end
        check.near(grad(function(x)
            return x:binary_cross_entropy(mare.tensor { 0, 1 }, { reduction = "none" })
        end, mare.tensor { 0, 1 }), { 0, 0 }, 1)
        -- Vectors that coincide, and those of length 0.
        local same = mare.ones(2, 3)
        check.equal(grad(function(x) return x:contrastive_loss(same, ints { 1, 0 }) end,
            mare.ones(2, 3)), { { 0, 0, 0 }, { 0, 0, 0 } })
        local g = grad(function(x) return x:cosine_embedding_loss(same, ints { 1, -1 }) end,
            mare.zeros(2, 3))
        check.equal(g:isfinite():float():min():item(), 1)
        g = grad(function(x) return x:info_nce_loss(same) end, mare.zeros(2, 3))
        check.equal(g:isfinite():float():min():item(), 1)
    end)

    it("count in f32 where the tensors are f16 or bf16", function()
        for _, t in ipairs { "f16", "bf16" } do
            local x = mare.tensor { 300, 0, 0, 0 }:to(t)
            check.equal(x:mse_loss(mare.zeros(4):to(t)).dtype, t)
            check.near(x:mse_loss(mare.zeros(4):to(t)):item(), 22500, 80)
            check.near(x:huber_loss(mare.zeros(4):to(t), { delta = 300 }):item(), 11250, 40)
            local p = mare.tensor { 0, 1 }:to(t)
            check.near(p:binary_cross_entropy(mare.tensor { 1, 1 }:to(t)):item(), 50, 0)
            local rows = mare.tensor { { 6e4, -6e4 }, { 1, 1 } }:to(t)
            check.near(rows:cross_entropy(ints { 0, 0 }):item(), math.log(2) / 2, 2e-3)
            check.near(rows:contrastive_loss(rows, ints { 0, 0 }):item(), 0, 0)
            check.near(rows:cosine_embedding_loss(rows, ints { 1, 1 }):item(), 0, 1e-2)
        end
    end)
end)

describe("Targets", function()
    local x = mare.ones(2, 3)

    it("may hold ignored labels, and no other strays", function()
        check.near(x:cross_entropy(ints { 1, -100 }):item(), math.log(3), 1e-6)
        check.near(x:cross_entropy(ints { 1, 7 }, { ignore_index = 7 }):item(), math.log(3), 1e-6)
        check.fails("class %-1 in the target", x.cross_entropy, x, ints { -100, -1 })
        check.fails("class 3 in the target", x.nll_loss, x, ints { 3, -100 })
        check.fails("class %-100 in the target", x.cross_entropy, x, ints { 1, -100 },
            { ignore_index = 5 })
        check.fails("ignore_index 1 is for class indices", x.cross_entropy, x, x,
            { ignore_index = 1 })
        -- Computed on the device.
        local t = ints { 0, 1 } * 4 - 2
        check.fails("class %-2", x.cross_entropy, x, t)
        check.near(x:cross_entropy(t, { ignore_index = -2 }):item(), math.log(3), 1e-6)
    end)

    it("must fit the input", function()
        check.fails("weights %[3%], not %[2%]", x.cross_entropy, x, ints { 0, 1 }, mare.ones(2))
        check.fails("class indices %[2%], not %[3%]", x.focal_loss, x, ints { 0, 1, 2 })
        check.fails("class indices are integers, not f32", x.nll_loss, x, mare.ones(2))
        check.fails("label smoothing 2 is not in 0..1", x.cross_entropy, x, ints { 0, 1 },
            { label_smoothing = 2 })
        for _, name in ipairs { "mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "kl_div",
            "poisson_nll_loss", "soft_margin_loss", "hinge_embedding_loss", "binary_cross_entropy",
            "binary_cross_entropy_with_logits", "sigmoid_focal_loss", "dice_loss", "iou_loss",
            "giou_loss", "diou_loss", "ciou_loss", "multilabel_soft_margin_loss",
            "multilabel_margin_loss" } do
            check.fails(name .. ": the input has shape %[2, 3%], the target %[3%]", mare[name], x,
                mare.ones(3))
        end
        check.fails("weight of shape %[2%] does not stretch to %[2, 3%]",
            mare.binary_cross_entropy, x, x, mare.ones(2))
        check.fails("delta 0 is not above 0", x.huber_loss, x, x, { delta = 0 })
        check.fails("beta %-1 is not 0 or more", x.smooth_l1_loss, x, x, { beta = -1 })
        check.fails("p is 1 or 2, not 3", x.multi_margin_loss, x, ints { 0, 1 }, { p = 3 })
        check.fails("the target holds %-2 to 1", mare.multilabel_margin_loss, mare.ones(2),
            ints { 1, -2 })
        check.fails("boxes %[..., 4%] are needed, not %[2, 3%]", x.iou_loss, x, x)
        check.fails("regions %[N, C, ...%] are needed, not %[3%]", mare.dice_loss, mare.ones(3),
            mare.ones(3))
        check.fails("variance %[3%]", x.gaussian_nll_loss, x, x, mare.ones(3))
        check.fails("take a target %[2%], not %[3%]", x.cosine_embedding_loss, x, x,
            ints { 1, 1, 1 })
        check.fails("inputs have shapes %[2, 3%] and %[3%]", x.triplet_margin_loss, x,
            mare.ones(3), x)
        check.fails("temperature 0 is not above 0", x.nt_xent_loss, x, x, { temperature = 0 })
        check.fails("negatives %[M, D%] or %[N, M, D%], not %[2%]", x.info_nce_loss, x, x,
            mare.ones(2))
        check.fails("all have one shape", x.margin_ranking_loss, x, x, mare.ones(2))
    end)
end)

describe("Modules of losses", function()
    it("keep their options, tensors as buffers", function()
        local x, t = mare.tensor { { 1, 2 }, { 3, 5 } }, ints { 0, 1 }
        local loss = nn.CrossEntropyLoss { weight = mare.tensor { 1, 3 }, reduction = "sum" }
        check.equal(#loss:buffers(), 1)
        check.near(loss(x, t):item(), x:cross_entropy(t, mare.tensor { 1, 3 },
            { reduction = "sum" }):item(), 1e-6)
        check.near(nn.HuberLoss { delta = 0.5 }(x, x + 2):item(), 0.875, 1e-6)
        check.near(nn.TripletMarginLoss()(x, x, x + 1):item(), 0, 1e-5)
        check.fails("HuberLoss: there is no option 'beta'", nn.HuberLoss, { beta = 1 })
        check.fails("options are a table", nn.MSELoss, "sum")
    end)

    it("take a distance of one's own", function()
        local function city(a, b) return (a - b):abs():sum(-1) end
        local a, p, n = mare.zeros(2, 2), mare.ones(2, 2), mare.tensor { { 2, 2 }, { 0, 0.5 } }
        local loss = nn.TripletMarginWithDistanceLoss(city, { reduction = "none", margin = 2 })
        check.near(loss(a, p, n), { 0, 3.5 }, 1e-6)
        loss = nn.TripletMarginWithDistanceLoss(city, { reduction = "none", margin = 2,
            swap = true })
        check.near(loss(a, p, n), { 2, 3.5 }, 1e-6)
        check.fails("the distance must be a function", nn.TripletMarginWithDistanceLoss, 2)
        check.fails("no option 'p'", nn.TripletMarginWithDistanceLoss, city, { p = 1 })
    end)
end)

describe("Dropout of parts", function()
    -- Every one of the values, or none.
    local function whole(t)
        local first = t[1]
        for _, v in ipairs(t) do
            if v ~= first then return false end
        end
        return true
    end

    it("drops channels, samples, weights", function()
        mare.manual_seed(3)
        for rank, name in ipairs { "dropout1d", "dropout2d", "dropout3d" } do
            for _, lead in ipairs { { 20, 30 }, { 600 } } do
                local shape = { table.unpack(lead) }
                for _ = 1, rank do shape[#shape + 1] = 2 end
                local y = mare[name](mare.ones(shape), 0.25):reshape(600, -1)
                for _, row in ipairs(y:totable()) do check.truthy(whole(row)) end
                check.near(y:eq(0):float():mean():item(), 0.25, 0.08)
                check.near(y:max():item(), 4 / 3, 1e-6)
            end
        end
        for _, row in ipairs(mare.drop_path(mare.ones(50, 3)):totable()) do
            check.truthy(whole(row))
        end
        local x = mare.randn(40, 30, 2)
        local kept = mare.feature_alpha_dropout(x, 0.5)
        local same = kept:eq(kept[{ {}, {}, { 1, 1 } }]):float():mean(3)
        check.near(same:eq(1):float():mean():item(), 0.5, 0.08)
        local layer = nn.DropConnectLinear(3, 2, { p = 1 })
        check.equal(layer(mare.ones(1, 3)), { layer.bias:totable() })
        layer:eval()
        check.near(layer(mare.ones(1, 3)), (layer.weight:sum(2) + layer.bias):reshape(1, 2), 1e-6)
    end)

    it("does nothing in evaluation or with p = 0", function()
        for _, name in ipairs { "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
            "FeatureAlphaDropout", "DropPath" } do
            local x = mare.randn(2, 3, 4)
            check.truthy(nn[name](0.5):eval()(x) == x)
        end
        local x = mare.randn(5)
        check.equal(mare.dropout(x, 0.5, false), x)
        check.equal(mare.dropout(x, 0), x)
        check.equal(mare.alpha_dropout(x, 0), x)
    end)

    it("draws the same mask again for the gradient, of any order", function()
        local x = mare.rand(1000, { requires_grad = true })
        local y = mare.dropout(x, 0.4)
        local g = mare.gradients((y * y):sum(), { x })[1]
        local h = mare.gradients(g:sum(), { x })[1]
        mare.eval(y, g, h)
        local kept = y:ne(0):float()
        check.near(g, 2 * kept * x / 0.36, 1e-5)
        check.near(h, 2 * kept / 0.36, 1e-5)
        check.equal(mare.dropout(mare.ones(8):to("f16"), 0.5).dtype, "f16")
    end)

    it("refuses what it cannot do", function()
        local x = mare.ones(2, 3)
        for _, name in ipairs { "dropout", "drop_connect", "drop_path", "alpha_dropout",
            "feature_alpha_dropout" } do
            check.fails(name .. ": p 2 is not in 0..1", mare[name], x, 2)
        end
        check.fails("4 dimensions, or one less without a batch, are needed, not %[2, 3%]",
            mare.dropout2d, x)
        check.fails("features %[N, C, ...%] are needed, not %[3%]", mare.feature_alpha_dropout,
            mare.ones(3))
    end)
end)

describe("Random choices", function()
    it("repeat with the seed, and have their shapes", function()
        local function draws()
            mare.manual_seed(11)
            local w = mare.tensor { { 1, 2, 0 }, { 0, 0, 5 } }
            return { mare.multinomial(w, 4, true):totable(), mare.multinomial(w, 2):totable(),
                mare.categorical(w):totable(), mare.randint(-2, 3, { 2, 2 }):totable(),
                mare.gumbel_softmax(w, { dim = 1 }):totable(), mare.exponential(3):totable() }
        end
        check.equal(draws(), draws())
        check.equal(mare.multinomial(mare.ones(2, 3), 4, true).shape, { 2, 4 })
        check.equal(mare.categorical(mare.ones(2, 3)).shape, { 2 })
        check.equal(mare.randint(0, 2, { 2, 3 }).dtype, "i32")
        check.near(mare.gumbel_softmax(mare.randn(3, 4), { dim = 1 }):sum(1), { 1, 1, 1, 1 }, 1e-6)
        check.near(mare.gumbel_softmax(mare.randn(3, 4), { hard = true, dim = 1 }):sum(1),
            { 1, 1, 1, 1 }, 0)
    end)

    it("refuse what they cannot draw", function()
        check.fails("4 samples without replacement of weights %[3%]", mare.multinomial,
            mare.ones(3), 4)
        check.fails("tau 0 is not above 0", mare.gumbel_softmax, mare.ones(3), 0)
        check.fails("one class or more", mare.categorical, mare.zeros(2, 0))
        check.fails("no i32 from 3 to below 3", mare.randint, 3, 3, { 2 })
        check.fails("lambd", mare.exponential, { 2 }, -1)
        check.fails("no range", mare.trunc_normal, { 2 }, { a = 1, b = 0 })
        check.truthy(mare.trunc_normal({ 100 }, { a = -inf, b = 0 }):max():item() <= 0)
    end)
end)
