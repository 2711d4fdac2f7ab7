"""What becomes of an image depends on (seed, copy, index) alone, and no image changes its shape."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipelines.augmentations import image_policy as policy
from pipelines.augmentations.image_policy import ImageAugmentConfig, augment_images, image_seed
from pipelines.pictures import augmentation_sheet
from tests.pipelines.samples import pixels

FULL = ImageAugmentConfig(
    copies=2, crop=1, flip=0.5, rotate=20, translate=0.1, scale=0.2, shear=5, erase=0.3, jitter=0.3
)
EACH = {"crop": 2, "flip": 0.5, "rotate": 20.0, "translate": 0.2, "scale": 0.3, "shear": 20.0, "erase": 0.5,
        "jitter": 0.5}  # fmt: skip


def test_off_is_off() -> None:
    x = pixels(5, 1, 8, 8)
    assert augment_images(x, ImageAugmentConfig()).shape == (0, 1, 8, 8)
    assert np.array_equal(augment_images(x, ImageAugmentConfig(copies=2)), np.concatenate([x, x]))


@pytest.mark.parametrize("shape", [(6, 1, 8, 8), (6, 3, 9, 12)])
@pytest.mark.parametrize("knob", EACH)
def test_every_knob_changes_pixels_and_keeps_shapes(knob: str, shape: tuple[int, ...]) -> None:
    x = pixels(*shape)
    out = augment_images(x, ImageAugmentConfig.model_validate({"copies": 1, knob: EACH[knob]}))
    assert out.shape == shape
    assert out.dtype == np.uint8
    assert not np.array_equal(out, x)


def test_every_knob_is_tested() -> None:
    assert set(EACH) == set(ImageAugmentConfig.model_fields) - {"seed", "copies"}


def test_each_image_depends_on_its_place_alone() -> None:
    x = pixels(6, 1, 8, 8)
    torch.manual_seed(1)
    whole = augment_images(x, FULL)
    torch.manual_seed(2)
    assert np.array_equal(augment_images(x, FULL.model_copy(update={"copies": 1})), whole[:6])
    other = x.copy()
    other[3] = x[3] // 2
    changed = np.flatnonzero((augment_images(other, FULL) != whole).any(axis=(1, 2, 3)))
    assert set(changed.tolist()) <= {3, 9}


def test_copies_and_seeds_differ() -> None:
    x = pixels(6, 1, 8, 8)
    out = augment_images(x, FULL)
    assert not np.array_equal(out[:6], out[6:])
    assert not np.array_equal(augment_images(x, FULL.model_copy(update={"seed": 1})), out)


def test_seeds_are_for_ever() -> None:
    assert image_seed(0, 0, 0) == 3051931488724851722
    assert len({image_seed(*triple) for triple in np.ndindex(3, 3, 30)}) == 270


def test_the_callers_random_numbers_and_threads_are_left_alone() -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    augment_images(pixels(2, 1, 8, 8), FULL)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_nothing_gets_brighter_than_white() -> None:
    x = pixels(40, 1, 8, 8) % 17
    assert augment_images(x, ImageAugmentConfig(copies=1, jitter=0.9), white=16).max() == 16


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pixels(50, 1, 8, 8)
    alone = augment_images(x, FULL, workers=1)
    monkeypatch.setattr(policy, "SHARE_IMAGES", 20)
    assert np.array_equal(augment_images(x, FULL, workers=1), alone)
    monkeypatch.setattr(policy, "WORTH_IMAGES", 0)
    assert np.array_equal(augment_images(x, FULL, workers=2), alone)


@pytest.mark.parametrize("wrong", [{"copies": 65}, {"flip": 1.5}, {"rotate": -1}, {"flips": 0.5}, {"copies": True}])
def test_the_policy_is_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ImageAugmentConfig.model_validate(wrong)


def test_every_key_is_described() -> None:
    assert all(field.description for field in ImageAugmentConfig.model_fields.values())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_has_the_same_bytes_each_time(tmp_path: Path, channels: int) -> None:
    from PIL import Image

    x = pixels(3, channels, 8, 8)
    for name in ("a.png", "b.png"):
        augmentation_sheet(x, augment_images(x, FULL).reshape(2, 3, channels, 8, 8), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert not set(image.info) - {"dpi"}
