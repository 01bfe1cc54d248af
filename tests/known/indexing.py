import torch
import torch.nn.functional as F

INF = float("inf")


def limited(w, most, p=2.0):
    """weight with max_norm, differentiable; F.embedding changes it in place."""
    n = torch.linalg.vector_norm(w, p, dim=1, keepdim=True)
    y = torch.where(n > most, w * (most / (n + 1e-7)), w)
    rows = torch.arange(len(w))
    assert torch.allclose(y, F.embedding(rows, w.detach().clone(), None, most, p))
    return y


def cases(k):
    x = lambda *s, **o: k.input(*s, lo=-2, hi=2, **o)
    i = lambda n, *s: k.input(*s, lo=0, hi=n - 1, dtype="i32")

    k.case("gather", [x(3, 4), 1, i(3, 5, 4)], lambda t, d, j: torch.gather(t, 0, j))
    k.case("gather", [x(3, 4, 2), -2, i(4, 2, 6, 1)], lambda t, d, j: torch.gather(t, 1, j))
    k.case("gather", [k.input(5, lo=-9, hi=9, dtype="i32"), 1, i(5, 3)],
           lambda t, d, j: torch.gather(t, 0, j))
    k.case("take_along_dim", [x(3, 4), i(4, 3, 2), 2], lambda t, j, d: torch.take_along_dim(t, j, 1))
    k.case("take_along_dim", [x(3, 4), i(3, 2, 1), 1], lambda t, j, d: torch.take_along_dim(t, j, 0))
    k.case("take_along_dim", [x(1, 4), i(4, 3, 2), 2], lambda t, j, d: torch.take_along_dim(t, j, 1))
    k.case("take_along_dim", [x(3, 4), i(12, 5)], torch.take_along_dim)
    k.case("index_select", [x(3, 4), 2, i(4, 6)], lambda t, d, j: torch.index_select(t, 1, j))

    # Where several meet PyTorch gives each the gradient; here the last one alone has it.
    k.case("scatter", [x(3, 4), 1, i(3, 1, 4), x(1, 4)],
           lambda t, d, j, s: torch.scatter(t, 0, j, s))
    k.case("scatter", [x(3, 4, 2), 2, i(4, 2, 1, 1), x(2, 1, 1)],
           lambda t, d, j, s: torch.scatter(t, 1, j, s))
    k.case("scatter", [x(3, 4), 1, i(3, 6, 3), x(6, 4)],
           lambda t, d, j, s: torch.scatter(t, 0, j, s), grad=False)
    k.case("scatter", [x(3, 4), 1, i(3, 6, 3), 7], lambda t, d, j, s: torch.scatter(t, 0, j, s))
    k.case("scatter_add", [x(3, 4), 1, i(3, 6, 3), x(6, 3)],
           lambda t, d, j, s: torch.scatter_add(t, 0, j, s))
    k.case("scatter_add", [x(3, 4, 2), -1, i(2, 2, 3, 5), x(2, 3, 6)],
           lambda t, d, j, s: torch.scatter_add(t, -1, j, s), grad=False)
    for r in ("sum", "prod", "mean", "amax", "amin"):
        for own in (True, False):
            k.case("scatter_reduce", [x(3, 4), 1, i(3, 4, 4), x(4, 4), r, own],
                   lambda t, d, j, s, r, own: torch.scatter_reduce(t, 0, j, s, r, include_self=own))
    k.case("scatter_reduce", [x(3, 4), 2, i(4, 2, 3), x(2, 3), "prod", False],
           lambda t, d, j, s, r, own: torch.scatter_reduce(t, 1, j, s, r, include_self=own), grad=False)
    for r in ("sum", "amax", "mean"):
        whole = lambda *s: k.input(*s, lo=-9, hi=9, dtype="i32")
        k.case("scatter_reduce", [whole(3, 4), 1, i(3, 4, 4), whole(4, 4), r],
               lambda t, d, j, s, r: torch.scatter_reduce(t, 0, j, s, r))

    k.case("index_add", [x(3, 4), 1, i(3, 5), x(5, 4)],
           lambda t, d, j, s: torch.index_add(t, 0, j, s))
    k.case("index_add", [x(3, 4), 2, i(4, 5), x(3, 5), -0.5],
           lambda t, d, j, s, a: torch.index_add(t, 1, j, s, alpha=a))
    k.case("index_copy", [x(3, 4), 1, i(3, 1), x(1, 4)],
           lambda t, d, j, s: torch.index_copy(t, 0, j, s))
    k.case("index_copy", [x(3, 4), 2, i(4, 1), x(3, 1)],
           lambda t, d, j, s: torch.index_copy(t, 1, j, s))
    k.case("index_fill", [x(3, 4), 2, i(4, 3), 5], lambda t, d, j, s: torch.index_fill(t, 1, j, s))
    for r in ("prod", "mean", "amax", "amin"):
        k.case("index_reduce", [x(3, 4), 2, i(4, 5), x(3, 5), r],
               lambda t, d, j, s, r: torch.index_reduce(t.detach(), 1, j, s.detach(), r), grad=False)
    k.case("put", [x(3, 4), i(12, 1), x(1)], torch.Tensor.put)
    k.case("put", [x(3, 4), i(12, 2, 3), x(2, 3), True], torch.Tensor.put)

    k.case("embedding", [i(5, 2, 3), x(5, 4)], F.embedding)
    k.case("embedding", [i(3, 6), x(3, 2), 1], F.embedding)
    k.case("embedding", [i(3, 6), x(3, 2), -1], F.embedding)
    for mode in ("mean", "sum", "max"):
        k.case("embedding_bag", [i(5, 3, 4), x(5, 2), None, mode],
               lambda j, w, o, m: F.embedding_bag(j, w, mode=m))
    k.case("embedding_bag", [i(5, 3, 4), x(5, 2), None, "sum", x(3, 4)],
           lambda j, w, o, m, s: F.embedding_bag(j, w, mode=m, per_sample_weights=s))

    b = lambda *s: k.input(*s, lo=0, hi=1, dtype="bool")
    few = lambda *s: k.input(*s, lo=-1, hi=1, dtype="i32")
    for s in ((7,), (3, 4), (2, 3, 4), (0, 3)):
        k.case("nonzero", [few(*s)], torch.nonzero)
    k.case("argwhere", [b(5, 3)], torch.argwhere)
    k.case("nonzero", [k.input(3, 2, lo=0, hi=0, dtype="i32")], torch.nonzero)
    k.case("masked_fill", [x(3, 4), b(3, 4), 1.5], torch.masked_fill)
    k.case("masked_fill", [x(3, 4), b(3, 1), float("-inf")], torch.masked_fill)
    k.case("masked_fill", [few(3, 4), b(4), 9], torch.masked_fill)
    k.case("masked_select", [x(3, 4), b(3, 4)], torch.masked_select)
    k.case("masked_select", [x(3, 1), b(4)], torch.masked_select)
    k.case("masked_select", [few(3, 4), b(4)], torch.masked_select)
    k.case("masked_scatter", [x(3, 4), b(3, 4), x(13)], torch.masked_scatter)
    k.case("masked_scatter", [x(3, 4), b(4), x(4, 3)], torch.masked_scatter)
    k.case("repeat_interleave", [x(3, 2), 3], torch.repeat_interleave)
    k.case("repeat_interleave", [x(3, 2), 2, 1], lambda t, n, d: torch.repeat_interleave(t, n, 0))
    k.case("repeat_interleave", [x(3, 4), i(4, 4), 2],
           lambda t, n, d: torch.repeat_interleave(t, n, 1))
    k.case("repeat_interleave", [x(3, 2), i(4, 6)], torch.repeat_interleave)
    k.case("repeat_interleave", [x(3, 2), i(4, 1), -2],
           lambda t, n, d: torch.repeat_interleave(t, n, 0))
    k.case("linspace", [-2, 3, 7], torch.linspace)
    k.case("linspace", [1, 2, 1], torch.linspace)
    k.case("logspace", [-1, 2, 4], torch.logspace)
    k.case("logspace", [0, 3, 4, 2], lambda a, e, n, base: torch.logspace(a, e, n, base))
    k.case("windows", [x(2, 7), 2, 3, 2], lambda t, d, n, s: t.unfold(1, n, s))
    k.case("windows", [x(5, 2), 1, 2], lambda t, d, n: t.unfold(0, n, 1))
    for o in (-2, 0, 1):
        k.case("tril_indices", [3, 4, o], torch.tril_indices)
        k.case("triu_indices", [4, 3, o], torch.triu_indices)

    # Ties among elements of src, with x's own, and of x's with none.
    for r in ("amax", "amin"):
        for own in (True, False):
            k.case("scatter_reduce",
                   [k.values(2, 3, values=[1, 2, 3, -1, 2, 7]), 1,
                    k.values(3, 3, values=[0, 0, 0, 1, 0, 1, 0, 0, 1], dtype="i32"),
                    k.values(3, 3, values=[1, 2, 5, -1, 2, 7, 1, 4, 7]), r, own],
                   lambda t, d, j, s, r, own: torch.scatter_reduce(t, 0, j, s, r, include_self=own),
                   grad=own)
    k.case("scatter_reduce",
           [k.values(2, 3, values=[3, 3, 1, 5, 5, 5]), 2,
            k.values(1, 4, values=[0, 1, 1, 2], dtype="i32"), k.values(2, 4, values=[3, 3, 3, 0, 9, 9, 9, 9]),
            "amax"], lambda t, d, j, s, r: torch.scatter_reduce(t, 1, j, s, r))

    k.case("embedding", [i(5, 2, 3), x(5, 4), None, 1.5],
           lambda j, w, pad, m: F.embedding(j, limited(w, m)), second=True)
    k.case("embedding", [i(5, 6), x(5, 4), -2, 2, 1],
           lambda j, w, pad, m, p: F.embedding(j, limited(w, m, p), pad))
    k.case("embedding", [i(5, 6), x(5, 4), None, 1, INF],
           lambda j, w, pad, m, p: F.embedding(j, limited(w, m, p)))
    k.case("embedding", [i(5, 6), x(5, 4), None, 2, 3],
           lambda j, w, pad, m, p: F.embedding(j, limited(w, m, p)), second=True)
    few = k.values(4, 3, values=[0, 1, 1, 1, 1, 1, 2, 1, 0, 2, 2, 2], dtype="i32")
    for mode in ("mean", "sum", "max"):
        k.case("embedding_bag", [few, x(3, 2), None, mode, None, 1],
               lambda j, w, o, m, s, pad: F.embedding_bag(j, w, mode=m, padding_idx=pad))
        k.case("embedding_bag", [k.values(7, values=[0, 1, 2, 1, 1, 2, 0], dtype="i32"), x(3, 2),
                                 k.values(5, values=[0, 3, 3, 5, 6], dtype="i32"), mode, None, -2],
               lambda j, w, o, m, s, pad: F.embedding_bag(j, w, o, mode=m, padding_idx=pad))
        k.case("embedding_bag", [few, x(3, 2), None, mode, None, None, 1.2],
               lambda j, w, o, m, s, pad, most: F.embedding_bag(j, limited(w, most), mode=m))
    k.case("embedding_bag", [few, x(3, 2), None, "sum", x(4, 3), 1],
           lambda j, w, o, m, s, pad: F.embedding_bag(j, w, mode=m, per_sample_weights=s, padding_idx=1))
