import torch
import torch.nn.functional as F

conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
transposed = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def forward(k, n, x, w, bias=False, **options):
    def run(x, w, b=None):
        given = dict(options)
        mode = given.pop("padding_mode", "zeros")
        if mode != "zeros":
            p = given.pop("padding")
            p = [p] * n if isinstance(p, int) else p
            x = F.pad(x, [q for a in reversed(p) for q in (a, a)], mode)
        return conv[n](x, w, b, **given)
    args = [k.input(*x), k.input(*w)] + ([k.input(w[0])] if bias else [])
    k.case("conv%dd" % n, args, run, options=options)


def backward(k, n, x, w, bias=False, **options):
    args = [k.input(*x), k.input(*w)]
    if bias:
        args.append(k.input(w[1] * options.get("groups", 1)))
    k.case("conv_transpose%dd" % n, args, lambda *a: transposed[n](*a, **options), options=options)


def cases(k):
    for mode in ("reflect", "replicate", "circular"):
        forward(k, 1, (2, 2, 6), (3, 2, 3), padding=2, padding_mode=mode)
        forward(k, 2, (1, 2, 4, 5), (2, 2, 3, 3), bias=True, padding=[1, 2], stride=2,
                padding_mode=mode)
        forward(k, 3, (1, 2, 3, 3, 4), (2, 1, 2, 2, 2), groups=2, padding=[1, 0, 2],
                padding_mode=mode)
    forward(k, 1, (2, 3, 9), (4, 3, 3), bias=True)
    forward(k, 1, (3, 8), (2, 3, 4), stride=2, padding=3, dilation=2)
    forward(k, 1, (2, 4, 7), (6, 2, 2), groups=2, padding="same")
    forward(k, 1, (2, 4, 7), (4, 1, 3), groups=4, padding="valid")
    forward(k, 2, (2, 3, 5, 7), (4, 3, 3, 2), bias=True, stride=[2, 1], padding=[1, 2])
    forward(k, 2, (3, 6, 5), (2, 3, 3, 3), padding="same", dilation=[1, 2])
    forward(k, 2, (1, 2, 5, 6), (2, 2, 4, 2), padding="same", bias=True)
    forward(k, 2, (2, 4, 5, 5), (4, 1, 3, 3), groups=4, padding=1)
    forward(k, 2, (1, 4, 6, 5), (8, 1, 3, 2), groups=4, stride=2)
    forward(k, 3, (1, 2, 4, 5, 3), (3, 2, 2, 3, 2), bias=True, stride=[1, 2, 1], padding=[1, 0, 1])
    forward(k, 3, (2, 3, 4, 3), (4, 1, 2, 1, 2), groups=2, dilation=[2, 1, 1])
    forward(k, 3, (1, 1, 3, 4, 3), (2, 1, 2, 2, 3), padding="same")
    backward(k, 1, (2, 3, 5), (3, 4, 3), bias=True, stride=2, padding=1, output_padding=1)
    backward(k, 1, (3, 5), (3, 2, 4), stride=3, dilation=2)
    backward(k, 1, (1, 2, 4), (2, 3, 2), dilation=3, output_padding=2)
    backward(k, 2, (2, 3, 4, 3), (3, 2, 4, 4), stride=2, padding=1)
    backward(k, 2, (1, 4, 3, 5), (4, 2, 3, 2), bias=True, groups=2, stride=[2, 3], padding=[0, 1],
             output_padding=[1, 2])
    backward(k, 2, (4, 3, 4), (4, 1, 3, 3), groups=4, stride=2, padding=1, output_padding=1)
    backward(k, 2, (1, 2, 2, 3), (2, 3, 2, 3), stride=4, dilation=[1, 2])
    backward(k, 3, (1, 2, 2, 3, 2), (2, 3, 2, 3, 2), bias=True, stride=2, padding=[0, 1, 0],
             output_padding=[1, 0, 1])
    backward(k, 3, (2, 2, 1, 3), (2, 1, 2, 2, 3), groups=2, stride=[1, 2, 3])
