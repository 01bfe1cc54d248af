import torch


def products(x, dim):
    """cumprod of products, whose second derivatives are right at zeros."""
    rows = x.unbind(dim)
    out = [rows[0]]
    for r in rows[1:]:
        out.append(out[-1] * r)
    return torch.stack(out, dim)


def cases(k):
    for dim in (1, 2, -1):
        axis = dim - 1 if dim > 0 else dim
        for call in ("cumsum", "cumprod", "logcumsumexp"):
            k.case(call, [k.input(4, 5, lo=-2, hi=2), dim],
                   lambda x, d: getattr(torch, call)(x, dim=axis))
    k.case("cumsum", [k.input(2, 300, lo=-2, hi=2), 2], lambda x, d: x.cumsum(1), grad=False)
    k.case("cumsum", [k.input(3, 40, lo=-9, hi=9, dtype="i32"), 2], lambda x, d: x.cumsum(1))
    k.case("cumprod", [k.input(3, 8, lo=-3, hi=3, dtype="i32"), 2], lambda x, d: x.cumprod(1))
    k.case("cumprod", [k.input(3, 8, lo=0, hi=1, dtype="bool"), 1], lambda x, d: x.cumprod(0))
    k.case("logcumsumexp", [k.input(3, 90, lo=-40, hi=90), 2], lambda x, d: x.logcumsumexp(1))
    for call in ("cumprod", "logcumsumexp"):
        k.case(call, [k.input(3, 5, lo=-2, hi=2), 2],
               lambda x, d: getattr(torch, call)(x, dim=1), second=True)
        k.case(call, [k.input(4, 3, lo=-2, hi=2), 1],
               lambda x, d: getattr(torch, call)(x, dim=0), second=True)
    # Zeros: one, two, three, at both ends.
    zeros = [2, 0, 3, -1, 0.5, 0, 2, 0, -3, 1, 0, 0, 0, 2, 1, 1, -2, 3, 2, 0]
    for d in (1, 2):
        k.case("cumprod", [k.values(4, 5, values=zeros), d], lambda x, d: products(x, d - 1),
               second=True)
