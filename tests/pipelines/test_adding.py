"""The adding problem: what is generated is what Hochreiter & Schmidhuber ask for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipelines.datasets import adding
from pipelines.datasets.adding import ADDING, AddingFetch
from pipelines.faults import Fault
from pipelines.formats.base import SplitConfig
from pipelines.transport.raw import write_manifest


def fetched(folder: Path, **config: Any) -> Path:
    raw = folder / "raw"
    raw.mkdir(parents=True)
    adding.fetch(AddingFetch(**{"sequences": 400, "length": 20, **config}), raw, folder)
    return raw


def prepared(raw: Path) -> Path:
    folder = raw.parent / "prepared"
    folder.mkdir()
    adding.prepare(raw, SplitConfig(), folder)
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, dict[str, Any]]:
    folder = prepared(fetched(tmp_path))
    return {part: load_file(folder / f"{part}.safetensors") for part in ("train", "val", "test")}


def test_a_marker_in_each_half_and_the_sum_of_what_they_mark(parts: dict[str, dict[str, Any]]) -> None:
    for part in parts.values():
        numbers, markers = part["x"][..., 0], part["x"][..., 1]
        assert set(np.unique(markers)) == {0, 1}
        assert (markers[:, :10].sum(1) == 1).all()
        assert (markers[:, 10:].sum(1) == 1).all()
        assert np.allclose((numbers * markers).sum(1, keepdims=True), part["y"], atol=1e-6)
        assert ((numbers >= 0) & (numbers < 1)).all()


def test_numbers_and_places_are_spread_evenly(tmp_path: Path) -> None:
    folder = prepared(fetched(tmp_path, sequences=3000))
    train = load_file(folder / "train.safetensors")
    assert abs(train["x"][..., 0].mean() - 0.5) < 0.01
    assert abs(train["x"][..., 0].var() - 1 / 12) < 0.002
    assert abs(train["y"].var() - 1 / 6) < 0.02
    share = train["x"][..., 1].mean(0)
    assert share.shape == (20,)
    assert abs(share - 0.1).max() < 0.03


def test_every_sequence_is_in_one_part(parts: dict[str, dict[str, Any]]) -> None:
    rows = np.concatenate([part["index"] for part in parts.values()])
    assert sorted(rows.tolist()) == list(range(400))
    assert [len(part["y"]) for part in parts.values()] == [280, 60, 60]


def test_the_card_says_what_the_baseline_is(tmp_path: Path) -> None:
    card = json.loads((prepared(fetched(tmp_path)) / "card.json").read_text())
    assert (card["form"], card["length"], card["features"], card["targets"]) == (
        *("series", 20, ["number", "marker"], ["sum"]),
    )
    assert card["tolerance"] == 0.04
    assert "columns" not in card["baseline"]
    assert abs(card["target_mean"][0] - 1) < 0.1


def test_length_and_seed_decide_the_bytes(tmp_path: Path) -> None:
    def content(name: str, **config: Any) -> bytes:
        return (fetched(tmp_path / name, **config) / adding.FILE).read_bytes()

    assert content("one") == content("two")
    assert content("one more", seed=1) != content("two more")
    assert content("longer", length=21) != content("as long")
    assert len(content("odd", length=3).splitlines()) == 401


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2", r"adding\.csv, line 3: 2 instead of 6 columns"),
        ("1,3,0.1,0.2,0.3,x", r"adding\.csv, line 3: number4 is 'x', not a number"),
        ("1,1,0.1,0.2,0.3,0.4", r"adding\.csv, line 3: 1 and 1 are not two steps of 4"),
        ("1,5,0.1,0.2,0.3,0.4", r"adding\.csv, line 3: 1 and 5 are not two steps of 4"),
    ],
)
def test_what_is_wrong_is_named_by_line(line: str, message: str, tmp_path: Path) -> None:
    raw = fetched(tmp_path, length=4)
    lines = (raw / adding.FILE).read_text().splitlines()
    lines[2] = line
    (raw / adding.FILE).write_text("\n".join(lines))
    write_manifest(raw)
    with pytest.raises(Fault, match=message):
        prepared(raw)


def test_the_sketch_is_what_is_prepared(tmp_path: Path) -> None:
    from lit_models.forms import load_spec

    spec, sketch = load_spec(prepared(fetched(tmp_path))), ADDING.sketch(AddingFetch(length=20), SplitConfig())
    assert sketch is not None
    for x, y in zip(spec.blank(3), sketch.blank(3), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
