import math

import torch
import torch.nn.functional as F

from loss import REDUCTIONS, pair, reduce


def contrastive(a, b, t, margin, r):
    d = ((a - b) ** 2).sum(-1).sqrt()
    return reduce(0.5 * ((1 - t) * d ** 2 + t * torch.clamp(margin - d, min=0) ** 2), r)


def margins(k):
    for r in REDUCTIONS:
        for p, margin in ((1, 1), (2, 0.6)):
            options = {"reduction": r, "p": p, "margin": margin}
            pair(k, "multi_margin_loss", F.multi_margin_loss, k.input(5, 4),
                 k.input(5, lo=0, hi=3, dtype="i32"), **options)
            k.case("multi_margin_loss",
                   [k.input(5, 4), k.input(5, lo=0, hi=3, dtype="i32"), p, margin,
                    k.input(4, lo=0.2, hi=2, grad=False), r],
                   lambda x, t, p, m, w, r: F.multi_margin_loss(x, t, p, m, w, reduction=r))
        lists = k.values(4, 5, values=[1, 3, -1, 2, 0, -1, 0, 1, 2, 3, 0, 1, 2, 3, 4, 2, 2, 4, -1,
                                       -1], dtype="i32")
        pair(k, "multilabel_margin_loss", F.multilabel_margin_loss, k.input(4, 5), lists,
             reduction=r)
        pair(k, "multilabel_soft_margin_loss", F.multilabel_soft_margin_loss,
             k.input(4, 5, lo=-4, hi=4), k.input(4, 5, lo=0, hi=1, dtype="i32"), reduction=r)
        k.case("multilabel_soft_margin_loss",
               [k.input(4, 5), k.input(4, 5, lo=0, hi=1), k.input(5, lo=0.2, hi=2), r],
               lambda x, t, w, r: F.multilabel_soft_margin_loss(x, t, w, reduction=r))
        signs = k.values(2, 3, values=[1, -1, -1, 1, 1, -1], dtype="i32")
        for margin in (1, 0.4):
            pair(k, "hinge_embedding_loss", F.hinge_embedding_loss, k.input(2, 3, lo=0, hi=2),
                 signs, reduction=r, margin=margin)
        pair(k, "soft_margin_loss", F.soft_margin_loss, k.input(2, 3, lo=-5, hi=5), signs,
             reduction=r)
        for margin in (0, 0.4):
            options = {"margin": margin, "reduction": r}
            k.case("margin_ranking_loss", [k.input(2, 3), k.input(2, 3), signs],
                   lambda a, b, t: F.margin_ranking_loss(a, b, t, **options), options=options)
            k.case("cosine_embedding_loss",
                   [k.input(6, 4), k.input(6, 4),
                    k.values(6, values=[1, -1, -1, 1, 1, -1], dtype="i32")],
                   lambda a, b, t: F.cosine_embedding_loss(a, b, t, **options), options=options,
               second=r == "mean")
            k.case("contrastive_loss",
                   [k.input(6, 4), k.input(6, 4),
                    k.values(6, values=[1, 0, 0, 1, 1, 0], dtype="i32")],
                   lambda a, b, t: contrastive(a, b, t, margin + 1, r),
                   options={"margin": margin + 1, "reduction": r}, second=r == "mean")
    k.case("multi_margin_loss", [k.input(4), k.values(values=[2], dtype="i32")],
           lambda x, t: F.multi_margin_loss(x, t.reshape(())))
    k.case("multilabel_margin_loss",
           [k.input(4), k.values(4, values=[2, 0, -1, 1], dtype="i32")],
           F.multilabel_margin_loss)
    k.case("cosine_embedding_loss",
           [k.input(4), k.input(4), k.values(values=[-1], dtype="i32")],
           lambda a, b, t: F.cosine_embedding_loss(a, b, t.reshape(())))
    for p, swap, r in ((2, False, "mean"), (2, True, "sum"), (1, False, "none"), (3, True, "mean"),
                       (math.inf, False, "none"), (1.5, False, "mean")):
        options = {"p": p, "swap": swap, "reduction": r, "margin": 0.7}
        k.case("triplet_margin_loss", [k.input(5, 4), k.input(5, 4), k.input(5, 4)],
               lambda a, b, c: F.triplet_margin_loss(a, b, c, **options), options=options,
               second=r == "mean")
    k.case("triplet_margin_loss", [k.input(2, 3, 4), k.input(2, 3, 4), k.input(2, 3, 4)],
           lambda a, b, c: F.triplet_margin_loss(a, b, c, eps=0.01), options={"eps": 0.01})


def many(k):
    def info_nce(q, p, n=None, temperature=0.1, reduction="mean"):
        q, p = F.normalize(q, dim=-1), F.normalize(p, dim=-1)
        if n is None:
            return F.cross_entropy(q @ p.T / temperature, torch.arange(len(q)),
                                   reduction=reduction)
        n = F.normalize(n, dim=-1)
        wrong = q @ n.T if n.dim() == 2 else torch.einsum("nd,nmd->nm", q, n)
        scores = torch.cat([(q * p).sum(-1, keepdim=True), wrong], 1) / temperature
        return F.cross_entropy(scores, torch.zeros(len(q), dtype=torch.long), reduction=reduction)

    def nt_xent(a, b, temperature=0.5, reduction="mean"):
        z = F.normalize(torch.cat([a, b]), dim=-1)
        n = len(a)
        scores = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool),
                                                     -math.inf)
        return F.cross_entropy(scores, (torch.arange(2 * n) + n) % (2 * n), reduction=reduction)

    for r in REDUCTIONS:
        pair(k, "info_nce_loss", info_nce, k.input(4, 3), k.input(4, 3), reduction=r)
        pair(k, "nt_xent_loss", nt_xent, k.input(4, 3), k.input(4, 3), reduction=r)
    for shape in ((5, 3), (4, 5, 3)):
        k.case("info_nce_loss", [k.input(4, 3), k.input(4, 3), k.input(*shape), 0.3], info_nce)
    pair(k, "nt_xent_loss", nt_xent, k.input(3, 4), k.input(3, 4), temperature=0.2)


def cases(k):
    margins(k)
    many(k)
