import itertools

import torch
import torch.nn.functional as F

REDUCTIONS = ("mean", "sum", "none")


def reduce(loss, reduction):
    return {"mean": torch.mean, "sum": torch.sum, "none": lambda x: x}[reduction](loss)


# PyTorch has no second gradients of these.
ONCE = ("multi_margin_loss", "multilabel_margin_loss")


def pair(k, call, function, a, b, **options):
    """A case of input and target with options by name."""
    k.case(call, [a, b], lambda x, y: function(x, y, **options), options=options,
           second=options.get("reduction") == "mean" and call not in ONCE)


def sigmoid_focal(x, t, reduction, alpha, gamma):
    t = t.to(torch.float64)
    p = torch.sigmoid(x)
    p_t = p * t + (1 - p) * (1 - t)
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - p_t) ** gamma
    if alpha >= 0:
        loss = loss * (alpha * t + (1 - alpha) * (1 - t))
    return reduce(loss, reduction)


def cases(k):
    def two(**bounds):
        return k.input(3, 4, lo=-2, hi=2), k.input(3, 4, **bounds)

    for r in REDUCTIONS:
        pair(k, "mse_loss", F.mse_loss, *two(), reduction=r)
        pair(k, "l1_loss", F.l1_loss, *two(), reduction=r)
        for delta in (1, 0.3):
            pair(k, "huber_loss", F.huber_loss, *two(lo=-3, hi=3), reduction=r, delta=delta)
            pair(k, "smooth_l1_loss", F.smooth_l1_loss, *two(lo=-3, hi=3), reduction=r, beta=delta)
        pair(k, "smooth_l1_loss", F.smooth_l1_loss, *two(), reduction=r, beta=0)

        for weight in (None, k.input(4, lo=0.2, hi=2), k.input(3, 4, lo=0.2, hi=2)):
            k.case("binary_cross_entropy",
                   [k.input(3, 4, lo=0.05, hi=0.95), k.input(3, 4, lo=0, hi=1, grad=False), weight,
                    r],
                   lambda x, t, w, r: reduce(-(t * x.log() + (1 - t) * (1 - x).log()) *
                                             (1 if w is None else w), r))
            k.case("binary_cross_entropy_with_logits",
                   [k.input(3, 4, lo=-6, hi=6), k.input(3, 4, lo=0, hi=1), weight, r,
                    k.input(4, lo=0.2, hi=3)],
                   lambda x, t, w, r, pos: reduce(
                       -(t * pos * F.logsigmoid(x) + (1 - t) * F.logsigmoid(-x)) *
                       (1 if w is None else w), r))
        pair(k, "binary_cross_entropy", F.binary_cross_entropy, k.input(3, 4, lo=0.05, hi=0.95),
             k.input(3, 4, lo=0, hi=1, grad=False), reduction=r)
        pair(k, "bce_loss", F.binary_cross_entropy, k.input(5, lo=0.05, hi=0.95),
             k.input(5, lo=0, hi=1, grad=False), reduction=r)
        pair(k, "binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits,
             k.input(3, 4, lo=-6, hi=6), k.input(3, 4, lo=0, hi=1, grad=False), reduction=r)
        pair(k, "bce_with_logits", F.binary_cross_entropy_with_logits, k.input(5, lo=-3, hi=3),
             k.input(5, lo=0, hi=1, grad=False), reduction=r)

        for alpha, gamma in ((0.25, 2), (-1, 1.5), (0.6, 0)):
            pair(k, "sigmoid_focal_loss", sigmoid_focal, k.input(3, 4, lo=-4, hi=4),
                 k.input(3, 4, lo=0, hi=1, dtype="i32"), reduction=r, alpha=alpha, gamma=gamma)
        for log_target in (False, True):
            for how in ("batchmean", r):
                low, high = (-3, 0) if log_target else (0.1, 1)
                pair(k, "kl_div", F.kl_div, k.input(3, 4, lo=-3, hi=0),
                     k.input(3, 4, lo=low, hi=high), reduction=how, log_target=log_target)
        for log_input, full in itertools.product((True, False), (True, False)):
            pair(k, "poisson_nll_loss", F.poisson_nll_loss, k.input(3, 4, lo=0.2, hi=2),
                 k.input(3, 4, lo=0, hi=4, dtype="i32"), reduction=r, log_input=log_input,
                 full=full)
        for full, shape in itertools.product((True, False), ((3, 4), (3, 1), (3,))):
            options = {"full": full, "reduction": r}
            k.case("gaussian_nll_loss",
                   [k.input(3, 4), k.input(3, 4), k.input(*shape, lo=0.3, hi=2)],
                   lambda x, t, v: F.gaussian_nll_loss(x, t, v, **options), options=options,
                   second=r == "mean")
    # A target that is 0, a variance that is raised.
    k.case("kl_div", [k.input(4, lo=-3, hi=0), k.values(4, values=[0, 0.5, 0, 0.25], grad=False)],
           F.kl_div)
    k.case("poisson_nll_loss", [k.input(4, lo=0.2, hi=2), k.input(4, lo=0.2, hi=5, grad=False)],
           lambda x, t: F.poisson_nll_loss(x, t, log_input=False, eps=0.1),
           options={"log_input": False, "eps": 0.1})
    k.case("gaussian_nll_loss",
           [k.input(4), k.input(4), k.values(4, values=[0.01, 0.5, 0, 0.05])],
           lambda x, t, v: F.gaussian_nll_loss(x, t, v, eps=0.1), options={"eps": 0.1})
    pair(k, "mse_loss", F.mse_loss, k.input(), k.input())
