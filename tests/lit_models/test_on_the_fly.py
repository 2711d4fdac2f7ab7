"""Augmentation on the fly, mixup and CutMix."""

import numpy as np
import pytest
import torch

from lit_models.core.augment import AugmentPolicy, augment_batch, cutmix, draw_mixing, mix_batch, mixup
from lit_models.core.config import ImageConfig
from lit_models.core.noise import Noise
from lit_models.mlp import LitMLP, MLPConfig
from lit_models.specs.base import ImageSpec

STILL = AugmentPolicy(shift=0, rotate=0, scale=0, shear=0)
ALL = AugmentPolicy(flip=True, erase=0.5, jitter=0.3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 16, channels: int = 3, height: int = 12, width: int = 12) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=generator(9))


def test_strength_nought_is_the_identity() -> None:
    x = pictures()
    assert augment_batch(x, 0.0, ALL, Noise(0)) is x


def test_still_policy_is_the_identity() -> None:
    x = pictures()
    assert torch.equal(augment_batch(x, 2.0, STILL, Noise(0)), x)


def test_deterministic_given_the_key() -> None:
    x = pictures()
    one = augment_batch(x, 1.0, ALL, Noise(1))
    assert torch.equal(one, augment_batch(x, 1.0, ALL, Noise(1)))
    assert not torch.equal(one, augment_batch(x, 1.0, ALL, Noise(2)))


@pytest.mark.parametrize(
    "policy",
    [
        AugmentPolicy(shift=0.3, rotate=0, scale=0, shear=0),
        AugmentPolicy(shift=0, rotate=30, scale=0, shear=0),
        AugmentPolicy(shift=0, rotate=0, scale=0.3, shear=0),
        AugmentPolicy(shift=0, rotate=0, scale=0, shear=15),
        AugmentPolicy(shift=0, rotate=0, scale=0, shear=0, erase=1),
        AugmentPolicy(shift=0, rotate=0, scale=0, shear=0, jitter=0.3),
    ],
    ids=["shift", "rotate", "scale", "shear", "erase", "jitter"],
)
def test_every_image_has_its_own_draw(policy: AugmentPolicy) -> None:
    x = pictures(1).expand(32, -1, -1, -1)
    changed = augment_batch(x, 1.0, policy, Noise(0))
    # Two boxes to erase may coincide on a picture this small.
    assert len(torch.unique(changed.flatten(1), dim=0)) >= (28 if policy.erase else 32)
    assert changed.shape == x.shape
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_stronger_changes_more() -> None:
    x = pictures(64)
    sizes = [(augment_batch(x, strength, ALL, Noise(0)) - x).abs().mean() for strength in (0.1, 0.5, 2.0)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_flip_mirrors_half_of_the_images() -> None:
    x = pictures(400)
    policy = AugmentPolicy(shift=0, rotate=0, scale=0, shear=0, flip=True)
    flipped = augment_batch(x, 1.0, policy, Noise(0))
    mirrored = (flipped == x.flip(-1)).flatten(1).all(1)
    same = (flipped == x).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 160 < mirrored.sum() < 240
    # The same when it rides along with the resampling.
    ride = augment_batch(x, 1.0, AugmentPolicy(shift=0, rotate=1e-6, scale=0, shear=0, flip=True), Noise(0))
    torch.testing.assert_close(ride, flipped, atol=1e-4, rtol=0)


def test_shift_moves_the_image_at_most_its_share() -> None:
    x = torch.zeros(200, 1, 20, 20)
    x[:, :, 10, 10] = 1.0
    moved = augment_batch(x, 1.0, AugmentPolicy(shift=0.2, rotate=0, scale=0, shear=0), Noise(0))
    pixel = torch.arange(20.0)
    for axis in (2, 3):
        place = (moved.sum(dim=5 - axis).squeeze(1) * pixel).sum(1) / moved.sum(dim=(1, 2, 3))
        assert 3 < (place - 10).abs().max() <= 4.001


def test_rotation_keeps_lengths_in_a_picture_that_is_no_square() -> None:
    """A point 8 pixels from the middle stays 8 pixels from it."""
    x = torch.zeros(100, 1, 21, 41)
    x[:, :, 10, 28] = 1.0
    turned = augment_batch(x, 1.0, AugmentPolicy(shift=0, rotate=45, scale=0, shear=0), Noise(0))
    mass = turned.sum(dim=(1, 2, 3))
    rows = (turned.sum(dim=3).squeeze(1) * torch.arange(21.0)).sum(1) / mass - 10
    columns = (turned.sum(dim=2).squeeze(1) * torch.arange(41.0)).sum(1) / mass - 20
    torch.testing.assert_close((rows**2 + columns**2).sqrt(), torch.full((100,), 8.0), atol=0.35, rtol=0)
    assert rows.abs().max() > 5


def test_erase_takes_a_box_from_its_share_of_the_images() -> None:
    x = torch.ones(1000, 1, 16, 16)
    erased = augment_batch(x, 0.5, AugmentPolicy(shift=0, rotate=0, scale=0, shear=0, erase=0.6), Noise(0))
    hit = (erased == 0).flatten(1).any(1)
    assert 0.25 < hit.float().mean() < 0.35
    for image in erased[hit][:, 0]:
        hole = image == 0
        rows, columns = hole.any(1).sum(), hole.any(0).sum()
        assert hole.sum() == rows * columns, "a box"
        assert 0.005 < hole.float().mean() < 0.3


def test_policy_comes_from_the_flat_hyperparameters() -> None:
    config = ImageConfig(augment_shift=0.2, augment_flip=True, augment_jitter=0.4)
    assert AugmentPolicy.of(config) == AugmentPolicy(shift=0.2, flip=True, jitter=0.4)
    assert AugmentPolicy.of(ImageConfig()) == AugmentPolicy()


def one_hot(count: int, classes: int = 5) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.arange(count) % classes, classes).float()


