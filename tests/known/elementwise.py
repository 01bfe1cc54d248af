import torch


def cases(k):
    one = {
        "logit": (torch.logit, 0.02, 0.98), "sinc": (torch.sinc, -3, 3),
        "deg2rad": (torch.deg2rad, -300, 300), "rad2deg": (torch.rad2deg, -4, 4),
        "entr": (torch.special.entr, 0, 3), "tanhshrink": (torch.nn.functional.tanhshrink, -3, 3),
        "log_cosh": (lambda x: torch.log(torch.cosh(x)), -4, 4),
        "signbit": (torch.signbit, -1, 1), "isposinf": (torch.isposinf, -1, 1),
        "isneginf": (torch.isneginf, -1, 1), "nan_to_num": (torch.nan_to_num, -1, 1),
    }
    for name, (f, lo, hi) in one.items():
        k.case(name, [k.input(40, lo=lo, hi=hi)], f)
    two = {
        "fmod": torch.fmod, "remainder": torch.remainder, "fmin": torch.fmin, "fmax": torch.fmax,
        "copysign": torch.copysign, "logaddexp2": torch.logaddexp2, "ldexp": torch.ldexp,
    }
    for name, f in two.items():
        k.case(name, [k.input(6, 7, lo=-4, hi=4), k.input(7, lo=-3, hi=3)], f)
    k.case("heaviside", [k.input(6, 7, lo=-4, hi=4), k.input(7, lo=-3, hi=3)],
           lambda a, b: torch.heaviside(a.detach(), b.detach()), grad=False)
    for name in ("xlogy", "xlog1py"):
        f = getattr(torch.special, name)
        k.case(name, [k.input(6, 7, lo=-4, hi=4), k.input(7, lo=0.1, hi=3)], f)
    k.case("float_power", [k.input(6, 7, lo=0.1, hi=4), k.input(7, lo=-3, hi=3)],
           lambda a, b: torch.float_power(a, b))
    for name in ("gcd", "lcm"):
        k.case(name, [k.input(6, 7, lo=-40, hi=40, dtype="i32"), k.input(7, lo=-40, hi=40, dtype="i32")],
               getattr(torch, name))
    k.case("fmod", [k.input(6, 7, lo=-40, hi=40, dtype="i32"), k.input(7, lo=1, hi=9, dtype="i32")],
           torch.fmod)
    k.case("lerp", [k.input(6, 7), k.input(7), k.input(6, 1, lo=-1, hi=2)], torch.lerp)
    for value in (1, 0.3):
        k.case("addcmul", [k.input(6, 7), k.input(7), k.input(6, 1), value],
               lambda a, b, c, v: torch.addcmul(a, b, c, value=v))
        k.case("addcdiv", [k.input(6, 7), k.input(7), k.input(6, 1, lo=0.5, hi=2), value],
               lambda a, b, c, v: torch.addcdiv(a, b, c, value=v))
    F = torch.nn.functional
    x = dict(lo=-3, hi=3)
    k.case("celu", [k.input(40, **x), 0.7], lambda a, b: F.celu(a, b))
    k.case("threshold", [k.input(40, **x), 0.5, -2], lambda a, b, c: F.threshold(a, b, c))
    k.case("hardshrink", [k.input(40, **x), 0.5], lambda a, b: F.hardshrink(a, b))
    k.case("softshrink", [k.input(40, **x), 0.5], lambda a, b: F.softshrink(a, b))
    k.case("glu", [k.input(4, 6), 1], lambda a, d: F.glu(a, 0))
    k.case("glu", [k.input(4, 6)], lambda a: F.glu(a))
    k.case("prelu", [k.input(4, 3, 2), k.input(1)], F.prelu)
    k.case("prelu", [k.input(4, 3, 2), k.input(3)], F.prelu)
    k.case("isclose", [k.input(50), k.input(50), 0.5, 0.1],
           lambda a, b, r, t: torch.isclose(a, b, r, t))
    k.case("allclose", [k.input(50), k.input(50), 9, 2],
           lambda a, b, r, t: torch.tensor(torch.allclose(a, b, r, t)), grad=False)
    for n in (0, 1, 2, 3):
        k.case("polygamma", [n, k.input(40, lo=0.3, hi=9)], lambda n, x: torch.polygamma(n, x))
    k.case("polygamma", [1, k.input(20, lo=-2.8, hi=-2.2)], lambda n, x: torch.polygamma(n, x))
    k.case("lgamma", [k.input(60, lo=-2.9, hi=9)], torch.lgamma, tolerance=1e-4)
    k.case("digamma", [k.input(60, lo=0.1, hi=9)], torch.digamma)
    k.case("digamma", [k.input(20, lo=-2.8, hi=-2.2)], torch.digamma)
    for name in ("i0", "i0e", "i1", "i1e"):
        k.case(name, [k.input(60, lo=-12, hi=12)], getattr(torch.special, name))
