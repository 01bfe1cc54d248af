-- Layers that normalise, and weights made of other parameters.

local mare = require "mare"
local check = require "check"
local nn = mare.nn

local function names(list)
    local out = {}
    for name in list do out[#out + 1] = name end
    return out
end

describe("norm layers", function()
    it("have PyTorch's parameters, and none where asked", function()
        check.equal(names(nn.LayerNorm({ 2, 3 }):named_parameters()), { "weight", "bias" })
        check.equal(nn.LayerNorm({ 2, 3 }).weight.shape, { 2, 3 })
        check.equal(names(nn.LayerNorm(3, { bias = false }):named_parameters()), { "weight" })
        check.equal(names(nn.LayerNorm(3, { elementwise_affine = false }):named_parameters()), {})
        check.equal(names(nn.RMSNorm(3):named_parameters()), { "weight" })
        check.equal(names(nn.GroupNorm(2, 4):named_parameters()), { "weight", "bias" })
        check.equal(names(nn.InstanceNorm2d(4):named_parameters()), {})
        check.equal(nn.InstanceNorm2d(4, { affine = true, track_running_stats = true })
            .running_var.shape, { 4 })
        check.equal(nn.BatchNorm3d(2)(mare.randn(2, 2, 2, 2, 2)).shape, { 2, 2, 2, 2, 2 })
    end)

    it("normalise what they say", function()
        local x = mare.randn(3, 4, 6)
        check.near(nn.LayerNorm { 4, 6 }(x):mean({ 2, 3 }), { 0, 0, 0 }, 1e-5)
        check.near(nn.LayerNorm { 4, 6 }(x):var({ 2, 3 }, { correction = 0 }), { 1, 1, 1 }, 1e-3)
        check.near(nn.RMSNorm(6)(x):square():mean({ 1, 2, 3 }):item(), 1, 1e-4)
        local grouped = nn.GroupNorm(2, 4)(x):reshape(3, 2, 12)
        check.near(grouped:mean(3):reshape(-1), { 0, 0, 0, 0, 0, 0 }, 1e-5)
        check.near(nn.InstanceNorm1d(4)(x):mean(3):abs():max():item(), 0, 1e-5)
        check.equal(nn.LocalResponseNorm(3)(x).shape, x.shape)
    end)

    it("keep a small variance beside a large mean", function()
        local noise = mare.randn(4, 512)
        local x = (noise + 10000):eval()
        local away = x - 10000
        check.near((mare.layer_norm(x, 512) - mare.layer_norm(away, 512)):abs():max():item(), 0,
            2e-5)
        local image = x:reshape(2, 2, 512)
        check.near((mare.batch_norm(image, { training = true })
            - mare.batch_norm(image - 10000, { training = true })):abs():max():item(), 0, 2e-5)
    end)

    it("give halves for halves", function()
        local x = mare.randn(3, 8):to("f16")
        check.equal(mare.layer_norm(x, 8).dtype, "f16")
        check.equal(nn.BatchNorm1d(8):to("f16")(x).dtype, "f16")
    end)

    it("track the mean of the samples in instance norm", function()
        local layer = nn.InstanceNorm1d(2, { track_running_stats = true })
        local x = mare.randn(3, 2, 5)
        mare.eval(layer(x))
        local mean = x:mean(3):mean(1):totable()
        check.near(layer.running_mean, { 0.1 * mean[1], 0.1 * mean[2] }, 1e-6)
        check.equal(layer.num_batches_tracked:item(), 1)
    end)

    it("refuse what does not fit", function()
        local x = mare.zeros(2, 4, 3)
        check.fails("layer_norm: the last dimensions of %[2, 4, 3%] are not the normalized_shape "
            .. "%[4%]", mare.layer_norm, x, 4)
        check.fails("layer_norm: a weight of shape %[3%] is needed, not %[4%]", mare.layer_norm, x,
            3, mare.ones(4))
        check.fails("group_norm: 3 groups do not divide the channels of %[2, 4, 3%]",
            mare.group_norm, x, 3)
        check.fails("batch_norm: running_mean and running_var are needed", mare.batch_norm, x)
        check.fails("takes a running_var of shape %[4%], not %[3%]", mare.batch_norm, x,
            mare.zeros(4), mare.zeros(3))
        check.fails("momentum 2 is not in 0..1", mare.batch_norm, x,
            { training = true, momentum = 2 })
        check.fails("instance_norm: the statistics need more than one value", mare.instance_norm,
            mare.zeros(2, 3))
        check.fails("a float input is needed, not i32", mare.rms_norm,
            mare.zeros(2, 3, { dtype = "i32" }), 3)
        check.fails("local_response_norm: size is 0", mare.local_response_norm, x, 0)
        check.fails("normalize: p is 0", mare.normalize, x, 0)
        check.fails("weight_norm: v %[2, 4, 3%] takes a g of shape %[2, 1, 1%] or %[%], not %[2%]",
            mare.weight_norm, x, mare.ones(2))
        check.fails("spectral_norm: weight %[4, 3%] takes a v of shape %[3%], not %[2%]",
            mare.spectral_norm, mare.ones(4, 3), mare.ones(4), mare.ones(2))
        check.fails("GroupNorm: 3 groups do not divide 4 channels", nn.GroupNorm, 3, 4)
        check.fails("LayerNorm: there is no option 'epsilon'", nn.LayerNorm, 3, { epsilon = 1 })
    end)
end)

describe("nn.utils", function()
    it("weight_norm trains length and direction, and goes again", function()
        local layer = nn.Linear(3, 2)
        local x = mare.randn(4, 3)
        local before = layer(x):eval()
        check.truthy(nn.utils.weight_norm(layer) == layer)
        check.equal(names(layer:named_parameters()), { "bias", "weight_g", "weight_v" })
        check.equal(layer.weight_g.shape, { 2, 1 })
        check.near((layer(x) - before):abs():max():item(), 0, 1e-6)
        layer(x):sum():backward()
        check.truthy(layer.weight_g.grad)
        check.near((layer.weight_v.grad * layer.weight_v:detach()):sum(2), { 0, 0 }, 1e-5)
        mare.no_grad(function() layer.weight_g:assign(layer.weight_g * 2) end)
        check.near((layer(x) - layer.bias - (before - layer.bias) * 2):abs():max():item(), 0, 1e-5)
        nn.utils.remove_weight_norm(layer)
        check.equal(names(layer:named_parameters()), { "weight", "bias" })
        check.near((layer(x) - layer.bias - (before - layer.bias) * 2):abs():max():item(), 0, 1e-5)
        check.equal(nn.utils.weight_norm(layer, "weight", false).weight_g.shape, {})
        check.equal(nn.utils.weight_norm(nn.Linear(3, 2), "weight", -1).weight_g.shape, { 1, 3 })
        check.fails("has no parameter 'scale'", nn.utils.weight_norm, nn.Linear(1, 1), "scale")
        check.fails("is not made that way", nn.utils.remove_weight_norm, nn.Linear(1, 1))
    end)

    it("spectral_norm holds the largest singular value at 1", function()
        mare.manual_seed(3)
        local layer = nn.Linear(3, 3)
        mare.no_grad(function()
            layer.weight:assign(mare.tensor { { 3, 0, 0 }, { 0, 2, 0 }, { 0, 0, -1 } })
        end)
        nn.utils.spectral_norm(layer)
        check.equal(names(layer:named_parameters()), { "bias", "weight_orig" })
        check.equal(names(layer:named_buffers()), { "weight_u", "weight_v" })
        for _ = 1, 30 do mare.eval(layer(mare.zeros(1, 3))) end
        check.near(layer.weight[1], { 1, 0, 0 }, 1e-4)
        check.near(layer.weight[2], { 0, 2 / 3, 0 }, 1e-4)
        local u = layer.weight_u:detach():totable()
        layer:eval()
        layer(mare.ones(1, 3)):sum():backward()
        check.truthy(layer.weight_orig.grad)
        check.near(layer.weight_u, u, 0)
        nn.utils.remove_spectral_norm(layer)
        check.equal(names(layer:named_parameters()), { "weight", "bias" })
        check.near(layer.weight[1][1]:item(), 1, 1e-4)
    end)
end)
