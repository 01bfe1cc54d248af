import torch
import torch.nn.functional as F


def cases(k):
    k.case("pixel_shuffle", [k.input(2, 8, 2, 3), 2], F.pixel_shuffle)
    k.case("pixel_shuffle", [k.input(9, 2, 1), 3], F.pixel_shuffle)
    k.case("pixel_unshuffle", [k.input(2, 2, 4, 6), 2], F.pixel_unshuffle)
    k.case("pixel_unshuffle", [k.input(2, 1, 1, 3, 3), 3], F.pixel_unshuffle)
    k.case("channel_shuffle", [k.input(2, 6, 2, 2), 3],
           lambda x, g: x.reshape(2, g, 2, 2, 2).transpose(1, 2).reshape(x.shape))
    k.case("channel_shuffle", [k.input(1, 4, 3), 2],
           lambda x, g: x.reshape(1, g, 2, 3).transpose(1, 2).reshape(x.shape))
    for align in (False, True):
        k.case("affine_grid", [k.input(2, 2, 3), [2, 1, 3, 4], align],
               lambda t, s, a: F.affine_grid(t, s, align_corners=a))
        k.case("affine_grid", [k.input(1, 3, 4), [1, 1, 2, 3, 2], align],
               lambda t, s, a: F.affine_grid(t, s, align_corners=a))
    k.case("affine_grid", [k.input(1, 2, 3), [1, 1, 1, 1], True],
           lambda t, s, a: F.affine_grid(t, s, align_corners=a))
