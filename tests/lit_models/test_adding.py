"""What gates are for: sums of two numbers far apart (Hochreiter & Schmidhuber, Long short-term memory, 1997)."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lit_models.rnn import LitRNN, RNNConfig
from lit_models.specs.sequence import SeriesSpec

LENGTH = 100
# Mean squared error of always saying 1, the mean.
BASELINE = 1 / 6
SPEC = SeriesSpec(LENGTH, 2, 1, (0.5, 0.02), (0.29, 0.14), (1.0,), (BASELINE**0.5,), tolerance=0.04)


def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Numbers from 0 to 1, two of them marked, one in each half; their sum is to be told."""
    x, rows = np.zeros((count, LENGTH, 2), np.float32), np.arange(count)
    x[..., 0] = rng.random((count, LENGTH))
    places = rng.integers(0, LENGTH // 2, (2, count)) + np.array([[0], [LENGTH // 2]])
    x[rows, places, 1] = 1
    return torch.from_numpy(x), torch.from_numpy(x[rows, places, 0].sum(axis=0)).unsqueeze(1)


def error(cell: str, steps: int) -> float:
    """Mean squared error on unseen series after so many steps of Adam."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x, y = draw(512, rng)
    model = LitRNN(RNNConfig(cell=cell, width=32, embedding=0), SPEC)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(model.training_losses(*draw(64, rng), step, None).mean())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        return float((model.eval()(x) - y).square().mean())


@pytest.mark.parametrize(("cell", "steps"), [("lstm", 300), ("gru", 150)])
def test_gates_solve_the_adding_problem(cell: str, steps: int) -> None:
    assert error(cell, steps) < 0.01


def test_the_plain_cell_stays_at_the_baseline() -> None:
    """Given as many steps as the LSTM."""
    assert error("rnn", 300) > 0.9 * BASELINE
