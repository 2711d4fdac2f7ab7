"""torch's recurrent layers for stacked lanes on a GPU: step by step in plain products, which `torch.vmap` can stack.

A GPU that walks one lane after another by cuDNN's kernels is idle most of the time; stacked, a step of a hundred lanes
takes it hardly longer than one of a single lane. That Python launches thousands of kernels for it costs once: a CUDA
graph replays them (`lit_models.cohort.graphs`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# Maps what a step's inputs give (B, G H), the product of the state (B, G H), and the states before, to those after.
Cell = Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


def _plain(given: Tensor, product: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Elman 1990."""
    del states
    return ((given + product).tanh(),)


def _lstm(given: Tensor, product: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000."""
    enter, keep, value, leave = (given + product).chunk(4, dim=1)
    memory = keep.sigmoid() * states[1] + enter.sigmoid() * value.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def _gru(given: Tensor, product: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Cho et al. 2014, with the reset gate behind the product, as torch and cuDNN have it."""
    (reset, update, value), (reset_too, update_too, value_too) = given.chunk(3, dim=1), product.chunk(3, dim=1)
    update = (update + update_too).sigmoid()
    value = (value + (reset + reset_too).sigmoid() * value_too).tanh()
    return (value + update * (states[0] - value),)


CELLS: dict[Callable[..., Any], Cell] = {torch.rnn_tanh: _plain, torch.lstm: _lstm, torch.gru: _gru}


def walk(layer: Callable[..., Any], x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Return the state after each step (B, T, H), as one layer in one direction does.

    Args:
        layer: `torch.rnn_tanh`, `torch.lstm` or `torch.gru`.
        x: (B, T, F).
        states: to begin with, (1, B, H) each; an LSTM has two.
        weights: of the inputs (G H, F), of the state (G H, H), and both biases (G H,).
    """
    inputs, recurrence, first, second = weights
    # The inputs' product needs no state, so one product serves all steps.
    given = (x @ inputs.t() + first).unbind(1)
    now, turned, passed = tuple(state[0] for state in states), recurrence.t(), []
    for step in given:
        now = CELLS[layer](step, torch.addmm(second, now[0], turned), now)
        passed.append(now[0])
    return torch.stack(passed, dim=1)
