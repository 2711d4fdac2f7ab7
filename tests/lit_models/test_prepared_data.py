"""The data module and what it reads."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lit_models.core.config import FamilyConfig
from lit_models.core.data import PreparedData, read_split
from lit_models.forms import load_spec
from lit_models.mlp import LitMLP, MLPConfig
from lit_models.specs.base import ImageSpec


def numbered(count: int, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that carry their number, so that a batch shows where it came from."""
    number = torch.arange(start, start + count)
    return number.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 4, 4), number % 3


@pytest.fixture
def folder(write_prepared: Any) -> Path:
    splits = {"train": numbered(20), "val": numbered(7, 100), "test": numbered(5, 200)}
    result: Path = write_prepared(splits, scale=255.0, classes=3)
    return result


def test_one_epoch_serves_every_sample_once(folder: Path) -> None:
    data = PreparedData(folder, None, FamilyConfig(batch_size=6), seed=0)
    batches = list(data.train_dataloader())
    assert [len(y) for _, y, _ in batches] == [6, 6, 6, 2]
    assert len(data.train_dataloader()) == 4
    x, y, index = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
    assert x.dtype == torch.uint8
    assert index.sort().values.tolist() == list(range(20))
    assert torch.equal(x[:, 0, 0, 0].long(), index)
    assert torch.equal(y, index % 3)


def test_a_last_batch_of_one_is_left_out_of_training_alone(folder: Path) -> None:
    data = PreparedData(folder, None, FamilyConfig(batch_size=19), seed=0)
    assert [len(y) for _, y, _ in data.train_dataloader()] == [19]
    assert len(data.train_dataloader()) == 1
    single = PreparedData(folder, None, FamilyConfig(batch_size=1), seed=0)
    assert len(list(single.train_dataloader())) == len(single.train_dataloader()) == 20


def test_epochs_differ_and_repeat(folder: Path) -> None:
    def indices(epoch: int) -> list[int]:
        data = PreparedData(folder, None, FamilyConfig(), seed=4)
        data.train.epoch = epoch
        return [int(i) for _, _, index in data.train_dataloader() for i in index]

    assert indices(0) == indices(0)
    assert indices(0) != indices(1)


def test_validation_and_test_come_in_order(folder: Path) -> None:
    data = PreparedData(folder, None, FamilyConfig(), seed=0)
    assert data.val is not None
    assert [x[:, 0, 0, 0].tolist() for x, _, _ in data.val] == [list(range(100, 107))]
    assert [x[:, 0, 0, 0].tolist() for x, _, _ in data.test_dataloader()] == [list(range(200, 205))]


def test_train_and_val_together(folder: Path) -> None:
    data = PreparedData(folder, None, FamilyConfig(), seed=0, fit_on="train+val")
    assert len(data.train.y) == 27
    assert data.val is None
    assert data.val_dataloader() == []


@pytest.mark.parametrize("count", [0, 3])
def test_augmented_samples_are_appended(folder: Path, tmp_path: Path, count: int) -> None:
    x, y = numbered(count, 50)
    (tmp_path / "more").mkdir()
    save_file({"x": x, "y": y}, tmp_path / "more" / "train.safetensors")
    data = PreparedData(folder, tmp_path / "more", FamilyConfig(), seed=0)
    assert data.train.x[20:, 0, 0, 0].tolist() == list(range(50, 50 + count))
    assert len(data.train.y) == 20 + count


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"more.train\.safetensors"):
        PreparedData(folder, tmp_path / "more", FamilyConfig(), seed=0)
    with pytest.raises(FileNotFoundError, match=r"card\.json"):
        PreparedData(tmp_path / "none", None, FamilyConfig(), seed=0)


@pytest.mark.parametrize(
    "tensors",
    [
        {"x": torch.zeros(3, 1, 2, 2, dtype=torch.uint8)},
        {"x": torch.zeros(3, 1, 2, 2), "y": torch.zeros(3, dtype=torch.int64)},
        {"x": torch.zeros(3, 1, 2, 2, dtype=torch.uint8), "y": torch.zeros(4, dtype=torch.int64)},
        {"x": torch.zeros(3, 2, 2, dtype=torch.uint8), "y": torch.zeros(3, dtype=torch.int64)},
    ],
    ids=["no y", "float", "lengths", "dimensions"],
)
def test_wrong_tensors_are_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, tmp_path / "train.safetensors")
    with pytest.raises(ValueError, match=r"train\.safetensors must hold"):
        read_split(tmp_path / "train.safetensors", ImageSpec((1, 2, 2), 2, (0.0,), (1.0,), 255.0))


def test_large_splits_stay_memory_mapped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = MLPConfig(hidden=4, batch_size=5)
    small = PreparedData(folder, None, config, seed=0)
    monkeypatch.setattr("lit_models.core.data.IN_MEMORY", 0)
    mapped = PreparedData(folder, None, config, seed=0)
    for one, other in zip(small.train, mapped.train, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_spec_is_read_from_the_card(folder: Path) -> None:
    spec = load_spec(folder)
    assert isinstance(spec, ImageSpec)
    assert (spec.shape, spec.classes, spec.scale) == ((1, 4, 4), 3, 255.0)
    x = read_split(folder / "train.safetensors", spec)[0]
    model = LitMLP(MLPConfig(), spec)
    normal = model.normalize(model.unit(x))
    assert normal.mean().item() == pytest.approx(0, abs=1e-5)
    assert normal.std().item() == pytest.approx(1, abs=1e-5)


def test_card_without_a_key_is_refused(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    del card["std"]
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=r"card\.json lacks the key 'std'"):
        load_spec(folder)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": (0, 8, 8)}, "shape"),
        ({"classes": 0}, "classes"),
        ({"mean": (0.1, 0.2)}, "mean has 2 values for 1 channels"),
        ({"std": (0.0,)}, "std"),
        ({"scale": 0.0}, "scale"),
    ],
)
def test_impossible_specs_are_refused(wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"shape": (1, 8, 8), "classes": 10, "mean": (0.1,), "std": (0.2,), "scale": 255.0}
    with pytest.raises(ValueError, match=message):
        ImageSpec(**{**right, **wrong})
