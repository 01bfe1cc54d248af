import torch


def cases(k):
    for dim in (1, 2, -1):
        axis = dim - 1 if dim > 0 else dim
        for descending in (False, True):
            k.case("argsort", [k.input(4, 5, lo=-4, hi=4), dim, descending],
                   lambda x, d, r: torch.sort(x, dim=axis, descending=r, stable=True)[1])
            k.case("argsort", [k.input(3, 70, lo=-4, hi=4, dtype="i32"), dim, descending],
                   lambda x, d, r: torch.sort(x, dim=axis, descending=r, stable=True)[1])
    k.case("argsort", [k.input(200, lo=0, hi=40, dtype="u8")],
           lambda x: torch.sort(x, stable=True)[1])
    for dim in (1, 2, -1):
        axis = dim - 1 if dim > 0 else dim
        for flag in (False, True):
            k.case("sort", [k.input(4, 5, lo=-4, hi=4), dim, flag],
                   lambda x, d, r: torch.sort(x, dim=axis, descending=r, stable=True))
            k.case("topk", [k.input(5, 6, lo=-4, hi=4), 3, dim, flag],
                   lambda x, n, d, f: torch.topk(x, n, dim=axis, largest=f))
            k.case("kthvalue", [k.input(5, 6, lo=-4, hi=4), 3, dim, flag],
                   lambda x, n, d, f: torch.kthvalue(x, n, dim=axis, keepdim=f))
            k.case("median", [k.input(5, 6, lo=-4, hi=4), dim, flag],
                   lambda x, d, f: torch.median(x, dim=axis, keepdim=f))
            k.case("nanmedian", [k.input(5, 6, lo=-4, hi=4), dim, flag],
                   lambda x, d, f: torch.nanmedian(x, dim=axis, keepdim=f))
            k.case("mode", [k.input(5, 9, lo=-2, hi=2, dtype="i32"), dim, flag],
                   lambda x, d, f: torch.mode(x, dim=axis, keepdim=f)[0:1])
            for method in ("linear", "lower", "higher", "midpoint", "nearest"):
                k.case("quantile", [k.input(4, 3, 5, lo=-4, hi=4), 0.37, dim, flag, method],
                       lambda x, q, d, f, m: torch.quantile(x, q, dim=axis, keepdim=f,
                                                            interpolation=m))
                k.case("quantile", [k.input(4, 3, 5, lo=-4, hi=4), k.input(3, lo=0, hi=1), dim,
                                    flag, method],
                       lambda x, q, d, f, m: torch.quantile(x, q.detach(), dim=axis, keepdim=f,
                                                            interpolation=m), grad=False)
        for call in ("cummax", "cummin"):
            k.case(call, [k.input(4, 6, lo=-4, hi=4), dim],
                   lambda x, d: getattr(torch, call)(x, dim=axis))
            k.case(call, [k.input(4, 6, lo=-4, hi=4, dtype="i32"), dim],
                   lambda x, d: getattr(torch, call)(x, dim=axis))
    k.case("median", [k.input(3, 4)], lambda x: x.reshape(-1).median(0))
    k.case("quantile", [k.input(3, 4), 0.6], lambda x, q: x.quantile(q))
    k.case("nanquantile", [k.input(3, 4), 0.25, 2], lambda x, q, d: x.nanquantile(q, 1))
    k.case("msort", [k.input(5, 3)], torch.msort)
    k.case("topk", [k.input(2, 700, lo=-4, hi=4), 5], lambda x, n: torch.topk(x, n))
    k.case("unique", [k.input(4, 9, lo=-3, hi=9, dtype="i32")],
           lambda x: torch.unique(x, return_inverse=True, return_counts=True))
    k.case("unique_consecutive", [k.input(40, lo=0, hi=1, dtype="bool")],
           lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True))
    for right in (False, True):
        k.case("bucketize", [k.input(3, 4, lo=-2, hi=2, dtype="i32"), k.input(1), right],
               lambda x, b, r: torch.bucketize(x.double(), b.detach(), right=r), grad=False)
    k.case("bincount", [k.input(30, lo=0, hi=7, dtype="i32"), None, 12],
           lambda x, w, n: torch.bincount(x, minlength=n))
    k.case("bincount", [k.input(30, lo=0, hi=7, dtype="i32"), k.input(30)],
           lambda x, w: torch.zeros(8).index_add(0, x, w))
    k.case("histc", [k.input(50, lo=-3, hi=3), 7, -2, 2],
           lambda x, n, a, b: torch.histc(x, n, a, b), grad=False)
    k.case("histogram", [k.input(50, lo=-3, hi=3), 7],
           lambda x, n: torch.histogram(x.detach(), n), grad=False)
