import torch

INF = float("inf")


def axes(dim):
    if dim is None:
        return ()
    if isinstance(dim, list):
        return tuple(d - 1 for d in dim)
    return (dim - 1,) if dim > 0 else (dim,)


def cases(k):
    for dim in (None, 1, -1, [1, 3]):
        d = axes(dim) or (0, 1, 2)
        for keep in (False, True):
            opts = {"keepdim": keep}

            def case(call, function, options=opts, tensor=None, grad=True):
                x = tensor or k.input(3, 2, 4, lo=-2, hi=2)
                k.case(call, [x, dim], lambda x, _: function(x), options=options, grad=grad)
            case("sum", lambda x: x.sum(d, keepdim=keep))
            case("mean", lambda x: x.mean(d, keepdim=keep))
            case("max", lambda x: x.amax(d, keepdim=keep))
            case("amin", lambda x: x.amin(d, keepdim=keep))
            case("aminmax", lambda x: (x.amin(d, keepdim=keep), x.amax(d, keepdim=keep)))
            case("logsumexp", lambda x: x.logsumexp(d, keepdim=keep))
            case("var", lambda x: x.var(d, unbiased=True, keepdim=keep))
            case("std", lambda x: x.std(d, unbiased=False, keepdim=keep),
                 {"keepdim": keep, "correction": 0})
            case("std_mean", lambda x: torch.std_mean(x, d, unbiased=True, keepdim=keep))
            case("var_mean", lambda x: torch.var_mean(x, d, unbiased=True, keepdim=keep))
            case("nansum", lambda x: x.nansum(d, keepdim=keep))
            case("nanmean", lambda x: x.nanmean(d, keepdim=keep))
            case("nanvar", lambda x: x.var(d, unbiased=True, keepdim=keep))
            case("count_nonzero", lambda x: (x != 0).sum(d, keepdim=keep),
                 tensor=k.input(3, 2, 4, lo=-1, hi=1, dtype="i32"))
            case("any", lambda x: (x != 0).sum(d, keepdim=keep) > 0,
                 tensor=k.input(3, 2, 4, lo=0, hi=1, dtype="bool"))
            case("all", lambda x: (x == 0).sum(d, keepdim=keep) == 0,
                 tensor=k.input(3, 2, 4, lo=0, hi=1, dtype="bool"))
            for p in (3, INF) if keep else (2, 1, 0, 0.5, -INF, -1):
                k.case("norm", [k.input(3, 2, 4, lo=0.2, hi=2), p, dim],
                       lambda x, p, _: torch.linalg.vector_norm(x, p, d, keepdim=keep),
                       options=opts, grad=p != 0)
    for dim in (1, 2, -1):
        axis = dim - 1 if dim > 0 else dim
        k.case("prod", [k.input(3, 4), dim], lambda x, d: x.prod(axis))
        k.case("argmax", [k.input(3, 4), dim], lambda x, d: x.argmax(axis))
        k.case("argmin", [k.input(3, 4), dim, True], lambda x, d, t: x.argmin(axis, keepdim=True))
        k.case("max_with_indices", [k.input(3, 4), dim], lambda x, d: torch.max(x, axis))
        k.case("min_with_indices", [k.input(3, 4), dim, True],
               lambda x, d, t: torch.min(x, axis, keepdim=True))
        for n in (0, 1, 2, 3):
            k.case("diff", [k.input(3, 4), n, dim], lambda x, n, d: torch.diff(x, n, axis))
        k.case("diff", [k.input(3, 4), 1, dim, k.input(3, 4), k.input(3, 4)],
               lambda x, n, d, a, b: torch.diff(x, n, axis, a, b))
        k.case("trapezoid", [k.input(3, 4), None, 0.5, dim],
               lambda y, x, dx, d: torch.trapezoid(y, dx=dx, dim=axis))
        k.case("trapezoid", [k.input(4, 4), k.input(4), None, dim],
               lambda y, x, dx, d: torch.trapezoid(y, x, dim=axis))
        k.case("trapezoid", [k.input(4, 3), k.input(4, 3), None, dim],
               lambda y, x, dx, d: torch.trapezoid(y, x, dim=axis))
        k.case("cumulative_trapezoid", [k.input(3, 4), None, 0.5, dim],
               lambda y, x, dx, d: torch.cumulative_trapezoid(y, dx=dx, dim=axis))
    k.case("argmax", [k.input(3, 4)], lambda x: x.argmax())
    k.case("diff", [k.input(9, lo=0, hi=1, dtype="bool")], lambda x: torch.diff(x.int()) != 0)
    for correction in (0, 1):
        k.case("cov", [k.input(3, 7), correction], lambda x, c: torch.cov(x, correction=c))
    k.case("cov", [k.input(7)], torch.cov)
    k.case("corrcoef", [k.input(3, 7)], torch.corrcoef, tolerance=1e-4)
    k.case("norm", [k.input(3, 2, 4), "fro"], torch.norm)
    k.case("norm", [k.input(3, 2, 4), "fro", [1, 3]], lambda x, p, d: torch.norm(x, p, (0, 2)))
    for p in ("inf", "-inf"):
        k.case("norm", [k.input(3, 2, 4), p, 2], lambda x, p, d: torch.norm(x, float(p), 1))
