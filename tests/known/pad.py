import torch.nn.functional as F


def pad(k, x, amount, mode="constant", value=0):
    k.case("pad", [k.input(*x), amount, mode, value],
           lambda x, amount, mode, value: F.pad(x, amount, mode, value)
           if mode == "constant" else F.pad(x, amount, mode))


def unfold(k, x, kernel, **options):
    k.case("unfold", [k.input(*x), kernel], lambda x, n: F.unfold(x, n, **options),
           options=options)


def fold(k, x, size, kernel, **options):
    k.case("fold", [k.input(*x), size, kernel], lambda x, s, n: F.fold(x, s, n, **options),
           options=options)


def cases(k):
    for mode in ("reflect", "replicate", "circular"):
        pad(k, (2, 2, 5), [2, 1], mode)
        pad(k, (2, 2, 3, 4), [3, 2, 1, 0], mode)
        pad(k, (1, 2, 3, 3, 3), [1, 2, 0, 2, 2, 1], mode)
    pad(k, (3, 4), [1, 2, 0, 1], value=2.5)
    pad(k, (2, 3, 4), [-1, 2, 1, -2])
    pad(k, (5,), [3, 0], value=-1)
    unfold(k, (2, 3, 4, 5), [2, 3])
    unfold(k, (1, 2, 5, 6), 3, dilation=[1, 2], padding=[0, 2], stride=[2, 1])
    unfold(k, (2, 5, 4), [3, 2], padding=1, stride=2)
    fold(k, (2, 12, 12), [4, 5], [2, 2])
    fold(k, (1, 18, 20), [6, 5], 3, dilation=[2, 1], padding=[1, 1], stride=1)
    fold(k, (12, 6), [5, 4], [3, 2], padding=[1, 0], stride=2)
