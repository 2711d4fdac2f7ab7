"""What positions and several heads are for: tasks that cannot be done without them."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from lit_models.encoder import EncoderConfig, LitEncoder
from lit_models.specs.sequence import TokenSpec


def trained(spec: TokenSpec, x: Tensor, y: Tensor, steps: int, **own: Any) -> float:
    """Share of right classes in the last 200 rows, after training on the others."""
    model = LitEncoder(EncoderConfig(width=16, blocks=1, expansion=1, **own), spec)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps):
        rows = torch.arange(64 * step, 64 * (step + 1)) % (len(x) - 200)
        optimizer.zero_grad()
        torch.autograd.backward(model.training_losses(x[rows], y[rows], step, None).mean())
        optimizer.step()
    with torch.no_grad():
        return float(model.eval().validation_sums(x[-200:], y[-200:])[1]) / 200


def test_a_task_of_order_needs_positions() -> None:
    """Which of two tokens comes first, of sequences that are alike but for that."""
    generator, count = torch.Generator().manual_seed(0), 6600
    x = torch.randint(4, 8, (count, 8), generator=generator)
    y = torch.randint(0, 2, (count,), generator=generator)
    places = torch.rand(count, 8, generator=generator).argsort(dim=1)[:, :2].sort(dim=1).values
    x.scatter_(1, places, torch.stack([2 + y, 3 - y], dim=1))
    spec = TokenSpec(8, 8, 2)
    assert trained(spec, x.int(), y, 100, heads=2, positions="sinusoidal") > 0.95
    assert trained(spec, x.int(), y, 100, heads=2, positions="none") < 0.65


def test_several_heads_look_at_several_places() -> None:
    """Which tokens stand at two places: one head mixes what it sees at both, and cannot tell which is which."""
    x = torch.randint(1, 5, (13000, 8), generator=torch.Generator().manual_seed(0))
    y = (x[:, 2] - 1) * 4 + x[:, 5] - 1
    one, four = (trained(TokenSpec(5, 8, 16), x.int(), y, 200, heads=heads, pooling="first") for heads in (1, 4))
    assert one < 0.5
    assert four > 0.9


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValidationError, match="width must be a multiple of heads, and 10 is none of 4"):
        EncoderConfig(width=10)
