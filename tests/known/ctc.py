import torch
import torch.nn.functional as F


def loss(x, targets, inputs, lengths, blank=0, reduction="mean", zero_infinity=False):
    """PyTorch's loss with the derivative by log_probs taken as they are (PyTorch's own gradient has
    exp(log_probs) added, which log_softmax takes away again), and 0 where the loss is infinite."""
    x3 = x if x.dim() == 3 else x[:, None]
    inputs, lengths = inputs.reshape(-1), lengths.reshape(-1)
    args = x3, targets if x.dim() == 3 else targets[None], inputs, lengths, blank, "none"
    value, each = F.ctc_loss(*args, zero_infinity).detach(), F.ctc_loss(*args, True)
    alive = torch.arange(x3.shape[0])[:, None] < inputs[None]
    extra = ((x3.exp() - x3.exp().detach()) * alive[:, :, None]).sum((0, 2))
    each = torch.where(value.isfinite() & (value != 0), each - extra, value)
    if reduction == "mean":
        return (each / lengths.clamp(min=1)).mean()
    if reduction == "sum":
        return each.sum()
    return each if x.dim() == 3 else each[0]


def cases(k):
    def case(shape, most, joined=None, short=None, **options):
        rows = shape[1:2] if len(shape) == 3 else []
        # classes from 1: 0 is the blank; with another blank, below it
        lo, hi = (0, options["blank"] - 1) if options.get("blank") else (1, shape[-1] - 1)
        targets = k.input(*([joined] if joined else rows + [most]), lo=lo, hi=hi, dtype="i32")
        inputs = k.input(*rows, lo=short or 2 * most, hi=shape[0], dtype="i32")
        lengths = k.input(*rows, lo=2 if joined else 0, hi=2 if joined else most, dtype="i32")
        k.case("ctc_loss", [k.input(*shape, lo=-3, hi=0), targets, inputs, lengths],
               lambda *a: loss(*a, **options), options=options or None)

    for reduction in ("mean", "sum", "none"):
        case([9, 3, 5], 3, reduction=reduction)
    case([9, 3, 5], 3)
    case([9, 3, 5], 3, blank=4, reduction="none")
    case([9, 3, 2], 4, reduction="none")  # every label repeats
    case([9, 4, 5], 2, joined=8, reduction="none")
    case([8, 4], 3)
    case([8, 4], 3, reduction="none")
    case([4, 6, 3], 4, short=1, reduction="none")  # some are infeasible
    case([4, 6, 3], 4, short=1, reduction="none", zero_infinity=True)
    case([4, 6, 3], 4, short=1, zero_infinity=True)
    case([30, 2, 12], 10, reduction="sum")
