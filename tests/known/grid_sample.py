import torch
import torch.nn.functional as F


def cases(k):
    def case(shape, grid, mode, padding, align, grad=True):
        k.case("grid_sample", [k.input(*shape), k.input(*grid, lo=-1.6, hi=1.6), mode, padding, align],
               lambda x, g, m, p, a: F.grid_sample(x, g, m, p, a), grad=grad)

    for align in (False, True):
        for padding in ("zeros", "border", "reflection"):
            for mode in ("bilinear", "nearest", "bicubic"):
                case((2, 2, 4, 5), (2, 3, 3, 2), mode, padding, align)
                if mode != "bicubic":
                    case((1, 2, 3, 4, 2), (1, 2, 3, 2, 3), mode, padding, align)
            case((1, 1, 1, 1), (1, 2, 2, 2), "bilinear", padding, align)
    # Many places onto few elements.
    case((1, 3, 2, 2), (1, 9, 9, 2), "bilinear", "border", False)
