import math

import torch
import torch.nn.functional as F


def sample(x, r, c):
    """Bilinear value of x [C, H, W] at row r and column c, 0 further than one element outside."""
    h, w = x.shape[1:]
    if r < -1 or r > h or c < -1 or c > w:
        return torch.zeros_like(x[:, 0, 0])
    r, c = min(max(r, 0), h - 1), min(max(c, 0), w - 1)
    i, j = int(r), int(c)
    k, m = min(i + 1, h - 1), min(j + 1, w - 1)
    a, b = r - i, c - j
    return ((1 - a) * ((1 - b) * x[:, i, j] + b * x[:, i, m]) +
            a * ((1 - b) * x[:, k, j] + b * x[:, k, m]))


def roi_align(x, boxes, size, scale=1.0, ratio=-1, aligned=False):
    """Mask R-CNN's RoIAlign with the conventions of torchvision."""
    ph, pw = size if isinstance(size, list) else (size, size)
    out = []
    for box in boxes.detach().tolist():
        x1, y1, x2, y2 = [v * scale - (0.5 if aligned else 0) for v in box[1:]]
        h, w = y2 - y1, x2 - x1
        if not aligned:
            h, w = max(h, 1), max(w, 1)
        gh = ratio if ratio > 0 else math.ceil(h / ph)
        gw = ratio if ratio > 0 else math.ceil(w / pw)
        bins = []
        for i in range(ph):
            for j in range(pw):
                total = torch.zeros_like(x[0, :, 0, 0])
                for a in range(gh):
                    for b in range(gw):
                        total = total + sample(x[int(box[0])], y1 + (i + (a + 0.5) / gh) * h / ph,
                                               x1 + (j + (b + 0.5) / gw) * w / pw)
                bins.append(total / max(gh * gw, 1))
        out.append(torch.stack(bins, 1).reshape(-1, ph, pw))
    return torch.stack(out)


def area(b):
    return (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])


def extent(lo, hi):
    return (hi - lo)[..., 0] * (hi - lo)[..., 1]


def box_iou(a, b, generalized=False):
    a, b = a[:, None], b[None]
    inter = extent(torch.zeros(1, 1, 2), (torch.minimum(a[..., 2:], b[..., 2:]) -
                                          torch.maximum(a[..., :2], b[..., :2])).clamp(min=0))
    joint = area(a) + area(b) - inter
    if not generalized:
        return inter / joint
    hull = extent(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return inter / joint - (hull - joint) / hull


def nms(boxes, scores, threshold):
    kept = []
    for i in torch.argsort(scores, descending=True, stable=True).tolist():
        if all(not box_iou(boxes[i:i + 1], boxes[k:k + 1])[0, 0] > threshold for k in kept):
            kept.append(i)
    return torch.tensor(kept)


def cases(k):
    for aligned in (False, True):
        for ratio in (-1, 1, 2, 3):
            k.case("roi_align", [k.input(2, 2, 5, 6), k.input(3, 5, lo=0, hi=1.9), [2, 3], 3, ratio,
                                 aligned], roi_align)
        k.case("roi_align", [k.input(1, 1, 4, 4), k.input(6, 5, lo=-0.9, hi=0.9), 2, 8, 2, aligned],
               roi_align)
        k.case("roi_align", [k.input(1, 2, 7, 7), k.input(3, 5, lo=0, hi=0.9), 1, 9, -1, aligned],
               roi_align)
    k.case("roi_align", [k.input(2, 1, 3, 3), k.input(2, 5, lo=0, hi=1.9), 2], roi_align)
    # Random corners: most boxes have negative sides, as the formulas take them.
    k.case("box_iou", [k.input(5, 4), k.input(4, 4)], box_iou)
    k.case("generalized_box_iou", [k.input(5, 4), k.input(4, 4)],
           lambda a, b: box_iou(a, b, True))
    k.case("nms", [k.input(30, 4, lo=0, hi=9, dtype="i32"), k.input(30), 0.2], nms, grad=False)
    k.case("nms", [k.input(60, 4), k.input(60, lo=0, hi=4, dtype="i32"), 0.5], nms, grad=False)
    for d, shape in ((1, (2, 2, 1)), (2, (2, 2, 1, 1)), (3, (3, 1, 1, 1))):
        unpool = getattr(F, "max_unpool%dd" % d)
        size = [4, 5, 4][:d]
        k.case("max_unpool%dd" % d, [k.input(*shape), k.input(*shape, lo=0, hi=2 ** d - 1,
                                                             dtype="i32"), 2], unpool)
        k.case("max_unpool%dd" % d, [k.input(*shape), k.input(*shape, lo=0, hi=4 ** d - 1,
                                                             dtype="i32"), 4, 2, 0, size], unpool)
    # Equal places: the last counts.
    k.case("max_unpool2d", [k.input(2, 3, 2, 3), k.input(2, 3, 2, 3, lo=0, hi=23, dtype="i32"), 2],
           F.max_unpool2d, grad=False)
