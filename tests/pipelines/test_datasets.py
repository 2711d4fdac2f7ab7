"""What holds for every dataset in the table. A new one needs a small source in samples.py, and is tested."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.datasets import DATASETS
from pipelines.datasets.base import PrepareConfig
from pipelines.faults import Fault
from pipelines.splits import split
from tests.pipelines.samples import fetched, source

KINDS = sorted(DATASETS)
SIZED = PrepareConfig(size=12)


@pytest.fixture(autouse=True)
def _own_state(folder: Path) -> None:
    """Partial downloads go below the working folder."""


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_as_promised(kind: str, tmp_path: Path) -> None:
    examples = DATASETS[kind].read(fetched(kind, tmp_path), SIZED)
    count = len(examples.y)
    assert examples.x.dtype == np.uint8
    assert examples.x.shape[2:] == (12, 12)
    assert examples.x.shape[1] in (1, 3)
    assert len(examples.x) == count > 0
    assert examples.x.max() <= examples.scale
    assert examples.y.dtype == examples.index.dtype == np.int64
    assert examples.index.tolist() == list(range(count))
    assert set(examples.y.tolist()) == set(range(len(examples.classes)))
    assert len(set(examples.classes)) == len(examples.classes) > 1
    assert examples.names is None or len(examples.names) == count
    if examples.official_test is not None:
        assert examples.official_test.dtype == np.bool_
        assert 0 < examples.official_test.sum() < count
    assert set(split(examples.y, examples.official_test, SIZED, examples.classes)) == {"train", "val", "test"}


@pytest.mark.parametrize("kind", KINDS)
def test_reading_twice_gives_the_same(kind: str, tmp_path: Path) -> None:
    raw = fetched(kind, tmp_path)
    first, second = DATASETS[kind].read(raw, SIZED), DATASETS[kind].read(raw, SIZED)
    assert np.array_equal(first.x, second.x)
    assert first.y.tolist() == second.y.tolist()
    assert first.names == second.names


@pytest.mark.parametrize("kind", KINDS)
def test_fetching_twice_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    manifests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        manifests.append((fetched(kind, tmp_path / name) / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_keeps_the_first_of_each_class(kind: str, tmp_path: Path) -> None:
    raw = fetched(kind, tmp_path)
    everything = DATASETS[kind].read(raw, SIZED)
    few = DATASETS[kind].read(raw, PrepareConfig(size=12, limit=3))
    groups = everything.y * 2 + (0 if everything.official_test is None else everything.official_test)
    kept = [i for i, group in enumerate(groups) if (groups[:i] == group).sum() < 3]
    assert few.index.tolist() == kept
    assert np.array_equal(few.x, everything.x[kept])
    assert few.y.tolist() == everything.y[kept].tolist()
    assert few.names == (None if everything.names is None else [everything.names[i] for i in kept])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "count"), [("gray", 1), ("rgb", 3)])
def test_channels_are_converted(kind: str, channels: str, count: int, tmp_path: Path) -> None:
    config = PrepareConfig.model_validate({"size": 12, "channels": channels})
    assert DATASETS[kind].read(fetched(kind, tmp_path), config).x.shape[1] == count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", ["changed", "shortened", "missing", "unlisted"])
def test_a_raw_file_that_changed_is_named(kind: str, harm: str, tmp_path: Path) -> None:
    raw = fetched(kind, tmp_path)
    victim = sorted(path for path in raw.rglob("*") if path.is_file() and path.name != "manifest.json")[-1]
    content = victim.read_bytes()
    if harm == "changed":
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "shortened":
        victim.write_bytes(content[:-1])
    elif harm == "missing":
        victim.unlink()
    else:
        victim = raw / "manifest.json"
        victim.unlink()
    with pytest.raises(Fault, match=victim.name):
        DATASETS[kind].read(raw, SIZED)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_keys_are_refused(kind: str, tmp_path: Path) -> None:
    config = source(kind, tmp_path)
    with pytest.raises(ValidationError, match="mirorrs"):
        DATASETS[kind].FetchConfig.model_validate(config | {"mirorrs": []})


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described(kind: str) -> None:
    for config in (DATASETS[kind].FetchConfig, PrepareConfig):
        assert all(field.description for field in config.model_fields.values())


def test_the_table_names_its_entries() -> None:
    assert all(name == dataset.name for name, dataset in DATASETS.items())


@pytest.mark.parametrize(
    "wrong",
    [{"val": 0.5, "test": 0.5}, {"val": 0}, {"test": 1}, {"val": float("nan")}, {"seed": -1}, {"size": 3},
     {"size": "28"}, {"limit": 2}, {"channels": "cmyk"}],
)  # fmt: skip
def test_prepare_is_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PrepareConfig.model_validate(wrong)


def test_configs_are_imported_without_what_is_heavy() -> None:
    code = "import sys, pipelines.datasets, pipelines.policy; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            cwd=Path(__file__).parents[2]).stdout  # fmt: skip
    heavy = {
        "torch",
        "torchvision",
        "sklearn",
        "PIL",
        "fsspec",
        "requests",
        "tqdm",
        "matplotlib",
        "safetensors",
    }
    assert not heavy & set(output.split())
