import torch
import torch.nn.functional as F

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
SHAPES = {1: (2, 2, 5), 2: (1, 1, 4, 5), 3: (1, 1, 3, 4, 3)}
SIZES = {1: [5, 10, 7, 3, 1], 2: [[8, 10], [7, 3], [2, 9], 1], 3: [[6, 4, 2], 4]}


def cases(k):
    def case(shape, mode, size, scale=None, tolerance=None, **options):
        k.case("interpolate", [k.input(*shape), size, scale, mode],
               lambda x, n, s, m: F.interpolate(x, n, s, m, **options),
               options=options or None, tolerance=tolerance)

    for d in (1, 2, 3):
        for size in SIZES[d]:
            for mode in ("nearest", "nearest-exact", "area", LINEAR[d]):
                case(SHAPES[d], mode, size)
            case(SHAPES[d], LINEAR[d], size, align_corners=True)
            if d == 2:
                case(SHAPES[d], "bicubic", size)
                case(SHAPES[d], "bicubic", size, align_corners=True)
                for mode in ("bilinear", "bicubic"):
                    case(SHAPES[d], mode, size, antialias=True)
        for scale in (2, 3, 0.6, 1.3):
            for mode in ("nearest", LINEAR[d]):
                if d < 3 or scale != 3:
                    case(SHAPES[d], mode, None, scale)
        case(SHAPES[d], LINEAR[d], None, 1.3, recompute_scale_factor=True)
        case(SHAPES[d], "nearest", None, 1.3, recompute_scale_factor=True)
    case((1, 1, 9, 7), "bicubic", None, 0.4)
    case((1, 1, 9, 7), "bilinear", None, 0.3, antialias=True)
    case((1, 1, 9, 7), "bicubic", None, 0.3, antialias=True)
