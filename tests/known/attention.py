import math

import torch


def attention(q, k, v, mask, dropout, causal, scale, gqa, offset):
    """As PyTorch 2 documents scaled_dot_product_attention, with an offset of the causal mask."""
    assert dropout == 0
    if gqa:
        n = q.shape[-3] // k.shape[-3]
        k, v = k.repeat_interleave(n, -3), v.repeat_interleave(n, -3)
    x = q @ k.transpose(-2, -1) * (scale or 1 / math.sqrt(q.shape[-1]))
    if mask is not None:
        x = x.masked_fill(mask.logical_not(), -math.inf) if mask.dtype == torch.bool else x + mask
    if causal:
        i, j = torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])
        x = x.masked_fill(j > i + offset, -math.inf)
    blind = x.isinf().all(-1, keepdim=True)
    return torch.softmax(x.masked_fill(blind, 0), -1).masked_fill(blind, 0) @ v


def cases(k):
    def case(q, key, v, mask=None, causal=False, scale=0.0, gqa=False, offset=0, dtype="f32"):
        span = (0, 1) if dtype == "bool" else (-2, 2)
        m = None if mask is None else k.input(*mask, lo=span[0], hi=span[1], dtype=dtype)
        k.case("scaled_dot_product_attention",
               [k.input(*q, lo=-2, hi=2), k.input(*key, lo=-2, hi=2), k.input(*v), m, 0, causal,
                scale, gqa, offset], attention)

    case((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2))
    case((7, 3), (9, 3), (9, 4), scale=0.3)
    case((2, 5, 4), (2, 5, 4), (2, 5, 4), causal=True)
    case((2, 3, 4), (2, 8, 4), (2, 8, 4), causal=True)
    case((2, 3, 4), (2, 8, 4), (2, 8, 4), causal=True, offset=5)
    case((1, 6, 4), (1, 5, 4), (1, 5, 4), causal=True, offset=-3)
    case((2, 4, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3), gqa=True)
    case((1, 6, 3, 4), (1, 1, 5, 4), (1, 1, 5, 3), gqa=True, causal=True, offset=2)
    for mask in ((3, 5), (5,), (2, 1, 3, 5), (2, 4, 3, 5), (4, 1, 1), (2, 1, 1, 5)):
        case((2, 4, 3, 2), (2, 4, 5, 2), (2, 4, 5, 2), mask=mask)
        case((2, 4, 3, 2), (2, 2, 5, 2), (2, 2, 5, 2), mask=mask, dtype="bool", gqa=True)
    case((2, 2, 2, 3, 2), (2, 2, 2, 5, 2), (2, 2, 2, 5, 2), mask=(2, 1, 3, 5))
    case((2, 3, 4), (2, 5, 4), (2, 5, 4), mask=(3, 5), causal=True)
    # More keys than one tile, and heads wider than the lanes.
    case((1, 4, 2), (1, 40, 2), (1, 40, 2), causal=True, offset=36)
    case((1, 2, 19), (1, 3, 19), (1, 3, 40))

    def rope(x, positions, offset, base, interleaved):
        n = x.shape[-1] // 2
        p = torch.arange(x.shape[-2]) if positions is None else positions
        angle = (p + offset)[..., None] * base ** (-torch.arange(n, dtype=torch.float64) / n)
        c, s = torch.cos(angle), torch.sin(angle)
        a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., :n], x[..., n:])
        y = (a * c - b * s, a * s + b * c)
        return torch.stack(y, -1).flatten(-2) if interleaved else torch.cat(y, -1)

    for interleaved in (True, False):
        k.case("rope", [k.input(2, 5, 6), None, 0, 10000, interleaved], rope)
        k.case("rope", [k.input(2, 3, 4), None, 7, 100, interleaved], rope)
        k.case("rope", [k.input(2, 3, 4), k.input(3, lo=0, hi=40, dtype="i32"), 0, 10000,
                        interleaved], rope)
        k.case("rope", [k.input(2, 3, 4), k.input(2, 3, lo=0, hi=9, dtype="i32"), 1, 10000,
                        interleaved], rope)

    def update(cache, new, at):
        return torch.cat((cache[..., :at, :], new, cache[..., at + new.shape[-2]:, :]), -2)

    for length, at in ((1, 0), (1, 3), (2, 1), (3, 2), (5, 0)):
        k.case("kv_cache_update", [k.input(2, 5, 3), k.input(2, length, 3), at], update)
