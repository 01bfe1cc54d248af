import torch
import torch.nn.functional as F


def batch_norm(x, mean, var, weight, bias, training, momentum, eps):
    y = F.batch_norm(x, m := None if mean is None else mean.detach().clone(),
                     v := None if var is None else var.detach().clone(), weight, bias, training,
                     momentum, eps)
    if mean is None:  # Mare gives the batch's own
        axes = [0] + list(range(2, x.dim()))
        m, v = x.mean(axes).detach(), x.var(axes).detach()
    return y, m, v


def instance_norm(x, mean, var, weight, bias, use_input_stats, momentum, eps):
    y = F.instance_norm(x, m := None if mean is None else mean.detach().clone(),
                        v := None if var is None else var.detach().clone(), weight, bias,
                        use_input_stats, momentum, eps)
    if mean is None:
        axes = list(range(2, x.dim()))
        m, v = x.mean(axes).mean(0).detach(), x.var(axes).mean(0).detach()
    return y, m, v


def spectral_norm(weight, u, v, steps, dim):
    w = weight.transpose(0, dim - 1).flatten(1) if dim == 1 else weight.movedim(dim - 1, 0).flatten(1)
    u, v = u.detach(), v.detach()
    for _ in range(steps):
        v = F.normalize(w.detach().t() @ u, dim=0, eps=1e-12)
        u = F.normalize(w.detach() @ v, dim=0, eps=1e-12)
    return weight / (u @ w @ v), u, v


def rms_norm(x, shape, weight, eps):
    axes = list(range(-len(shape), 0))
    y = x * torch.rsqrt(x.square().mean(axes, keepdim=True) + eps)
    return y if weight is None else y * weight


def cases(k):
    def channel_cases(call, function):
        for shape in ((4, 3), (3, 2, 5), (2, 3, 4, 2), (2, 2, 3, 2, 2)):
            c = shape[1]
            if call == "instance_norm" and len(shape) == 2:
                continue
            for from_input in (True, False):
                # By running statistics, Mare has a gradient for these, too, and PyTorch none.
                k.case(call, [k.input(*shape, lo=-2, hi=3), k.input(c), k.input(c, lo=0.5, hi=2),
                              k.input(c), k.input(c), from_input, 0.3, 1e-3], function,
                       grad=from_input)
        k.case(call, [k.input(3, 2, 4), None, None, k.input(2), None, True, 0.1, 1e-5], function)
        k.case(call, [k.input(3, 2, 4), None, None, None, k.input(2), True, 0.1, 1e-5], function)
        k.case(call, [k.input(3, 2, 4), k.input(2), k.input(2, lo=0.5, hi=2), None, None, False,
                      0.1, 1e-5], function, grad=False)

    channel_cases("batch_norm", batch_norm)
    channel_cases("instance_norm", instance_norm)
    # A large mean costs a small variance nothing.
    k.case("batch_norm", [k.input(6, 2, 3, lo=1000, hi=1001), None, None, None, None, True, 0.1,
                          1e-5], batch_norm, grad=False)
    for x, shape in (((2, 5), [5]), ((3, 4, 6), [6]), ((3, 4, 6), [4, 6]), ((4,), [4]),
                     ((2, 70), [70])):
        for affine in (True, False) if x[-1] < 70 else (True,):
            w = k.input(*shape) if affine else None
            b = k.input(*shape) if affine else None
            k.case("layer_norm", [k.input(*x, lo=-2, hi=3), shape, w, b, 1e-4],
                   lambda x, s, w, b, e: F.layer_norm(x, s, w, b, e))
            k.case("rms_norm", [k.input(*x, lo=-2, hi=3), shape, w, 1e-4], rms_norm)
    k.case("layer_norm", [k.input(3, 4), [4]], lambda x, s: F.layer_norm(x, s))
    k.case("rms_norm", [k.input(3, 4), [4]], lambda x, s: rms_norm(x, s, None, 1.1920929e-7))
    k.case("layer_norm", [k.input(3, 40, lo=1000, hi=1001), [40], None, None, 1e-5],
           lambda x, s, w, b, e: F.layer_norm(x, s, w, b, e), grad=False)
    k.case("group_norm", [k.input(6, 4, 3, lo=5000, hi=5002), 2],
           lambda x, n: F.group_norm(x, n), grad=False)
    for shape, groups in (((2, 6), 3), ((3, 4, 5), 2), ((2, 4, 3, 2), 1), ((2, 4, 3, 3), 4),
                          ((2, 6, 2, 2, 2), 2)):
        c = shape[1]
        k.case("group_norm", [k.input(*shape, lo=-2, hi=3), groups, k.input(c), k.input(c), 1e-3],
               F.group_norm)
    k.case("group_norm", [k.input(2, 4, 3), 2], lambda x, n: F.group_norm(x, n))
    for size in (1, 2, 3, 5):
        k.case("local_response_norm", [k.input(2, 4, 3, lo=-3, hi=3), size, 0.2, 0.6, 1.5],
               F.local_response_norm)
    k.case("local_response_norm", [k.input(2, 4, 3, 2, lo=-3, hi=3), 3],
           lambda x, n: F.local_response_norm(x, n))
    k.case("local_response_norm", [k.input(2, 4, 2, 1, 2, lo=-3, hi=3), 2],
           lambda x, n: F.local_response_norm(x, n))
    for p in (1, 2, 3, 0.5, 2.5, float("inf")):
        k.case("normalize", [k.input(3, 4), p, 2], lambda x, p, d: F.normalize(x, p, d - 1))
    k.case("normalize", [k.input(3, 4, 2)], lambda x: F.normalize(x))
    k.case("normalize", [k.input(3, 4), 2, 1, 2.0], lambda x, p, d, e: F.normalize(x, p, d - 1, e))
    for dim in (1, 2, 3):
        size = [1, 1, 1]
        size[dim - 1] = (4, 3, 2)[dim - 1]
        k.case("weight_norm", [k.input(4, 3, 2), k.input(*size), dim],
               lambda v, g, d: torch._weight_norm(v, g, d - 1) if d != 2 else
               v * (g / v.norm(dim=(0, 2), keepdim=True)))
    k.case("weight_norm", [k.input(4, 3), k.input(4, 1)], lambda v, g: torch._weight_norm(v, g, 0))
    k.case("weight_norm", [k.input(4, 3), k.input()], lambda v, g: torch._weight_norm(v, g, -1))
    for dim, u, v in ((1, 4, 6), (2, 3, 8), (3, 2, 12)):
        for steps in (0, 2):
            k.case("spectral_norm", [k.input(4, 3, 2), k.input(u), k.input(v), steps, dim],
                   spectral_norm)
