"""What rnn.py, lstm.py and gru.py share: PyTorch's modules run with given weights."""
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def run(module, x, states, weights, lengths, batch_first):
    """The module's results with these tensors as its weights, as one tuple."""
    names = [name for name, _ in module.named_parameters()]
    state = None if not states else states[0] if len(states) == 1 else tuple(states)
    steps = x.shape[1 if batch_first else 0]

    def forward():
        if lengths is None:
            y, last = module(x, state)
        else:
            packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
            y, last = module(packed, state)
            y, _ = pad_packed_sequence(y, batch_first, total_length=steps)
        return (y,) + (last if isinstance(last, tuple) else (last,))

    kept = {name: module._parameters.pop(name) for name in names}
    assert len(kept) == len(weights)
    for name, w in zip(names, weights):
        assert kept[name].shape == w.shape, name
        setattr(module, name, w)
    module._flat_weights = list(weights)
    return forward()


def case(k, call, kind, shape, hidden, layers=1, both=False, bias=True, proj=0, first=False,
         state=True, lengths=False, options=None, dtype="f32", **extra):
    """One case of a call; shape is [T, N, features] or [T, features]."""
    dirs, size = 2 if both else 1, proj or hidden
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[call]
    weights = []
    for layer in range(layers):
        for _ in range(dirs):
            width = shape[-1] if layer == 0 else dirs * size
            weights += [k.input(gates * hidden, width), k.input(gates * hidden, size)]
            if bias:
                weights += [k.input(gates * hidden), k.input(gates * hidden)]
            if proj:
                weights.append(k.input(size, hidden))
    batch = [shape[1]] if len(shape) == 3 else []
    states = [k.input(layers * dirs, *batch, size if i == 0 else hidden) if state else None
              for i in range(2 if call == "lstm" else 1)]
    if first:
        shape = [shape[1], shape[0], shape[2]]
    args = [k.input(*shape, dtype=dtype)] + states + [weights]
    if lengths:
        args.append(k.input(*batch, lo=1, hi=shape[1 if first else 0], dtype="i32"))
    module = kind(shape[-1], hidden, layers, bias=bias, bidirectional=both, batch_first=first,
                  **({"proj_size": proj} if proj else {}), **extra)

    def function(x, *rest):
        n = len(states)
        return run(module, x, [s for s in rest[:n] if s is not None], rest[n],
                   rest[n + 1] if lengths else None, first)

    options = dict(options or {})
    if layers > 1:
        options["num_layers"] = layers
    if both:
        options["bidirectional"] = True
    if first:
        options["batch_first"] = True
    k.case(call, args, function, options=options)


def modes(k, call, kind):
    """The modes that all three have."""
    case(k, call, kind, [3, 2, 4], 3)
    case(k, call, kind, [3, 2, 4], 3, bias=False)
    case(k, call, kind, [3, 2, 4], 3, state=False)
    case(k, call, kind, [1, 1, 1], 1)
    case(k, call, kind, [3, 2], 3)
    case(k, call, kind, [3, 2], 2, both=True, layers=2)
    case(k, call, kind, [3, 2, 2], 3, layers=3)
    case(k, call, kind, [3, 2, 2], 3, both=True)
    case(k, call, kind, [4, 3, 2], 3, both=True, layers=2, first=True)
    case(k, call, kind, [5, 4, 2], 3, lengths=True)
    case(k, call, kind, [4, 3, 2], 2, both=True, layers=2, lengths=True, first=True, bias=False)
    case(k, call, kind, [5, 4, 2], 2, both=True, layers=2, lengths=True, state=False)
    case(k, call, kind, [2, 17, 2], 4, both=True)
