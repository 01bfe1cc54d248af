-- What pooling refuses, and options by other names; values are in tests/known.

local mare = require "mare"
local check = require "check"

-- f(...) fails with these words.
local function fails(words, f, ...)
    check.fails((words:gsub("%p", "%%%0")), f, ...)
end

describe("pooling", function()
    local x = mare.arange(24):float():reshape(1, 1, 4, 6)

    it("takes its window by either name", function()
        local y = { { { { 8, 11 }, { 20, 23 } } } }
        check.equal(mare.max_pool2d(x, { kernel_size = { 2, 3 } }), y)
        check.equal(x:max_pool2d({ 2, 3 }), y)
        check.equal(x:max_pool2d { kernel = { 2, 3 } }, y)
    end)
    it("gives values and places", function()
        local y, at = mare.max_pool2d_with_indices(x, { 2, 3 })
        check.equal(y, { { { { 8, 11 }, { 20, 23 } } } })
        check.equal(at, { { { { 8, 11 }, { 20, 23 } } } })
        check.equal(at.dtype, "i32")
    end)
    it("refuses what makes no sense", function()
        fails("max_pool1d: takes [N, C, L]", mare.max_pool1d, x, 2)
        fails("adaptive_max_pool3d: takes [N, C, D, H, W]", mare.adaptive_max_pool3d,
            mare.ones(2, 2), 2)
        fails("kernel_size takes one integer or 2, not 3", mare.avg_pool2d, x, { 1, 2, 3 })
        fails("stride is 0", mare.avg_pool2d, x, 2, 0)
        fails("kernel_size is not given", mare.avg_pool2d, x, {})
        fails("output_size must be 1 or more", mare.adaptive_avg_pool2d, x, { 0, 2 })
        fails("output_size must be 1 or more", mare.adaptive_avg_pool2d, x, {})
        fails("divisor_override is 0", mare.avg_pool2d, x, 2, { divisor_override = 0 })
        fails("norm_type is 0", mare.lp_pool2d, x, 0, 2)
        fails("global_max_pool: takes [N, C, ...]", mare.global_max_pool, mare.ones(2, 2))
        fails("takes floats, not i32", mare.max_pool2d, x:to("i32"), 2)
        fails("padding 2 is more than half", mare.max_pool2d, x, 2, { padding = 2 })
    end)
end)

describe("resizing", function()
    local x = mare.arange(12):float():reshape(1, 1, 3, 4)

    it("refuses what makes no sense", function()
        fails("one of size and scale_factor", mare.interpolate, x)
        fails("one of size and scale_factor", mare.interpolate, x, 3, 2)
        fails("scale_factor is -1", mare.interpolate, x, { scale_factor = -1 })
        fails("from 3 to 0 elements", mare.interpolate, x, { scale_factor = 0.1 })
        fails("size takes one integer or 2", mare.interpolate, x, { 1, 2, 3 })
        fails("size is 0", mare.interpolate, x, 0)
        fails("linear 1, bilinear", mare.interpolate, x, 3, { mode = "linear" })
        fails("align_corners is for", mare.interpolate, x, 3, { align_corners = true })
        fails("antialias is for", mare.interpolate, x, 3, { antialias = true })
        fails("floats, not i32", mare.interpolate, x:to("i32"), 3)
        fails("pixel_shuffle: [1, 1, 3, 4] does not divide by 2", mare.pixel_shuffle, x, 2)
        fails("pixel_unshuffle: [1, 1, 3, 4] does not divide by 2", mare.pixel_unshuffle, x, 2)
        fails("channel_shuffle: takes", mare.channel_shuffle, x, 3)
        fails("affine_grid: takes theta", mare.affine_grid, x, { 1, 1, 2, 2 })
    end)
end)

describe("grid_sample", function()
    local x = mare.arange(12):float():reshape(1, 1, 3, 4)

    it("gives nothing at places that are not numbers, and an end with a border", function()
        local nan, inf = 0 / 0, math.huge
        local grid = mare.tensor { { { { nan, nan }, { inf, -inf }, { 1e30, 0 }, { 0, 0 } } } }
        check.equal(x:grid_sample(grid, { align_corners = true }), { { { { 0, 0, 0, 5.5 } } } })
        check.equal(x:grid_sample(grid, { padding_mode = "border", align_corners = true }),
            { { { { 0, 3, 7, 5.5 } } } })
    end)
    it("gives the same gradients each time", function()
        local grid = mare.uniform({ 1, 40, 40, 2 }, -2, 2)
        local function gradient()
            local p = mare.ones(1, 1, 3, 4, { requires_grad = true })
            p:grid_sample(grid, { padding_mode = "border" }):square():sum():backward()
            return p.grad:totable()
        end
        check.equal(gradient(), gradient())
    end)
    it("refuses what makes no sense", function()
        fails("grid_sample: takes x [N, C, H, W]", mare.grid_sample, x, mare.zeros(2, 2, 2, 2))
        fails("grid_sample: takes x [N, C, H, W]", mare.grid_sample, x, mare.zeros(1, 2, 2, 3))
        fails("grid_sample: takes x [N, C, H, W]", mare.grid_sample, mare.zeros(1, 1, 0, 2),
            mare.zeros(1, 2, 2, 2))
        fails("bicubic takes x [N, C, H, W]", mare.grid_sample, mare.ones(1, 1, 2, 2, 2),
            mare.zeros(1, 2, 2, 2, 3), { mode = "bicubic" })
        fails("takes floats", mare.grid_sample, x:to("i32"), mare.zeros(1, 2, 2, 2))
    end)
end)

