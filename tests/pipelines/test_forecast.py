"""Series to forecast: split by time without a leak, and whatever is wrong in a person's file is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipelines.augmentations.series import SERIES, SeriesAugmentConfig
from pipelines.datasets import eeg as eeg_waves
from pipelines.datasets import forecast
from pipelines.datasets.eeg import EegFetch
from pipelines.datasets.forecast import ForecastFetch, ForecastPrepare, WindowConfig
from pipelines.faults import Fault
from pipelines.transport.raw import write_manifest

PARTS = ("train", "val", "test")


def rows(count: int = 60) -> list[str]:
    return [f"{step},{step * 10},{step % 7}" for step in range(count)]


def prepare(folder: Path, lines: list[str], header: str = "time,value,week", **config: Any) -> Path:
    (folder / "own.csv").write_text("\n".join([header, *lines]) + "\n")
    raw, out = folder / "raw", folder / "prepared"
    raw.mkdir()
    out.mkdir()
    forecast.fetch(ForecastFetch(path="own.csv"), raw, folder)
    forecast.prepare(raw, ForecastPrepare(**{"length": 4, **config}), out)
    return out


def test_a_window_forecasts_the_row_after_it(tmp_path: Path) -> None:
    folder = prepare(tmp_path, rows())
    for part in PARTS:
        found = load_file(folder / f"{part}.safetensors")
        assert found["x"].shape[1:] == (4, 2)
        assert (found["y"][:, 0] == found["index"] * 10).all()
        assert (found["x"][:, -1, 0] == (found["index"] - 1) * 10).all()
        assert (found["x"][:, 0, 1] == (found["index"] - 4) % 7).all()


def test_parts_keep_to_the_order_of_time_and_share_no_row(tmp_path: Path) -> None:
    folder = prepare(tmp_path, rows())
    seen = []
    for part in PARTS:
        found = load_file(folder / f"{part}.safetensors")
        seen.append({*(found["x"][..., 0] / 10).ravel().tolist(), *(found["y"] / 10).ravel().tolist()})
    train, val, test = seen
    assert max(train) < min(val)
    assert max(val) < min(test)
    assert (len(train), len(val), len(test)) == (42, 9, 9)


def test_the_card_knows_baseline_time_and_tolerance(tmp_path: Path) -> None:
    card = json.loads((prepare(tmp_path, rows(), tolerance=0.25) / "card.json").read_text())
    assert card["features"] == ["value", "week"]
    assert card["targets"] == ["value"]
    assert card["baseline"] == {"name": "last value", "columns": [0]}
    assert card["time"] == {"name": "time", "start": 0.0, "step": 1.0}
    assert card["tolerance"] == pytest.approx(0.25 * card["target_std"][0])


def test_dates_and_chosen_features(tmp_path: Path) -> None:
    lines = [f"2024-{month:02d}-01,{month},{month * month}" for month in range(1, 13)]
    folder = prepare(tmp_path, lines, "day,a,b", time="day", target="b", features=["a"], length=1, val=0.25, test=0.25)
    card = json.loads((folder / "card.json").read_text())
    assert card["features"] == ["b", "a"]
    assert card["time"]["start"] == "2024-01-01T00:00:00"
    assert card["time"]["step"] == 31 * 86400
    assert load_file(folder / "train.safetensors")["y"].ravel().tolist() == [4, 9, 16, 25, 36]


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        (7, "5,x,1", r"series\.csv, line 7: value is 'x', not a number"),
        (7, "5,,1", r"series\.csv, line 7: value is '', not a number"),
        (7, "5,50,nan", r"series\.csv, line 7: week is 'nan', not a number"),
        (7, "5,50", r"series\.csv, line 7: 2 instead of 3 columns"),
        (7, "3,50,1", r"series\.csv, line 7: the time 3 is not after 4"),
        (7, "4,50,1", r"series\.csv, line 7: the time 4 is not after 4"),
        (7, "soon,50,1", r"series\.csv, line 7: the time 'soon' is no number"),
        (2, "soon,50,1", r"series\.csv, line 2: the time 'soon' is neither a number nor a date"),
        (7, None, r"series\.csv, line 7: from the time 4 to 6 is a gap, for most steps are 1; .* `gaps: true`"),
        (7, "4.1,50,1", r"series\.csv, line 7: from the time 4 to 4\.1 is less than a step"),
    ],
)
def test_what_is_wrong_is_named_by_line(line: int, wrong: str | None, message: str, tmp_path: Path) -> None:
    lines = rows()
    lines[line - 2 : line - 1] = [] if wrong is None else [wrong]
    with pytest.raises(Fault, match=message):
        prepare(tmp_path, lines)


def test_a_date_among_dates_is_named(tmp_path: Path) -> None:
    lines = [f"2024-01-{day:02d},1,1" for day in range(1, 20)]
    lines[4] = "2024-01-5,1,1"
    with pytest.raises(Fault, match="line 6: the time '2024-01-5' is neither a number nor a date"):
        prepare(tmp_path, lines)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"time": "when"}, "line 1: there is no column 'when'"),
        ({"target": "price"}, "line 1: there is no column 'price'"),
        ({"features": ["price"]}, "line 1: there is no column 'price'"),
        ({"target": "time"}, "the column 'time' tells the time"),
        ({"length": 9}, "the val part has 9 of 60 rows, and a window needs 10: shorten `length`"),
    ],
)
def test_what_the_file_cannot_give_is_a_fault(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match=message):
        prepare(tmp_path, rows(), **config)


def test_gaps_may_be_passed_over(tmp_path: Path) -> None:
    lines = rows()
    del lines[5]
    card = json.loads((prepare(tmp_path, lines, gaps=True) / "card.json").read_text())
    assert sum(card["counts"].values()) == 59 - 3 * 4


def test_a_folder_is_no_series(tmp_path: Path) -> None:
    (tmp_path / "own.csv").mkdir()
    (tmp_path / "own.csv" / "part.csv").write_text("time,value\n")
    (tmp_path / "raw").mkdir()
    with pytest.raises(Fault, match="is a folder, not a CSV file"):
        forecast.fetch(ForecastFetch(path="own.csv"), tmp_path / "raw", tmp_path)


# --- the EEG ------------------------------------------------------------------------------------------------------


@pytest.fixture
def eeg(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    (tmp_path / "prepared").mkdir()
    eeg_waves.fetch(EegFetch(), tmp_path / "raw", tmp_path)
    return tmp_path


def test_the_eeg_is_ten_seconds_of_four_electrodes(eeg: Path) -> None:
    said = eeg_waves.prepare(eeg / "raw", WindowConfig(length=8), eeg / "prepared")
    assert said.startswith("552 train, 112 val, 112 test")
    card = json.loads((eeg / "prepared" / "card.json").read_text())
    assert card["targets"] == ["PG3", "PG5", "PG7", "PG9"]
    assert load_file(eeg / "prepared" / "test.safetensors")["index"][-1] * card["time"]["step"] == pytest.approx(9.9875)


@pytest.mark.parametrize("harm", ["cut", "nan"])
def test_a_broken_eeg_is_a_fault(eeg: Path, harm: str) -> None:
    path = eeg / "raw" / eeg_waves.FILE
    content = path.read_bytes()
    path.write_bytes(content[:-8] if harm == "cut" else content[:80] + np.float64("nan").tobytes() + content[88:])
    write_manifest(eeg / "raw")
    with pytest.raises(Fault, match=r"eeg\.dat .*byte offset " + ("25592" if harm == "cut" else "80$")):
        eeg_waves.prepare(eeg / "raw", WindowConfig(), eeg / "prepared")


# --- augmentation -------------------------------------------------------------------------------------------------


def augmented(folder: Path, prepared: Path, **config: Any) -> dict[str, Any]:
    folder.mkdir()
    card = json.loads((prepared / "card.json").read_text())
    train = load_file(prepared / "train.safetensors")
    made = SERIES.write(train, SeriesAugmentConfig(**config), folder, card)
    assert (folder / "preview.png").stat().st_size > 1000
    found = load_file(folder / "train.safetensors")
    assert len(found["x"]) == len(found["y"]) == made
    assert found["x"].dtype == found["y"].dtype == np.float32
    return found


def test_jitter_is_on_what_is_known_and_scale_on_all(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, rows())
    train = load_file(prepared / "train.safetensors")
    card = json.loads((prepared / "card.json").read_text())
    assert len(augmented(tmp_path / "none", prepared, copies=0)["x"]) == 0
    same = augmented(tmp_path / "same", prepared, copies=1)
    assert np.allclose(same["x"], train["x"], atol=1e-4)
    noisy = augmented(tmp_path / "noisy", prepared, copies=2, jitter=0.1)
    assert np.array_equal(noisy["y"], np.tile(train["y"], (2, 1)))
    spread = (noisy["x"] - np.tile(train["x"], (2, 1, 1))).std((0, 1)) / card["std"]
    assert np.allclose(spread, 0.1, rtol=0.2)
    scaled = augmented(tmp_path / "scaled", prepared, copies=1, scale=0.5)
    factor = (scaled["y"] - card["target_mean"]) / (train["y"] - card["target_mean"])
    assert (factor.min() >= 0.5) & (factor.max() <= 1.5)
    assert np.allclose(scaled["x"], card["mean"] + factor[:, None] * (train["x"] - card["mean"]), rtol=1e-3, atol=1e-2)
