import torch
from recurrent import modes


def cases(k):
    modes(k, "gru", torch.nn.GRU)
    k.case("gru_cell", [k.input(3, 2), k.input(3, 4), k.input(12, 2), k.input(12, 4), k.input(12),
                        k.input(12)], torch.gru_cell)
    k.case("gru_cell", [k.input(2), k.input(4), k.input(12, 2), k.input(12, 4)],
           lambda x, h, w, u: torch.gru_cell(x[None], h[None], w, u)[0])