describe("max_unpool", function()
    it("undoes a pooling as far as it can", function()
        local x = mare.uniform({ 2, 3, 5, 6 }, 1, 2)
        x.requires_grad = true
        local y, at = x:max_pool2d_with_indices(2)
        local back = y:max_unpool2d(at, 2, { output_size = { 5, 6 } })
        check.equal(back.shape, { 2, 3, 5, 6 })
        check.equal(back:max_pool2d(2), y)
        check.equal(y:max_unpool2d(at, 2).shape, { 2, 3, 4, 6 })
        back:sum():backward()
        check.equal(x.grad, back:gt(0):float())
    end)
    it("gives the last of equal places", function()
        local at = mare.tensor({ { { 2, 0, 2 } } }, { dtype = "i32" })
        local x = mare.tensor { { { 5, 6, 7 } } }
        x.requires_grad = true
        local y = x:max_unpool1d(at, 1)
        check.equal(y, { { { 6, 0, 7 } } })
        y:sum():backward()
        check.equal(x.grad, { { { 0, 1, 1 } } })
    end)
    it("refuses what makes no sense", function()
        local x, at = mare.ones(1, 1, 2), mare.zeros(1, 1, 2, { dtype = "i32" })
        fails("max_unpool1d: index 4 is outside 0..3", mare.max_unpool1d, x, at + 4, 2)
        fails("max_unpool1d: index -1 is outside 0..3", mare.max_unpool1d, x, at - 1, 2)
        fails("indices like it", mare.max_unpool1d, x, mare.zeros(1, 2, 1, { dtype = "i32" }), 2)
        fails("output size 6 is not around the 4", mare.max_unpool1d, x, at, 2,
            { output_size = 6 })
        fails("output_size has 2 entries", mare.max_unpool1d, x, at, 2, { output_size = { 1, 2 } })
        fails("integer indices", mare.max_unpool1d, x, x, 2)
    end)
end)

describe("boxes", function()
    local boxes = mare.tensor { { 0, 0, 2, 2 }, { 1, 0, 3, 2 }, { 4, 4, 5, 5 }, { 0, 0, 2, 2.1 } }

    it("overlap", function()
        check.near(mare.box_iou(boxes[{ { 1, 2 } }], boxes[{ { 2, 3 } }]),
            { { 1 / 3, 0 }, { 1, 0 } }, 1e-6)
        check.near(mare.generalized_box_iou(boxes[{ { 1, 1 } }], boxes[{ { 3, 3 } }]),
            { { -(25 - 5) / 25 } }, 1e-6)
    end)
    it("go when better ones overlap them", function()
        local scores = mare.tensor { 0.5, 0.9, 0.1, 0.5 }
        check.equal(mare.nms(boxes, scores, 0.5), { 1, 0, 2 })
        check.equal(mare.nms(boxes, scores, 0.2), { 1, 2 })
        check.equal(mare.nms(boxes, scores, 1), { 1, 0, 3, 2 })
        check.equal(mare.nms(mare.zeros(0, 4), mare.zeros(0), 0.5), {})
    end)
    it("without a picture are zeros", function()
        local x = mare.ones(1, 1, 4, 4)
        local rois = mare.tensor { { 0, 0, 0, 3, 3 }, { 1, 0, 0, 3, 3 }, { -1, 0, 0, 3, 3 } }
        check.equal(x:roi_align(rois, 1, { sampling_ratio = 2 }):reshape(-1), { 1, 0, 0 })
        check.equal(x:roi_align(mare.zeros(0, 5), 2).shape, { 0, 1, 2, 2 })
    end)
    it("refuse what makes no sense", function()
        fails("box_iou: takes boxes [N, 4], not [4]", mare.box_iou, boxes[1], boxes)
        fails("nms: boxes [4, 4] and scores [3] do not fit", mare.nms, boxes, mare.ones(3), 0.5)
        local x = mare.ones(1, 1, 4, 4)
        fails("boxes [K, 5], not", mare.roi_align, x, boxes, 2)
        fails("output_size is 0", mare.roi_align, x, mare.zeros(1, 5), 0)
        fails("output_size must be given", mare.roi_align, x, mare.zeros(1, 5), {})
        fails("samples a bin", mare.roi_align, x, mare.tensor { { 0, 0, 0, 1e6, 2 } }, 1)
    end)
end)

