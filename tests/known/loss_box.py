import math

import torch

from loss import REDUCTIONS, pair, reduce


def cases(k):
    def dice(p, t, reduction="mean", smooth=1.0, squared=False):
        axes = list(range(2, p.dim()))
        total = p ** 2 + t ** 2 if squared else p + t
        both = p * t
        if axes:
            both, total = both.sum(axes), total.sum(axes)
        return reduce(1 - (2 * both + smooth) / (total + smooth), reduction)

    def parts(a, b, eps):
        both = (torch.min(a[..., 2:], b[..., 2:]) - torch.max(a[..., :2], b[..., :2])).clamp(min=0)
        both = both[..., 0] * both[..., 1]
        area = [(x[..., 2] - x[..., 0]) * (x[..., 3] - x[..., 1]) for x in (a, b)]
        either = area[0] + area[1] - both
        hull = torch.max(a[..., 2:], b[..., 2:]) - torch.min(a[..., :2], b[..., :2])
        centres = ((a[..., :2] + a[..., 2:]) / 2 - (b[..., :2] + b[..., 2:]) / 2) ** 2
        away = centres.sum(-1) / ((hull ** 2).sum(-1) + eps)
        return both / (either + eps), either, hull[..., 0] * hull[..., 1], away

    def iou(a, b, reduction="mean", eps=1e-7):
        return reduce(1 - parts(a, b, eps)[0], reduction)

    def giou(a, b, reduction="mean", eps=1e-7):
        share, either, hull, _ = parts(a, b, eps)
        return reduce(1 - share + (hull - either) / (hull + eps), reduction)

    def diou(a, b, reduction="mean", eps=1e-7):
        share, _, _, away = parts(a, b, eps)
        return reduce(1 - share + away, reduction)

    def ciou(a, b, reduction="mean", eps=1e-7):
        share, _, _, away = parts(a, b, eps)
        form = [torch.atan((x[..., 2] - x[..., 0]) / (x[..., 3] - x[..., 1])) for x in (b, a)]
        v = 4 / math.pi ** 2 * (form[0] - form[1]) ** 2
        factor = (v / (1 - share + v + eps)).detach()
        return reduce(1 - share + away + factor * v, reduction)

    # Overlapping, apart, one inside the other.
    first = [0, 0, 2, 3, 0.5, 0.25, 1.5, 4, -1, -1, 0, 0, 0, 0, 4, 4.5]
    second = [1, 0.5, 3, 2.5, 0, 1, 2, 3, 1, 2, 3, 2.5, 1, 1.25, 2, 2.75]
    for r in REDUCTIONS:
        for squared, smooth in ((False, 1), (True, 0.5)):
            pair(k, "dice_loss", dice, k.input(2, 3, 2, 2, lo=0, hi=1),
                 k.input(2, 3, 2, 2, lo=0, hi=1, grad=False), reduction=r, squared=squared,
                 smooth=smooth)
        for name, f in (("iou_loss", iou), ("giou_loss", giou), ("diou_loss", diou),
                        ("ciou_loss", ciou)):
            pair(k, name, f, k.values(4, 4, values=first), k.values(4, 4, values=second),
                 reduction=r)
            pair(k, name, f, k.values(2, 2, 4, values=second), k.values(2, 2, 4, values=first),
                 reduction=r, eps=0.01)
    pair(k, "dice_loss", dice, k.input(4, 2, lo=0, hi=1), k.input(4, 2, lo=0, hi=1))
