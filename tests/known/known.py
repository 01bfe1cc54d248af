"""Known answers, computed by PyTorch in float64.

A family is a file <family>.py with a function cases(k); make.py runs it and writes <family>.lua,
which tests/lua/known_spec.lua compares with what Mare computes. A case names a call of Mare and its
arguments in their order:

    k.case("softmax", [k.input(3, 4), 1], lambda x, dim: torch.softmax(x, dim - 1))

k.input() stands for a tensor whose values both sides draw from the same generator, so that only its
shape, seed and range are stored; it may stand in a list, or by name in a dictionary. Anything else is passed on as it is: numbers, strings, lists, None
for an argument left out; options={...} are Mare's arguments by name, which the function does not
get. The function gets tensors in float64 (their values rounded to float32 first) and returns a
tensor or several. Gradients of the sum of results times random weights are stored for every float
input, unless grad=False.
"""
import math

import torch

torch.set_default_dtype(torch.float64)


def draw(seed, n):
    """n numbers in 0..1; known_spec.lua has the same generator (ANSI C's linear congruential one,
    the upper 24 bits, so that float32 holds them exactly)."""
    out = []
    state = seed & 0x7FFFFFFF
    for _ in range(n):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out.append((state >> 7) / 16777216)
    return out


class Input:
    def __init__(self, shape, seed, lo, hi, dtype, values=None, grad=True):
        self.shape, self.seed, self.lo, self.hi, self.dtype = shape, seed, lo, hi, dtype
        self.values, self.grad = values, grad

    def tensor(self):
        n = 1
        for d in self.shape:
            n *= d
        u = draw(self.seed, n)
        if self.dtype in ("f32", "f16"):
            values = self.values or [self.lo + (self.hi - self.lo) * x for x in u]
            t = torch.tensor(values, dtype=torch.float32)
            return t.to(torch.float64).reshape(self.shape).requires_grad_(self.grad)
        values = self.values or [math.floor(self.lo + x * (self.hi - self.lo + 1)) for x in u]
        kind = torch.bool if self.dtype == "bool" else torch.int64
        return torch.tensor(values, dtype=kind).reshape(self.shape)

    def lua(self):
        shape = ",".join(map(str, self.shape))
        draw = "seed=%d,lo=%r,hi=%r" % (self.seed, self.lo, self.hi)
        if self.values:
            draw = "values={%s}" % ",".join(map(number, self.values))
        grad = "" if self.grad else ",grad=false"
        return "{input={%s},%s,dtype=%s%s}" % (shape, draw, quote(self.dtype), grad)


def quote(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def number(x):
    if x != x:
        return "0/0"
    if x in (float("inf"), float("-inf")):
        return "math.huge" if x > 0 else "-math.huge"
    return "%d" % x if x == int(x) and abs(x) < 1e9 else "%.8g" % x


def lua(v):
    if v is None:
        return "nil"
    if isinstance(v, Input):
        return v.lua()
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, str):
        return quote(v)
    if isinstance(v, (int, float)):
        return number(v)
    if isinstance(v, dict):
        return "{" + ",".join("%s=%s" % (k, lua(x)) for k, x in v.items()) + "}"
    return "{" + ",".join(lua(x) for x in v) + "}"


def flat(t):
    return [float(x) for x in t.detach().to(torch.float64).reshape(-1)]


def result(t):
    return {"shape": list(t.shape), "values": flat(t)}


def tensors(a):
    """An argument with tensors in place of their descriptions, also in a list or by name."""
    if isinstance(a, list):
        return [tensors(x) for x in a]
    if isinstance(a, dict):
        return {name: tensors(x) for name, x in a.items()}
    return a.tensor() if isinstance(a, Input) else a


def flat_values(a):
    if isinstance(a, dict):
        return [a[name] for name in sorted(a)]
    return a if isinstance(a, list) else [a]


class Known:
    def __init__(self):
        self.rows = []
        self.seed = 0

    def input(self, *shape, lo=-1.0, hi=1.0, dtype="f32", grad=True):
        """A tensor of values in lo..hi; integers inclusive. grad=False: a float one whose gradient
        is not asked for."""
        self.seed += 1
        return Input(list(shape), self.seed, lo, hi, dtype, grad=grad)

    def values(self, *shape, values, dtype="f32", grad=True):
        """A tensor of these values, row by row."""
        return Input(list(shape), 0, 0, 0, dtype, values, grad)

    def case(self, call, args, function, options=None, grad=True, tolerance=None, second=False):
        """tolerance: relative to the largest value of a result; 2e-5 if None. second: also the
        gradient of the sum of gradients times random weights."""
        made = [tensors(a) for a in args]
        out = function(*made)
        out = list(out) if isinstance(out, (tuple, list)) else [out]
        row = {"call": call, "n": len(args), "args": args, "results": [result(t) for t in out]}
        if options:
            row["options"] = options
        if tolerance:
            row["tolerance"] = tolerance
        leaves = [t for a in made for t in flat_values(a)
                  if isinstance(t, torch.Tensor) and t.requires_grad]
        total = 0
        for i, t in enumerate(out):
            if t.requires_grad:
                weight = torch.tensor(draw(900 + i, t.numel())).reshape(t.shape)
                total = total + (t * weight).sum()
        if grad and leaves and isinstance(total, torch.Tensor):
            row["grads"], grads = self.gradients(total, leaves, second)
            total = sum((g * torch.tensor(draw(950 + i, g.numel())).reshape(g.shape)).sum()
                        for i, g in enumerate(grads) if g.requires_grad)
            if second and isinstance(total, torch.Tensor):
                row["second"] = self.gradients(total, leaves, False)[0]
        self.rows.append(row)

    @staticmethod
    def gradients(total, leaves, again):
        grads = torch.autograd.grad(total, leaves, allow_unused=True, create_graph=again)
        grads = [g if g is not None else torch.zeros_like(x) for g, x in zip(grads, leaves)]
        return [flat(g) for g in grads], grads

    def text(self, family):
        head = ("-- Made by tests/known/make.py from %s.py with PyTorch %s. Not edited by hand.\n"
                % (family, torch.__version__))
        return head + "return {\n" + "".join("    %s,\n" % lua(r) for r in self.rows) + "}\n"