def test_mixup_is_its_formula() -> None:
    x, targets = pictures(4), one_hot(4)
    lam, partner = torch.tensor([1.0, 0.7, 0.5, 0.0]), torch.tensor([3, 2, 1, 0])
    mixed, soft = mixup(x, targets, lam, partner)
    for i in range(4):
        torch.testing.assert_close(mixed[i], lam[i] * x[i] + (1 - lam[i]) * x[partner[i]])
        torch.testing.assert_close(soft[i], lam[i] * targets[i] + (1 - lam[i]) * targets[partner[i]])


def test_cutmix_targets_are_the_area() -> None:
    count = 50
    x = torch.arange(float(count)).view(-1, 1, 1, 1).expand(-1, 2, 10, 14)
    targets = torch.eye(count)
    partner = torch.arange(count).roll(1)
    lam, centre = torch.rand(count, generator=generator()), torch.rand(2, count, generator=generator(1))
    mixed, soft = cutmix(x, targets, lam, partner, centre)
    torch.testing.assert_close(soft.sum(1), torch.ones(count))
    for i in range(count):
        own = (mixed[i, 0] == i).float().mean()
        other = (mixed[i, 0] == partner[i]).float().mean()
        assert own + other == pytest.approx(1)
        assert soft[i, i].item() == pytest.approx(own.item(), abs=1e-6)
        assert soft[i, partner[i]].item() == pytest.approx(other.item(), abs=1e-6)


def test_cutmix_box_has_its_area_away_from_the_border() -> None:
    x = torch.zeros(1, 1, 100, 100)
    x = torch.cat([x, x + 1])
    lam = torch.tensor([0.75, 0.75])
    mixed, _ = cutmix(x, torch.eye(2), lam, torch.tensor([1, 0]), torch.full((2, 2), 0.5))
    assert mixed[0].mean().item() == pytest.approx(0.25, abs=0.01)


def mixed(x: torch.Tensor, alpha_mixup: float, alpha_cutmix: float, rng: np.random.Generator) -> list[torch.Tensor]:
    """Return images and targets of a batch, mixed as training does it."""
    return list(mix_batch(x, one_hot(len(x)), draw_mixing(len(x), alpha_mixup, alpha_cutmix, rng, x)))


@pytest.mark.parametrize(("alpha_mixup", "alpha_cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mix_batch(alpha_mixup: float, alpha_cutmix: float) -> None:
    x = pictures(32)
    one, same, other = (mixed(x, alpha_mixup, alpha_cutmix, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])
    torch.testing.assert_close(one[1].sum(1), torch.ones(32))
    assert (one[1] > 0).sum(1).max() == 2
    assert torch.unique(one[1].max(1).values).numel() > 5, "each image has a share of its own"


def test_mix_batch_takes_both_when_both_are_on() -> None:
    x = torch.eye(8).view(8, 1, 2, 4)
    rng = np.random.default_rng(0)
    # Only mixup makes values between the images' 0 and 1.
    blended = [bool(((m := mixed(x, 1.0, 1.0, rng)[0]) > 0).logical_and(m < 1).any()) for _ in range(40)]
    assert 8 < sum(blended) < 32


def test_mixing_off_is_the_identity(spec: ImageSpec) -> None:
    """No mixing at all; and where a neighbour mixes, a mixing that changes nothing."""
    rng = np.random.default_rng(0)
    assert LitMLP(MLPConfig(), spec).mixing(4, rng) is None
    x = pictures(4)
    same = mixed(x, 0.0, 0.0, rng)
    assert torch.equal(same[0], x)
    assert torch.equal(same[1], one_hot(4))
