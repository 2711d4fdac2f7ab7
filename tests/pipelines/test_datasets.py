"""What holds for every dataset in the table. A new one needs a small source in samples.py, and is tested."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file

from lit_models.forms import FORMS, load_spec
from pipelines.augmentations import AUGMENTATIONS
from pipelines.datasets import DATASETS
from pipelines.evaluations import EVALUATIONS
from pipelines.faults import Fault
from pipelines.formats.images import Examples, ImagePrepareConfig
from pipelines.formats.splits import split
from pipelines.headlines import HEADLINES
from tests.pipelines.samples import fetched, small, source

KINDS = sorted(DATASETS)
IMAGES = [kind for kind in KINDS if DATASETS[kind].form == "image"]
SIZED = ImagePrepareConfig(size=12)


def read(kind: str, raw: Path, config: ImagePrepareConfig) -> Examples:
    """Read images by the function that each of these datasets has in its module."""
    examples: Examples = import_module(f"pipelines.datasets.{kind}").read(raw, config)
    return examples


def prepared(kind: str, raw: Path, folder: Path) -> Path:
    """Prepare a small dataset."""
    folder.mkdir()
    dataset = DATASETS[kind]
    assert dataset.prepare(raw, dataset.PrepareConfig(**small(kind)), folder)
    return folder


@pytest.fixture(autouse=True)
def _own_state(folder: Path) -> None:
    """Partial downloads go below the working folder."""


@pytest.mark.parametrize("kind", IMAGES)
def test_examples_are_as_promised(kind: str, tmp_path: Path) -> None:
    examples = read(kind, fetched(kind, tmp_path), SIZED)
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


@pytest.mark.parametrize("kind", IMAGES)
def test_reading_twice_gives_the_same(kind: str, tmp_path: Path) -> None:
    raw = fetched(kind, tmp_path)
    first, second = read(kind, raw, SIZED), read(kind, raw, SIZED)
    assert np.array_equal(first.x, second.x)
    assert first.y.tolist() == second.y.tolist()
    assert first.names == second.names


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_prepared_is_of_the_promised_form(kind: str, tmp_path: Path) -> None:
    folder = prepared(kind, fetched(kind, tmp_path), tmp_path / "prepared")
    spec = load_spec(folder)
    assert spec.form == DATASETS[kind].form
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    for part in ("train", "val", "test"):
        tensors = load_file(folder / f"{part}.safetensors")
        assert len(tensors["x"]) == len(tensors["y"]) == len(tensors["index"]) > 0
        assert spec.fault(tensors["x"], tensors["y"]) == ""
        assert part in card["counts"]


@pytest.mark.parametrize("kind", KINDS)
def test_preparing_twice_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    raw = fetched(kind, tmp_path)
    one, two = (prepared(kind, raw, tmp_path / name) for name in ("one", "two"))
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_beforehand_is_of_the_promised_form(kind: str, tmp_path: Path) -> None:
    dataset = DATASETS[kind]
    fetch = dataset.FetchConfig.model_validate(source(kind, tmp_path))
    spec = dataset.sketch(fetch, dataset.PrepareConfig(**small(kind)))
    assert spec is None or spec.form == dataset.form


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_set_can_be_augmented(kind: str, tmp_path: Path) -> None:
    folder = prepared(kind, fetched(kind, tmp_path), tmp_path / "prepared")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    augmentation = AUGMENTATIONS[DATASETS[kind].augmentation]
    copies = {"copies": 2} if "copies" in augmentation.Config.model_fields else {}
    train = load_arrays(folder / "train.safetensors")
    out = tmp_path / "augmented"
    out.mkdir()
    made = augmentation.write(train, augmentation.Config(**copies), out, card)
    copied = load_file(out / "train.safetensors")
    assert made == len(copied["x"]) == (2 * len(train["y"]) if copies else 0)
    assert load_spec(folder).fault(copied["x"], copied["y"]) == ""
    assert (out / "preview.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", KINDS)
def test_fetching_twice_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    manifests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        manifests.append((fetched(kind, tmp_path / name) / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("kind", IMAGES)
def test_a_limit_keeps_the_first_of_each_class(kind: str, tmp_path: Path) -> None:
    raw = fetched(kind, tmp_path)
    everything = read(kind, raw, SIZED)
    few = read(kind, raw, ImagePrepareConfig(size=12, limit=3))
    groups = everything.y * 2 + (0 if everything.official_test is None else everything.official_test)
    kept = [i for i, group in enumerate(groups) if (groups[:i] == group).sum() < 3]
    assert few.index.tolist() == kept
    assert np.array_equal(few.x, everything.x[kept])
    assert few.y.tolist() == everything.y[kept].tolist()
    assert few.names == (None if everything.names is None else [everything.names[i] for i in kept])


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize(("channels", "count"), [("gray", 1), ("rgb", 3)])
def test_channels_are_converted(kind: str, channels: str, count: int, tmp_path: Path) -> None:
    config = ImagePrepareConfig.model_validate({"size": 12, "channels": channels})
    assert read(kind, fetched(kind, tmp_path), config).x.shape[1] == count


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
        prepared(kind, raw, tmp_path / "prepared")


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_keys_are_refused(kind: str, tmp_path: Path) -> None:
    config = source(kind, tmp_path)
    with pytest.raises(ValidationError, match="mirorrs"):
        DATASETS[kind].FetchConfig.model_validate(config | {"mirorrs": []})


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described(kind: str) -> None:
    dataset = DATASETS[kind]
    augmentation, evaluation = AUGMENTATIONS[dataset.augmentation], EVALUATIONS[dataset.form]
    for config in (dataset.FetchConfig, dataset.PrepareConfig, augmentation.Config, evaluation.Config):
        assert all(field.description for field in config.model_fields.values())


def test_the_table_names_its_entries() -> None:
    assert all(name == dataset.name for name, dataset in DATASETS.items())
    assert set(EVALUATIONS) == set(HEADLINES) == set(FORMS) == {dataset.form for dataset in DATASETS.values()}
    assert {dataset.augmentation for dataset in DATASETS.values()} | {"none"} == set(AUGMENTATIONS)


def test_an_official_test_set_may_be_ignored(tmp_path: Path) -> None:
    raw, parts = fetched("mnist", tmp_path), []
    for official in (True, False):
        folder = tmp_path / str(official)
        folder.mkdir()
        DATASETS["mnist"].prepare(raw, ImagePrepareConfig(official_test=official), folder)
        parts.append(load_arrays(folder / "test.safetensors")["index"].tolist())
    assert parts[0] == list(range(60, 80))
    assert parts[1] != parts[0]


@pytest.mark.parametrize(
    "wrong",
    [{"val": 0.5, "test": 0.5}, {"val": 0}, {"test": 1}, {"val": float("nan")}, {"seed": -1}, {"size": 3},
     {"size": "28"}, {"limit": 2}, {"channels": "cmyk"}],
)  # fmt: skip
def test_prepare_is_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ImagePrepareConfig.model_validate(wrong)


def test_configs_are_imported_without_what_is_heavy() -> None:
    code = "import sys, pipelines.datasets, pipelines.augmentations, pipelines.evaluations; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            cwd=Path(__file__).parents[2]).stdout  # fmt: skip
    heavy = {
        "torch",
        "sklearn",
        "PIL",
        "fsspec",
        "requests",
        "tqdm",
        "matplotlib",
        "safetensors",
    }
    assert not heavy & set(output.split())
