import torch


def cases(k):
    x = lambda *s, **o: k.input(*s, lo=-2, hi=2, **o)
    k.case("roll", [x(3, 4), 1], lambda t, s: torch.roll(t, s))
    k.case("roll", [x(3, 4), -3, 2], lambda t, s, d: torch.roll(t, s, 1))
    k.case("roll", [x(3, 4, 2), [5, -1], [1, 3]], lambda t, s, d: torch.roll(t, (5, -1), (0, 2)))
    k.case("roll", [k.input(5, lo=-9, hi=9, dtype="i32"), 2, 1], lambda t, s, d: torch.roll(t, 2, 0))
    k.case("movedim", [x(2, 3, 4), 1, 3], lambda t, a, b: torch.movedim(t, 0, 2))
    k.case("movedim", [x(2, 3, 4, 2), [4, 1], [1, 2]],
           lambda t, a, b: torch.movedim(t, (3, 0), (0, 1)))
    k.case("swapaxes", [x(2, 3, 4), 1, -1], lambda t, a, b: torch.swapaxes(t, 0, -1))
    for turns in (-1, 0, 1, 2, 3, 5):
        k.case("rot90", [x(2, 3), turns], lambda t, n: torch.rot90(t, n))
    k.case("rot90", [x(2, 3, 2), 1, [3, 1]], lambda t, n, d: torch.rot90(t, 1, (2, 0)))
    k.case("fliplr", [x(2, 3, 2)], torch.fliplr)
    k.case("flipud", [x(3)], torch.flipud)
    k.case("tile", [x(2, 3), 2], lambda t, n: torch.tile(t, (2,)))
    k.case("tile", [x(2, 3), [3, 1, 2]], lambda t, n: torch.tile(t, (3, 1, 2)))
    k.case("tile", [x(1, 3), [4, 2]], lambda t, n: torch.tile(t, (4, 2)))
    k.case("tile", [x(2, 1, 2, 1, 2, 1), [2, 1, 2, 1, 2, 3]],
           lambda t, n: torch.tile(t, (2, 1, 2, 1, 2, 3)))
    k.case("tile", [x(2, 3), [0, 2]], lambda t, n: torch.tile(t, (0, 2)))
    k.case("ravel", [x(2, 3)], torch.ravel)
    k.case("unflatten", [x(2, 6), 2, [2, -1]], lambda t, d, s: torch.unflatten(t, 1, (2, -1)))
    k.case("unflatten", [x(6, 2), 1, [3, 1, 2]], lambda t, d, s: torch.unflatten(t, 0, (3, 1, 2)))
    k.case("broadcast_to", [x(3, 1), [2, 3, 2]], lambda t, s: torch.broadcast_to(t, (2, 3, 2)))
    for f in ("atleast_1d", "atleast_2d", "atleast_3d"):
        for s in ((), (3,), (2, 3), (2, 1, 3)):
            k.case(f, [x(*s)], getattr(torch, f))
    for f in ("hstack", "vstack", "dstack", "column_stack"):
        k.case(f, [[x(3), x(3)]], lambda t, f=f: getattr(torch, f)(t))
        k.case(f, [[x(2, 3), x(2, 3)]], lambda t, f=f: getattr(torch, f)(t))
    for d in (-4, -1, 0, 2):
        k.case("tril", [x(3, 4), d], torch.tril)
        k.case("triu", [x(2, 4, 3), d], torch.triu)
        k.case("diagonal", [x(3, 4), d], torch.diagonal)
        k.case("diag", [x(3), d], torch.diag)
        k.case("diag", [x(4, 3), d], torch.diag)
    k.case("diagonal", [x(2, 3, 4), 1, 1, 3], lambda t, o, a, b: torch.diagonal(t, 1, 0, 2))
    k.case("diagonal", [x(2, 3, 4), -1, 3, 2], lambda t, o, a, b: torch.diagonal(t, -1, 2, 1))
    k.case("tril", [k.input(3, 3, lo=-9, hi=9, dtype="i32")], torch.tril)
    k.case("diag_embed", [x(2, 3), 1], torch.diag_embed)
    k.case("diag_embed", [x(2, 3), -2], torch.diag_embed)
    k.case("diagflat", [x(2, 2)], torch.diagflat)
    k.case("trace", [x(3, 5)], torch.trace)
    k.case("vander", [k.input(3, lo=0.5, hi=2)], lambda t: t[:, None] ** torch.arange(2, -1, -1))
    k.case("vander", [k.input(3, lo=0.5, hi=2), 5, True],
           lambda t, n, up: t[:, None] ** torch.arange(5))
    k.case("diag_embed", [x(2, 3), 1, 1, 3], lambda t, o, a, b: torch.diag_embed(t, 1, 0, 2))
    k.case("diag_embed", [x(2, 3), 1, 2, -3], lambda t, o, a, b: torch.diag_embed(t, 1, 1, 0))
    k.case("diag_embed", [x(2, 3, 2), -1, -1, 1], lambda t, o, a, b: torch.diag_embed(t, -1, -1, 0))
    k.case("diag_embed", [x(3), 0, 2, 1], lambda t, o, a, b: torch.diag_embed(t, 0, 1, 0))
