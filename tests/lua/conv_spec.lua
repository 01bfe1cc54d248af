local mare = require "mare"
local check = require "check"
local nn = require "mare.nn"

local function first_line(module) return tostring(module):match("^[^\n]*%)") end

describe("Convolution layers", function()
    it("have PyTorch's shapes and start", function()
        local conv = nn.Conv2d(4, 6, { 3, 5 },
            { groups = 2, stride = { 2, 1 }, padding = { 1, 2 } })
        check.equal(conv.weight.shape, { 6, 2, 3, 5 })
        check.equal(conv(mare.zeros(2, 4, 8, 8)).shape, { 2, 6, 4, 8 })
        check.equal(conv(mare.zeros(4, 8, 8)).shape, { 6, 4, 8 })
        check.truthy(conv.weight:abs():max():item() <= 1 / math.sqrt(30))
        check.equal(first_line(conv), "Conv2d(4, 6, 3x5, stride=2x1, padding=1x2, groups=2)")
        check.equal(nn.Conv1d(2, 3, 4)(mare.zeros(5, 2, 9)).shape, { 5, 3, 6 })
        local volume = nn.Conv3d(2, 4, { 1, 2, 3 }, { dilation = { 1, 2, 1 }, bias = false })
        check.equal(volume.weight.shape, { 4, 2, 1, 2, 3 })
        check.equal(volume(mare.zeros(1, 2, 3, 4, 5)).shape, { 1, 4, 3, 2, 3 })
        check.equal(first_line(volume), "Conv3d(2, 4, 1x2x3, dilation=1x2x1, bias=false)")
    end)

    it("of the transposed kind have weights the other way around", function()
        local up = nn.ConvTranspose2d(6, 4, 3,
            { stride = 2, padding = 1, output_padding = 1, groups = 2 })
        check.equal(up.weight.shape, { 6, 2, 3, 3 })
        check.truthy(up.weight:abs():max():item() <= 1 / math.sqrt(18))
        check.equal(up(mare.zeros(1, 6, 4, 5)).shape, { 1, 4, 8, 10 })
        check.equal(first_line(up),
            "ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2)")
        check.equal(nn.ConvTranspose1d(2, 3, 4, { stride = 3 })(mare.zeros(2, 5)).shape, { 3, 16 })
        check.equal(nn.ConvTranspose3d(2, 1, 2, { stride = 2 })(mare.zeros(1, 2, 2, 3, 1)).shape,
            { 1, 1, 4, 6, 2 })
    end)

    it("keep the size with padding 'same', also of even kernels", function()
        local x = mare.zeros(1, 1, 9, 9)
        for kernel = 1, 5 do
            local conv = nn.Conv2d(1, 1, kernel, { padding = "same", dilation = 2 })
            check.equal(conv(x).shape, x.shape)
        end
        check.fails("'same' needs stride 1", nn.Conv2d, 1, 1, 3, { padding = "same", stride = 2 })
        check.fails("'same' or 'valid', not 'full'", nn.Conv1d, 1, 1, 3, { padding = "full" })
        check.equal(nn.Conv1d(1, 1, 3, { padding = "valid" })(mare.zeros(1, 5)).shape, { 1, 3 })
    end)

    it("take their border from the image", function()
        local conv = nn.Conv1d(1, 1, 3, { padding = 1, padding_mode = "circular", bias = false })
        mare.no_grad(function() conv.weight:assign(mare.ones(1, 1, 3)) end)
        check.equal(conv(mare.tensor { { 1, 2, 4, 8 } }), { { 11, 7, 14, 13 } })
        check.equal(first_line(conv),
            "Conv1d(1, 1, 3, padding=1, padding_mode=circular, bias=false)")
        check.fails("padding_mode is zeros, reflect", nn.Conv1d, 1, 1, 3, { padding_mode = "wrap" })
    end)

    it("learn", function()
        local up = nn.ConvTranspose3d(2, 3, 2, { stride = 2 })
        up(mare.ones(1, 2, 2, 2, 2)):sum():backward()
        check.equal(up.weight.grad, mare.full({ 2, 3, 2, 2, 2 }, 8):totable())
        check.equal(up.bias.grad, { 64, 64, 64 })
    end)

    it("refuse what does not fit", function()
        check.fails("3 groups do not divide 4 inputs and 6 outputs", nn.Conv2d, 4, 6, 3,
            { groups = 3 })
        check.fails("kernel is a number or a list of 2", nn.Conv2d, 1, 1, { 1, 2, 3 })
        check.fails("there is no option 'output_padding'", nn.Conv2d, 1, 1, 3,
            { output_padding = 1 })
        check.fails("there is no option 'padding_mode'", nn.ConvTranspose2d, 1, 1, 3,
            { padding_mode = "reflect" })
        check.fails("Conv3d", nn.Conv3d(1, 1, 3), mare.zeros(1, 1, 3, 3))
    end)
end)

