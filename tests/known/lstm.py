import torch
from recurrent import case, modes


def cases(k):
    modes(k, "lstm", torch.nn.LSTM)
    case(k, "lstm", torch.nn.LSTM, [3, 2, 4], 3, proj=2)
    case(k, "lstm", torch.nn.LSTM, [4, 3, 2], 4, proj=2, both=True, layers=2, lengths=True)
    case(k, "lstm", torch.nn.LSTM, [3, 2], 4, proj=1, bias=False, layers=2)
    k.case("lstm_cell", [k.input(3, 2), k.input(3, 4), k.input(3, 4), k.input(16, 2),
                         k.input(16, 4), k.input(16), k.input(16)],
           lambda x, h, c, *w: torch.lstm_cell(x, (h, c), *w))
    k.case("lstm_cell", [k.input(2), None, None, k.input(16, 2), k.input(16, 4)],
           lambda x, h, c, *w: [r[0] for r in torch.lstm_cell(
               x[None], (torch.zeros(1, 4), torch.zeros(1, 4)), *w)])
