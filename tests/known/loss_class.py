import itertools

import torch
import torch.nn.functional as F

from loss import REDUCTIONS, pair, reduce


def cases(k):
    for weighted, ignore, smooth in itertools.product((False, True), (None, 2), (0, 0.2)):
        for r in REDUCTIONS:
            options = {"reduction": r, "label_smoothing": smooth}
            if ignore is not None:
                options["ignore_index"] = ignore
            weight = [k.input(5, lo=0.2, hi=2, grad=False)] if weighted else []
            k.case("cross_entropy",
                   [k.input(7, 5, lo=-3, hi=3), k.input(7, lo=0, hi=4, dtype="i32")] + weight,
                   lambda x, t, w=None: F.cross_entropy(x, t, weight=w, **options),
                   options=options, second=r == "mean")
            if smooth == 0:
                del options["label_smoothing"]
                k.case("nll_loss",
                       [k.input(2, 5, 3), k.input(2, 3, lo=0, hi=4, dtype="u8")] +
                       ([k.input(5, lo=0.2, hi=2, grad=False)] if weighted else []),
                       lambda x, t, w=None: F.nll_loss(x, t.long(), weight=w, **options),
                       options=options)
    labels = k.values(6, values=[3, -100, 0, 1, -100, 2], dtype="i32")
    far = k.values(2, 3, values=[255, 1, 0, 3, 255, 2], dtype="u8")
    for r in REDUCTIONS:
        pair(k, "cross_entropy", F.cross_entropy, k.input(6, 4), labels, reduction=r)
        pair(k, "cross_entropy", F.cross_entropy, k.input(6, 4), labels, reduction=r,
             label_smoothing=0.1)
        pair(k, "nll_loss", F.nll_loss, k.input(6, 4), labels, reduction=r)
        k.case("cross_entropy", [k.input(2, 4, 3), far, k.input(4, lo=0.2, hi=2, grad=False)],
               lambda x, t, w: F.cross_entropy(x, t.long(), w, ignore_index=255, reduction=r,
                                               label_smoothing=0.3),
               options={"ignore_index": 255, "reduction": r, "label_smoothing": 0.3})
    none = k.values(3, values=[-100, -100, -100], dtype="i32")
    pair(k, "cross_entropy", F.cross_entropy, k.input(3, 4), none, reduction="sum")
    k.case("cross_entropy", [k.input(3, 4), none], F.cross_entropy, grad=False)
    # Probabilities; several dimensions; no batch.
    for r, smooth in itertools.product(REDUCTIONS, (0, 0.2)):
        options = {"reduction": r, "label_smoothing": smooth}
        pair(k, "cross_entropy", F.cross_entropy, k.input(4, 5, lo=-3, hi=3),
             k.input(4, 5, lo=0, hi=1), **options)
        k.case("cross_entropy", [k.input(2, 3, 2, 2), k.input(2, 3, 2, 2, lo=0, hi=1),
                                 k.input(3, lo=0.2, hi=2)],
               lambda x, t, w: F.cross_entropy(x, t, w, **options), options=options,
               second=r == "mean")
        pair(k, "cross_entropy", F.cross_entropy, k.input(2, 3, 2, 2),
             k.input(2, 2, 2, lo=0, hi=2, dtype="i32"), **options)
        for target in (k.input(lo=0, hi=4, dtype="i32"), k.input(5, lo=0, hi=1)):
            pair(k, "cross_entropy", F.cross_entropy, k.input(5), target, **options)
    k.case("nll_loss", [k.input(5), k.input(lo=0, hi=4, dtype="i32")], F.nll_loss)

    def focal(x, t, w=None, ignore_index=-100, reduction="mean", gamma=2.0):
        log_p = torch.log_softmax(x, 1)
        keep = t != ignore_index
        at = torch.where(keep, t, torch.zeros_like(t))
        own = log_p.gather(1, at.unsqueeze(1)).squeeze(1)
        scale = (torch.ones_like(own) if w is None else w[at]) * keep
        loss = -scale * (1 - own.exp()) ** gamma * own
        return loss.sum() / scale.sum() if reduction == "mean" else reduce(loss, reduction)

    for r in REDUCTIONS:
        for gamma in (0, 0.5, 2):
            pair(k, "focal_loss", focal, k.input(6, 4, lo=-3, hi=3), labels, reduction=r,
                 gamma=gamma)
        k.case("focal_loss", [k.input(2, 4, 3), k.input(2, 3, lo=0, hi=3, dtype="i32"),
                              k.input(4, lo=0.2, hi=2, grad=False)],
               lambda x, t, w: focal(x, t, w, ignore_index=1, reduction=r),
               options={"ignore_index": 1, "reduction": r})