describe("layers of pictures", function()
    local nn = mare.nn
    local x = mare.arange(48):float():reshape(1, 2, 4, 6)

    it("do what their calls do", function()
        local line, box = x:reshape(1, 2, 24), x:reshape(1, 2, 2, 2, 6)
        for _, case in ipairs {
            { nn.MaxPool1d(3, { stride = 2 }), line, mare.max_pool1d(line, 3, 2) },
            { nn.MaxPool3d(2), box, mare.max_pool3d(box, 2) },
            { nn.AvgPool1d(4, { padding = 1, count_include_pad = false }), line,
                mare.avg_pool1d(line, 4, nil, 1, false, false) },
            { nn.AvgPool2d({ 2, 3 }, { divisor_override = 7 }), x,
                mare.avg_pool2d(x, { 2, 3 }, { divisor_override = 7 }) },
            { nn.AvgPool3d(2), box, mare.avg_pool3d(box, 2) },
            { nn.LPPool1d(3, 2), line, mare.lp_pool1d(line, 3, 2) },
            { nn.LPPool2d(2, { 2, 3 }), x, mare.lp_pool2d(x, 2, { 2, 3 }) },
            { nn.LPPool3d(1, 2), box, mare.lp_pool3d(box, 1, 2) },
            { nn.AdaptiveAvgPool1d(5), line, mare.adaptive_avg_pool1d(line, 5) },
            { nn.AdaptiveAvgPool2d({ -1, 2 }), x, mare.adaptive_avg_pool2d(x, { 4, 2 }) },
            { nn.AdaptiveAvgPool3d(1), box, mare.global_avg_pool(box) },
            { nn.AdaptiveMaxPool1d(5), line, mare.adaptive_max_pool1d(line, 5) },
            { nn.AdaptiveMaxPool2d(1), x, mare.global_max_pool(x) },
            { nn.AdaptiveMaxPool3d(2), box, mare.adaptive_max_pool3d(box, 2) },
            { nn.Upsample { scale_factor = 2 }, x, mare.interpolate(x, nil, 2) },
            { nn.Upsample { size = { 3, 3 }, mode = "bicubic" }, x,
                mare.interpolate(x, { 3, 3 }, nil, "bicubic") },
            { nn.PixelUnshuffle(2), x, x:pixel_unshuffle(2) },
            { nn.ChannelShuffle(2), x, x:channel_shuffle(2) },
        } do
            check.equal(case[1](case[2]), case[3], tostring(case[1]))
        end
        check.equal(nn.PixelShuffle(2)(nn.PixelUnshuffle(2)(x)), x)
    end)
    it("pool and unpool", function()
        local y, at = nn.MaxPool2d(2, { return_indices = true })(x)
        check.equal(nn.MaxUnpool2d(2)(y, at), x:max_pool2d(2):max_unpool2d(at, 2))
        check.equal(nn.MaxUnpool2d(2)(y, at, { 5, 6 }).shape, { 1, 2, 5, 6 })
        local _, places = nn.AdaptiveMaxPool2d(2, { return_indices = true })(x)
        check.equal(places.dtype, "i32")
    end)
    it("say what they are", function()
        local function says(layer, text) check.equal(tostring(layer):match("^[^\n]*"), text) end
        says(nn.MaxPool2d({ 2, 3 }, { stride = 2, padding = 1, dilation = 2 }),
            "MaxPool2d(2x3, stride=2, padding=1, dilation=2)")
        says(nn.LPPool2d(2, 3), "LPPool2d(2, 3)")
        says(nn.AdaptiveAvgPool2d({ 1, 3 }), "AdaptiveAvgPool2d(1x3)")
        says(nn.Upsample { scale_factor = 2 }, "Upsample(scale_factor=2, mode=nearest)")
    end)
    it("refuse what makes no sense", function()
        fails("MaxPool3d: kernel is a number or a list of 3", nn.MaxPool3d, { 2, 2 })
        fails("AvgPool1d: there is no option 'dilation'", nn.AvgPool1d, 2, { dilation = 2 })
        fails("LPPool2d: the norm's order must be a number", nn.LPPool2d, nil, 2)
        fails("Upsample: one of size and scale_factor", nn.Upsample, {})
        fails("PixelShuffle: the factor must be", nn.PixelShuffle, 0)
        fails("AdaptiveAvgPool2d: there is no option", nn.AdaptiveAvgPool2d, 2,
            { return_indices = true })
    end)
end)
