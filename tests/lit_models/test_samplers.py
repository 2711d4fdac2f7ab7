"""How an epoch's batches are drawn."""

import pytest
import torch

from lit_models.core.config import FamilyConfig
from lit_models.core.sampling import SAMPLERS, BalancedSampler, HardSampler, ShuffleSampler, draw

SKEWED = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)

samplers = pytest.mark.parametrize("name", sorted(SAMPLERS))


def test_names_are_those_of_the_config() -> None:
    assert set(FamilyConfig.model_json_schema()["properties"]["sampling"]["enum"]) == set(SAMPLERS)


@samplers
def test_order_depends_on_seed_and_epoch_alone(name: str) -> None:
    one, same, other = SAMPLERS[name](SKEWED, 1), SAMPLERS[name](SKEWED, 1), SAMPLERS[name](SKEWED, 2)
    one.order(0)
    assert torch.equal(one.order(3), same.order(3))
    assert not torch.equal(one.order(3), one.order(4))
    assert not torch.equal(one.order(3), other.order(3))
    assert one.order(0).shape == (1000,)
    assert one.order(0).dtype == torch.int64


@samplers
def test_state_round_trip(name: str) -> None:
    one, other = SAMPLERS[name](SKEWED, 1), SAMPLERS[name](SKEWED, 1)
    one.order(0)
    one.observe(torch.arange(1000), torch.rand(1000))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.order(1), other.order(1))


def test_shuffle_visits_each_once() -> None:
    assert torch.equal(ShuffleSampler(SKEWED, 0).order(0).sort().values, torch.arange(1000))


def test_balanced_draws_each_class_alike() -> None:
    counts = torch.zeros(3)
    for epoch in range(5):
        counts += SKEWED[BalancedSampler(SKEWED, 0).order(epoch)].bincount(minlength=3)
    # 5000 draws of a third each: four deviations are 133.
    assert (counts - 5000 / 3).abs().max() < 133


def test_balanced_leaves_out_absent_classes() -> None:
    labels = torch.tensor([0, 0, 0, 5])
    drawn = labels[torch.cat([BalancedSampler(labels, 0).order(epoch) for epoch in range(100)])]
    assert 150 < (drawn == 5).sum() < 250


def test_hard_prefers_high_losses() -> None:
    sampler = HardSampler(SKEWED, 0)
    losses = torch.full((1000,), 0.1)
    losses[:100] = 5.0
    for _ in range(8):  # the average forgets its start
        sampler.observe(torch.arange(1000), losses)
        sampler.order(0)
    hard = (sampler.order(1) < 100).float().mean().item()
    expected = 0.9 * 500 / 590 + 0.1 * 0.1
    assert hard == pytest.approx(expected, abs=0.06)


def test_hard_forgets_nobody_and_learns_anew() -> None:
    sampler = HardSampler(torch.zeros(10, dtype=torch.int64), 0)
    for _ in range(60):
        sampler.observe(torch.arange(10), torch.tensor([1.0] + [0.0] * 9))
        sampler.order(0)
    drawn = torch.cat([sampler.order(epoch) for epoch in range(300)])
    assert drawn.bincount(minlength=10).min() > 0
    for _ in range(60):
        sampler.observe(torch.arange(10), torch.tensor([0.0] * 9 + [1.0]))
        sampler.order(0)
    assert sampler.order(0).bincount(minlength=10).argmax() == 9


def test_hard_survives_losses_that_are_no_numbers() -> None:
    sampler = HardSampler(torch.zeros(4, dtype=torch.int64), 0)
    sampler.observe(torch.arange(4), torch.tensor([float("nan"), float("inf"), 0.0, 1.0]))
    assert sampler.order(0).shape == (4,)


def test_hard_refuses_the_state_of_another_set() -> None:
    with pytest.raises(ValueError, match="3 samples for a set of 4"):
        HardSampler(torch.zeros(4, dtype=torch.int64), 0).load_state_dict({"average": torch.ones(3)})


def test_draw_never_takes_what_weighs_nothing() -> None:
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0])
    counts = draw(weights, 4000, torch.Generator().manual_seed(0)).bincount(minlength=5)
    assert counts[[0, 2, 4]].sum() == 0
    assert counts[3] == pytest.approx(3000, abs=120)