describe("Calls of convolutions", function()
    it("refuse what does not fit", function()
        local x, w = mare.ones(2, 3, 3), mare.ones(1, 2, 2, 2)
        check.fails("padding \"some\" is none of: valid same", mare.conv2d, x, w, nil,
            { padding = "some" })
        check.fails("padding \"same\" needs stride 1, not 2", mare.conv2d, x, w, nil,
            { padding = "same", stride = 2 })
        check.fails("needs an input %[N, C, D, H, W%]", mare.conv3d, x, w)
        check.fails("output_padding is 1, must be less than", mare.conv_transpose1d,
            mare.ones(2, 3), mare.ones(2, 2, 2), nil, { output_padding = 1 })
        check.fails("for 3 channels, the input has 2", mare.conv_transpose1d, mare.ones(2, 3),
            mare.ones(3, 2, 2))
        check.fails("would have %-1 elements", mare.conv_transpose1d, mare.ones(2, 2),
            mare.ones(2, 1, 2), nil, { padding = 2 })
        check.fails("conv1d: dimension 2 of %[2, 3%] is padded by 3", mare.conv1d,
            mare.ones(2, 3), mare.ones(1, 2, 2), nil, { padding = 3, padding_mode = "reflect" })
    end)
end)

describe("pad, unfold and fold", function()
    it("pad integers and take pairs", function()
        local x = mare.tensor({ { 1, 2, 3 } }, { dtype = "u8" })
        check.equal(x:pad({ { 1, 0 }, { 1, 2 } }, "circular"),
            { { 3, 1, 2, 3, 1, 2 }, { 3, 1, 2, 3, 1, 2 } })
        check.equal(x:pad({ 2, -1 }, "reflect"), { { 3, 2, 1, 2 } })
        check.equal(x:pad({ 1, 1 }, "replicate"), { { 1, 1, 2, 3, 3 } })
        check.equal(x:pad({ 1, 1 }, "replicate").dtype, "u8")
    end)

    it("fold sums what unfold takes apart", function()
        local x = mare.ones(1, 1, 3, 3)
        check.equal(mare.fold(x:unfold(2), { 3, 3 }, 2),
            { { { { 1, 2, 1 }, { 2, 4, 2 }, { 1, 2, 1 } } } })
    end)

    it("refuse what does not fit", function()
        check.fails("padded by 3, in this mode it can be by 2 at most", mare.pad, mare.ones(2, 3),
            { 3, 0 }, "reflect")
        check.fails("entry 2 of pad is not {before, after}", mare.pad, mare.ones(2, 3),
            { { 3, 0 }, { 1 } })
        check.fails("needs %[N, C %* 4, 4%]", mare.fold, mare.ones(2, 3), { 3, 3 }, 2)
        check.fails("reaches over 4 elements", mare.unfold, mare.ones(2, 3, 3), 4)
        check.fails("needs %[N, C, H, W%]", mare.unfold, mare.ones(3, 3), 2)
    end)
end)
