"""Prepared files hold what was given, and the card tells the truth about them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipelines.formats import image_writer
from pipelines.formats.base import SplitConfig
from pipelines.formats.image_writer import mean_and_std, write_images
from pipelines.formats.images import Examples
from pipelines.formats.splits import Indices, split
from tests.pipelines.samples import pixels


@pytest.fixture
def examples() -> Examples:
    y = np.tile(np.arange(3), 20)
    return Examples(pixels(60, 3, 5, 4), y, ("cat", "dog", "fïsh"), 255, index=np.arange(60) * 2)


@pytest.fixture
def parts(examples: Examples) -> dict[str, Indices]:
    return split(examples.y, None, SplitConfig(seed=3))


def written(examples: Examples, parts: dict[str, Indices], folder: Path) -> Path:
    folder.mkdir()
    write_images(examples, parts, folder, seed=3)
    return folder


def test_files_hold_the_examples(examples: Examples, parts: dict[str, Indices], tmp_path: Path) -> None:
    folder = written(examples, parts, tmp_path / "p")
    assert {path.name for path in folder.iterdir()} == {
        "card.json",
        *(f"{name}.safetensors" for name in parts),
    }
    for name, rows in parts.items():
        tensors = load_file(folder / f"{name}.safetensors")
        assert set(tensors) == {"x", "y", "index"}
        assert tensors["x"].dtype == np.uint8
        assert np.array_equal(tensors["x"], examples.x[rows])
        assert np.array_equal(tensors["y"], examples.y[rows])
        assert np.array_equal(tensors["index"], rows * 2)
        assert tensors["y"].dtype == tensors["index"].dtype == np.int64


def test_the_card_tells_the_truth(examples: Examples, parts: dict[str, Indices], tmp_path: Path) -> None:
    folder = written(examples, parts, tmp_path / "p")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    train = examples.x[parts["train"]] / 255
    assert card["mean"] == pytest.approx(train.mean(axis=(0, 2, 3)).tolist(), rel=1e-12)
    assert card["std"] == pytest.approx(train.std(axis=(0, 2, 3)).tolist(), rel=1e-12)
    assert (card["shape"], card["dtype"], card["scale"], card["seed"]) == ([3, 5, 4], "uint8", 255.0, 3)
    assert card["classes"] == ["cat", "dog", "fïsh"]
    assert card["counts"]["train"] == {"cat": 14, "dog": 14, "fïsh": 14}
    for name, digest in card["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert len(card["sha256"]) == 3


def test_the_same_input_gives_the_same_bytes(
    examples: Examples, parts: dict[str, Indices], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(examples, parts, tmp_path / "first")
    on_disk = np.memmap(tmp_path / "x", np.uint8, "w+", shape=examples.x.shape)
    on_disk[:] = examples.x
    monkeypatch.setattr(image_writer, "CHUNK", 100)
    mapped = Examples(on_disk, examples.y, examples.classes, 255, examples.index)
    second = written(mapped, parts, tmp_path / "second")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_a_constant_channel_can_be_divided_by() -> None:
    x = pixels(4, 2, 3, 3)
    x[:, 1] = 7
    mean, std = mean_and_std(x, np.arange(4), 16)
    assert mean[1] == 7 / 16
    assert std[1] == 1.0
    assert std[0] == pytest.approx((x[:, 0] / 16).std())
