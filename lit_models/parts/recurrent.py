"""Recurrent layers: the plain cell (Elman 1990), LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho et al. 2014).

torch's own kernels walk the steps in C++, many times as fast as Python. In a cohort of stacked lanes each lane calls
them for itself (`lit_models.cohort.stacked_layers`).
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lit_models.core.layers import Dropout

CellName = Literal["rnn", "lstm", "gru"]
# Vectors of the size of the state that a cell computes at each step; the second is what LSTM and GRU remember by.
GATES: dict[str, int] = {"rnn": 1, "gru": 3, "lstm": 4}


def recurrent(cell: CellName, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Walk along the steps of a batch, from a state of zeros.

    States add up over many steps, so they are computed in the weights' precision under autocast too.

    Args:
        cell: which.
        x: (B, T, F).
        weights: of the inputs (G H, F), of the state (G H, H), and both biases (G H,), as `torch.nn.LSTM` has them.

    Returns:
        the state after each step, (B, T, H).
    """
    weight = weights[1]
    x = x.to(weight.dtype)
    if x.is_meta:
        return _outline(x, weights)
    state = x.new_zeros(1, x.shape[0], weight.shape[1])
    # Biases, one layer, no dropout, in training or not, one direction, batch first. cuDNN goes back through what was
    # in training alone; a CPU is never told, for it would use other kernels.
    settings = (True, 1, 0.0, x.is_cuda and torch.is_grad_enabled(), False, True)
    with torch.autocast(x.device.type, enabled=False), warnings.catch_warnings():
        # cuDNN would like the weights of a layer to lie in one piece, and copies them otherwise.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        if cell == "lstm":
            return torch.lstm(x, (state, state), list(weights), *settings)[0]
        layer: Any = torch.gru if cell == "gru" else torch.rnn_tanh
        states: Tensor = layer(x, state, list(weights), *settings)[0]
        return states


def _outline(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Make all products of a layer, and little beside them: on the meta device, where costs are counted step by step.

    There torch takes a cell apart into a dozen operators a step, which takes seconds for long sequences.
    """
    inputs, recurrence, *biases = weights
    gates = (x @ inputs.t() + sum(biases)).unbind(1)
    turned, state, states = recurrence.t(), x.new_zeros(x.shape[0], recurrence.shape[1]), []
    for step in gates:
        state = torch.addmm(step, state, turned).tanh()[:, : recurrence.shape[1]]
        states.append(state)
    return torch.stack(states, dim=1)


class Recurrence(nn.Module):
    """One layer in one direction. Built with orthogonal weights of the state (Saxe et al. 2014).

    Args:
        cell: which.
        inputs: numbers a step.
        units: numbers of the state.
        remember: added to the bias of the gate that keeps the state: the LSTM's forget gate, the GRU's update gate. 1
            lets gradients through many steps from the beginning (Gers et al. 2000; Jozefowicz et al. 2015).
    """

    def __init__(self, cell: CellName, inputs: int, units: int, remember: float = 1.0) -> None:
        super().__init__()
        self.cell: CellName = cell
        self.units = units
        self.remember: float | Tensor = remember
        gates = GATES[cell]
        self.weight_input = nn.Parameter(torch.empty(gates * units, inputs))
        self.weight_state = nn.Parameter(torch.empty(gates * units, units))
        self.bias_input = nn.Parameter(torch.zeros(gates * units))
        # Two biases would be one too many, but for the GRU: its reset gate stands between them.
        self.bias_state = nn.Parameter(torch.zeros(gates * units)) if cell == "gru" else None
        for gate in range(gates):
            rows = slice(gate * units, (gate + 1) * units)
            nn.init.xavier_uniform_(self.weight_input.data[rows])
            nn.init.orthogonal_(self.weight_state.data[rows])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, F) to the states (B, T, units)."""
        bias: Tensor = self.bias_input
        if self.cell != "rnn":
            first, gate, *rest = bias.chunk(GATES[self.cell])
            bias = torch.cat([first, gate + self.remember, *rest])
        second = torch.zeros_like(bias) if self.bias_state is None else self.bias_state
        return recurrent(self.cell, x, [self.weight_input, self.weight_state, bias, second])


class RecurrentStack(nn.Module):
    """Layers of recurrence, one on the states of another (Graves et al. 2013); with a second direction if wanted.

    A step of padding changes no state before it, and the second direction begins at each sequence's own last step.

    Args:
        cell: which.
        inputs: numbers a step.
        units: numbers of a state.
        layers: how many.
        bidirectional: whether each layer reads backwards too (Schuster & Paliwal 1997).
        dropout: between layers.
        remember: see `Recurrence`.
    """

    def __init__(
        self,
        cell: CellName,
        inputs: int,
        units: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        remember: float = 1.0,
    ) -> None:
        super().__init__()
        self.forwards, self.backwards = nn.ModuleList(), nn.ModuleList()
        for _ in range(layers):
            self.forwards.append(Recurrence(cell, inputs, units, remember))
            if bidirectional:
                self.backwards.append(Recurrence(cell, inputs, units, remember))
            inputs = units * (1 + bidirectional)
        self.drop = Dropout(dropout)
        self.width = inputs

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, T, F) to the last layer's states (B, T, width), forwards' first.

        Args:
            x: (B, T, F).
            mask: (B, T) bool, false at padding, which is on the right; None if there is none.
        """
        order = None if mask is None else reversal(mask)
        for number, layer in enumerate(self.forwards):
            x = x if number == 0 else self.drop(x)
            states = layer(x)
            if self.backwards:
                back = self.backwards[number](reverse(x, order))
                states = torch.cat([states, reverse(back, order)], dim=2)
            x = states
        return x


def reversal(mask: Tensor) -> Tensor:
    """Return the order (B, T) int64 that turns each sequence round and leaves its padding where it is."""
    steps = torch.arange(mask.shape[1], device=mask.device)
    length = mask.sum(dim=1, keepdim=True)
    return torch.where(steps < length, length - 1 - steps, steps)


def reverse(x: Tensor, order: Tensor | None) -> Tensor:
    """Take the steps of (B, T, F) in an order (B, T), or all from the last to the first."""
    return x.flip(1) if order is None else x.gather(1, order.unsqueeze(2).expand_as(x))
