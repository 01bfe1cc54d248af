import torch
from recurrent import case, modes


def cases(k):
    modes(k, "rnn", torch.nn.RNN)
    case(k, "rnn", torch.nn.RNN, [3, 2, 4], 3, options={"nonlinearity": "relu"},
         nonlinearity="relu")
    case(k, "rnn", torch.nn.RNN, [4, 3, 2], 2, both=True, layers=2, lengths=True,
         options={"nonlinearity": "relu"}, nonlinearity="relu")
    k.case("rnn_cell", [k.input(3, 2), k.input(3, 4), k.input(4, 2), k.input(4, 4), k.input(4),
                        k.input(4)], torch.rnn_tanh_cell)
    k.case("rnn_cell", [k.input(2), k.input(4), k.input(4, 2), k.input(4, 4)],
           lambda x, h, w, u: torch.rnn_relu_cell(x[None], h[None], w, u)[0],
           options={"nonlinearity": "relu"})
    k.case("pad_sequence", [[k.input(3, 2), k.input(1, 2), k.input(4, 2)]],
           lambda s: torch.nn.utils.rnn.pad_sequence(s))
    k.case("pad_sequence", [[k.input(3), k.input(5)], True, -1.5],
           lambda s, first, value: torch.nn.utils.rnn.pad_sequence(s, first, value))
