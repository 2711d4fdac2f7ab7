"""Small data sets in the prepared format."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor

from lit_models import ImageSpec

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests run side by side: more threads each would only fight over the cores."""
    torch.set_num_threads(1)


@pytest.fixture
def write_prepared(tmp_path: Path) -> Write:
    """Write splits {name: (x, y)} and their card; return the folder."""

    def write(splits: dict[str, tuple[Tensor, Tensor]], *, scale: float, classes: int, name: str = "set") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for split, (x, y) in splits.items():
            save_file({"x": x.contiguous(), "y": y.contiguous()}, folder / f"{split}.safetensors")
        pixels = splits["train"][0].double() / scale
        card = {
            "form": "image",
            "shape": list(splits["train"][0].shape[1:]),
            "classes": [str(number) for number in range(classes)],
            "scale": scale,
            "mean": pixels.mean(dim=(0, 2, 3)).tolist(),
            "std": pixels.std(dim=(0, 2, 3)).tolist(),
        }
        (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def digits(write_prepared: Write) -> Path:
    """scikit-learn's digits, 1257 / 270 / 270."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.from_numpy(images[order].reshape(-1, 1, 8, 8).astype("uint8"))
    y = torch.from_numpy(labels[order]).long()
    names = ("train", "val", "test")
    parts = zip(torch.split(x, [1257, 270, 270]), torch.split(y, [1257, 270, 270]), strict=True)
    return write_prepared(dict(zip(names, parts, strict=True)), scale=16.0, classes=10)


@pytest.fixture
def few_digits(write_prepared: Write) -> Path:
    """A hundred digits to train on and fifty to validate, for tests that take many epochs."""
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images[:200].reshape(-1, 1, 8, 8).astype("uint8"))
    y = torch.from_numpy(labels[:200]).long()
    parts = zip(torch.split(x, [100, 50, 50]), torch.split(y, [100, 50, 50]), strict=True)
    return write_prepared(dict(zip(("train", "val", "test"), parts, strict=True)), scale=16.0, classes=10, name="few")


@pytest.fixture
def spec() -> ImageSpec:
    return ImageSpec(shape=(1, 8, 8), classes=10, mean=(0.3,), std=(0.4,), scale=16.0)
