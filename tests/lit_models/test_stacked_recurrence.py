"""Stacked lanes that walk step by step reach what torch's own recurrent layers reach, states and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from lit_models.cohort.stacked_recurrence import CELLS, walk

LANES, BATCH, STEPS, FEATURES, UNITS = 3, 2, 5, 4, 6
GATES = {torch.rnn_tanh: 1, torch.gru: 3, torch.lstm: 4}


@pytest.mark.parametrize("layer", CELLS, ids=lambda layer: layer.__name__)
def test_a_walk_is_torchs_own_layer(layer: Callable[..., Any]) -> None:
    rows, generator = GATES[layer] * UNITS, torch.Generator().manual_seed(0)
    shapes = [(BATCH, STEPS, FEATURES), (rows, FEATURES), (rows, UNITS), (rows,), (rows,)]
    inputs = [torch.randn(LANES, *shape, dtype=torch.float64, generator=generator) for shape in shapes]
    states = [torch.randn(1, BATCH, UNITS, dtype=torch.float64, generator=generator)] * (1 + (layer is torch.lstm))

    def ours(x: Tensor, *weights: Tensor) -> Tensor:
        return walk(layer, x, states, weights)

    def theirs(x: Tensor, *weights: Tensor) -> Tensor:
        state = states if layer is torch.lstm else states[0]
        result: Tensor = layer(x, state, list(weights), True, 1, 0.0, False, False, True)[0]
        return result

    mine, other = ([tensor.clone().requires_grad_() for tensor in inputs] for _ in range(2))
    got = vmap(ours)(*mine)
    expected = torch.stack([theirs(*(tensor[lane] for tensor in other)) for lane in range(LANES)])
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn(got.shape, dtype=torch.float64, generator=generator)
    found, wanted = torch.autograd.grad(got, mine, weight), torch.autograd.grad(expected, other, weight)
    for one, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, reference, rtol=1e-10, atol=1e-12)
