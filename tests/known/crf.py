import itertools

import torch


def scores(x, moves, start, end):
    """Of every tag sequence of one row x [T, C]: the sequences, and their scores."""
    paths = list(itertools.product(range(x.shape[1]), repeat=x.shape[0]))
    every = [start[p[0]] + end[p[-1]] + sum(x[t, tag] for t, tag in enumerate(p))
             + sum(moves[a, b] for a, b in zip(p, p[1:])) for p in paths]
    return paths, torch.stack(every)


def likelihood(x, tags, moves, start, end, lengths=None):
    out = []
    for n in range(x.shape[1]):
        length = x.shape[0] if lengths is None else int(lengths[n])
        paths, every = scores(x[:length, n], moves, start, end)
        own = paths.index(tuple(tags[:length, n].tolist()))
        out.append(every[own] - every.logsumexp(0))
    return torch.stack(out)


def decode(x, moves, start, end, lengths=None):
    best, value = torch.zeros(x.shape[:2], dtype=torch.int64), []
    for n in range(x.shape[1]):
        length = x.shape[0] if lengths is None else int(lengths[n])
        paths, every = scores(x[:length, n], moves, start, end)
        best[:length, n] = torch.tensor(paths[int(every.argmax())])
        value.append(every.max())
    return best, torch.stack(value)


def cases(k):
    def inputs(t, n, c, first=False):
        shape = (n, t, c) if first else (t, n, c)
        return ([k.input(*shape)], [k.input(*shape[:2], lo=0, hi=c - 1, dtype="i32")],
                [k.input(c, c), k.input(c), k.input(c)], k.input(n, lo=1, hi=t, dtype="i32"))

    for shape in ((4, 3, 3), (1, 2, 3), (6, 2, 2), (3, 2, 1)):
        x, tags, chain, lengths = inputs(*shape)
        k.case("crf_log_likelihood", x + tags + chain, likelihood)
        k.case("crf_log_likelihood", x + tags + chain + [lengths], likelihood)
        k.case("viterbi_decode", x + chain, decode)
        k.case("viterbi_decode", x + chain + [lengths], decode)
    x, tags, chain, lengths = inputs(4, 3, 2, True)
    k.case("crf_log_likelihood", x + tags + chain + [lengths, True],
           lambda x, t, a, b, c, n, first: likelihood(x.transpose(0, 1), t.t(), a, b, c, n))
    k.case("viterbi_decode", x + chain + [lengths, True],
           lambda x, a, b, c, n, first: [r.t() for r in decode(x.transpose(0, 1), a, b, c, n)])
    k.case("crf_log_likelihood", [k.input(4, 3), k.input(4, lo=0, hi=2, dtype="i32"),
                                  k.input(3, 3)],
           lambda x, t, a: likelihood(x[:, None], t[:, None], a, torch.zeros(3),
                                      torch.zeros(3))[0])
    k.case("viterbi_decode", [k.input(4, 3), k.input(3, 3)],
           lambda x, a: [r[..., 0] for r in decode(x[:, None], a, torch.zeros(3),
                                                   torch.zeros(3))])
