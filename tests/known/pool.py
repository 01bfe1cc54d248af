import torch
import torch.nn.functional as F

SHAPES = {1: [(2, 2, 9), (2, 8)], 2: [(1, 2, 5, 6), (1, 5, 5)], 3: [(1, 1, 4, 5, 4), (1, 4, 4, 4)]}
# kernel_size, stride, padding, dilation, ceil_mode
WINDOWS = {
    1: [(2, None, 0, 1, False), (3, 2, 1, 1, True), (3, 1, 1, 2, False)],
    2: [(2, None, 0, 1, False), ([3, 2], [2, 1], [1, 0], 1, True), (2, 1, 1, 2, False)],
    3: [(2, None, 0, 1, False), ([2, 3, 2], [1, 2, 2], [1, 1, 0], 1, True),
        (2, 2, 0, [1, 2, 1], False)],
}
SIZES = {1: [1, 3, 12], 2: [1, [3, 2], [-1, 4]], 3: [1, [2, 3, 1], [2, -1, 3]]}


def size(s):
    return [None if x == -1 else x for x in s] if isinstance(s, list) else s


def cases(k):
    for d in (1, 2, 3):
        name = "pool%dd" % d
        maximum, average = getattr(F, "max_" + name), getattr(F, "avg_" + name)
        for shape in SHAPES[d]:
            for n, s, p, dil, up in WINDOWS[d]:
                if n == 2 and shape == SHAPES[d][0]:
                    k.case("max_" + name, [k.input(*shape), n, s, p, dil, up], maximum)
                k.case("max_" + name + "_with_indices", [k.input(*shape), n, s, p, dil, up],
                       lambda x, *a: maximum(x, *a, return_indices=True))
                if dil != 1:
                    continue
                for counted in (True, False):
                    k.case("avg_" + name, [k.input(*shape), n, s, p, up, counted], average)
                if d > 1 and shape == SHAPES[d][0]:
                    k.case("avg_" + name, [k.input(*shape), n, s, p, up, True, 5], average)
                if d < 3:
                    for norm in (1, 2, 3.5):
                        k.case("lp_" + name, [k.input(*shape, lo=0.2), norm, n, s, up],
                               getattr(F, "lp_" + name))
            for out in SIZES[d]:
                if isinstance(out, list) and -1 in out and shape != SHAPES[d][0]:
                    continue
                k.case("adaptive_avg_" + name, [k.input(*shape), out],
                       lambda x, o: getattr(F, "adaptive_avg_" + name)(x, size(o)))
                if out == 1:
                    k.case("adaptive_max_" + name, [k.input(*shape), out],
                           getattr(F, "adaptive_max_" + name))
                k.case("adaptive_max_" + name + "_with_indices", [k.input(*shape), out],
                       lambda x, o: getattr(F, "adaptive_max_" + name)(x, size(o),
                                                                       return_indices=True))
    k.case("lp_pool3d", [k.input(1, 1, 4, 4, 5, lo=0.2), 3, 2, None, True],
           lambda x, p, n, s, up: (F.avg_pool3d(x ** p, n, s, 0, up) * 8) ** (1 / p))
    k.case("global_avg_pool", [k.input(2, 3, 4, 5)], lambda x: x.mean((2, 3), keepdim=True))
    k.case("global_max_pool", [k.input(2, 2, 2, 2, 3)], lambda x: x.amax((2, 3, 4), keepdim=True))
    k.case("max_pool2d", [k.input(1, 2, 6, 6)], lambda x: F.max_pool2d(x, 3, 2, 1),
           options={"kernel_size": 3, "stride": 2, "padding": 1})
    k.case("avg_pool2d", [k.input(1, 2, 6, 6, dtype="f16")], lambda x: F.avg_pool2d(x, 2),
           options={"kernel": 2}, tolerance=2e-3)
