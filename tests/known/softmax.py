import torch


def cases(k):
    for dim in (1, 2, -1):
        axis = dim - 1 if dim > 0 else dim
        k.case("softmax", [k.input(3, 4, lo=-4, hi=4), dim], lambda x, d: torch.softmax(x, axis))
        k.case("log_softmax", [k.input(3, 4, lo=-4, hi=4), dim],
               lambda x, d: torch.log_softmax(x, axis))
