"""Validation of params.yaml: every fault is one line that names the key, what is wrong, and what would be right."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lit_models import ImageSpec
from pipelines.datasets import DATASETS
from pipelines.formats.images import ImagePrepareConfig
from pipelines.params import Params, ParamsFaults, load
from tests.conftest import RunModule

VALID = """\
datasets:
  digits:
    kind: digits
    fetch: {}
    prepare:
      seed: 0
    augment:
      rotate: 10

experiments:
  one:
    dataset: digits
    family: mlp
    model:
      hidden: 32
    search:
      algorithm: random
      trials: 4
      epochs: 2
      space:
        lr: {loguniform: [0.001, 0.01]}
        dropout: {uniform: [0.0, 0.4]}
        optimizer: {choice: [adamw, sgd]}
    train:
      epochs: 3
    evaluate: {}
  two:
    dataset: digits
    family: resnet
    model: {}
    search:
      space:
        width: {int: [4, 8]}
    train: {}
    evaluate: {}

report:
  dollars_per_hour: 1.0
"""


def write(text: str) -> Path:
    path = Path("params.yaml")
    path.write_text(text, encoding="utf-8")
    return path


def changed(old: str, new: str) -> str:
    assert VALID.count(old) == 1, old
    return VALID.replace(old, new)


def faults(text: str) -> list[str]:
    with pytest.raises(ParamsFaults) as caught:
        load(write(text))
    return caught.value.faults


@pytest.fixture(autouse=True)
def _in(folder: Path) -> None:
    """Every test here reads params.yaml of a folder of its own."""


ONE = "experiments.one"
SPACE = f"{ONE}.search.space"
REQUIRED = "missing; this key is required (an empty section is written {})"
DROPOUT = "dropout: {uniform: [0.0, 0.4]}"

UNKNOWN_KEYS = [
    ("report:", "reports:", ["report: " + REQUIRED, "reports: unknown key; nearest valid key: report"]),
    (
        "    kind: digits",
        "    kind: digits\n    sorce: x",
        ["datasets.digits.sorce: unknown key; valid keys: augment, fetch, kind, prepare"],
    ),
    (
        "    fetch: {}",
        "    fetch: {url: x}",
        ["datasets.digits.fetch.url: unknown key; there are no valid keys"],
    ),
    ("      seed: 0", "      sed: 0", ["datasets.digits.prepare.sed: unknown key; nearest valid key: seed"]),
    (
        "      rotate: 10",
        "      rotation: 10",
        ["datasets.digits.augment.rotation: unknown key; nearest valid key: rotate"],
    ),
    (
        "    family: mlp",
        "    famly: mlp",
        [f"{ONE}.family: {REQUIRED}", f"{ONE}.famly: unknown key; nearest valid key: family"],
    ),
    ("trials: 4", "trails: 4", [f"{ONE}.search.trails: unknown key; nearest valid key: trials"]),
    ("  epochs: 3", "  epoch: 3", [f"{ONE}.train.epoch: unknown key; nearest valid key: epochs"]),
    (
        "    evaluate: {}\n  two",
        "    evaluate: {mistake: 3}\n  two",
        [f"{ONE}.evaluate.mistake: unknown key; nearest valid key: mistakes"],
    ),
    (
        "dollars_per_hour",
        "dollar_per_hour",
        ["report.dollar_per_hour: unknown key; nearest valid key: dollars_per_hour"],
    ),
    (
        "lr: {loguniform",
        "lr: {log_uniform",
        [f"{SPACE}.lr.log_uniform: unknown key; nearest valid key: loguniform"],
    ),
    ("hidden: 32", "hiden: 32", [f"{ONE}.model.hiden: unknown key; nearest valid key: hidden"]),
    (
        "lr: {loguniform",
        "lerning_rate: {loguniform",
        [f"{SPACE}.lerning_rate: family 'mlp' has no such hyperparameter; nearest valid key: lr"],
    ),
]

TYPES_AND_RANGES = [
    ("trials: 4", "trials: 0", f"{ONE}.search.trials: should be greater than or equal to 1, but it is 0"),
    ("trials: 4", "trials: '4'", f"{ONE}.search.trials: should be a valid integer, but it is '4'"),
    ("trials: 4", "trials: 4.0", f"{ONE}.search.trials: should be a valid integer, but it is 4.0"),
    ("trials: 4", "trials: true", f"{ONE}.search.trials: should be a valid integer, but it is True"),
    ("trials: 4", "trials:", f"{ONE}.search.trials: should be a valid integer, but it is empty"),
    (
        "trials: 4",
        "trials: 2024-01-01",
        f"{ONE}.search.trials: should be a valid integer, but it is '2024-01-01'",
    ),
    (
        "trials: 4",
        "trials: 99999",
        f"{ONE}.search.trials: should be less than or equal to 10000, but it is 99999",
    ),
    (
        "rotate: 10",
        "rotate: .nan",
        "datasets.digits.augment.rotate: should be a finite number, but it is nan",
    ),
    (
        "rotate: 10",
        "rotate: .inf",
        "datasets.digits.augment.rotate: should be a finite number, but it is inf",
    ),
    (
        "rotate: 10",
        "rotate: 1e400",
        "datasets.digits.augment.rotate: should be a finite number, but it is inf",
    ),
    (
        "rotate: 10",
        "rotate: 181",
        "datasets.digits.augment.rotate: should be less than or equal to 180, but it is 181",
    ),
    ("rotate: 10", "rotate: [1]", "datasets.digits.augment.rotate: should be a valid number, but it is [1]"),
    (
        "seed: 0",
        "seed: -1",
        "datasets.digits.prepare.seed: should be greater than or equal to 0, but it is -1",
    ),
    (
        "seed: 0",
        "{val: 0.5, test: 0.5}",
        "datasets.digits.prepare: val + test is 1; it must be below 1, or nothing is left to train on",
    ),
    ("hidden: 32", "hidden: 0", f"{ONE}.model.hidden: should be greater than or equal to 1, but it is 0"),
    ("hidden: 32", "hidden: big", f"{ONE}.model.hidden: should be a valid integer, but it is 'big'"),
    ("hidden: 32", "momentum: .nan", f"{ONE}.model.momentum: should be a finite number, but it is nan"),
    ("0.001, 0.01", "-.inf, 0.01", f"{SPACE}.lr.loguniform.0: should be a finite number, but it is -inf"),
    ("0.001, 0.01", "a, 0.01", f"{SPACE}.lr.loguniform.0: should be a valid number, but it is 'a'"),
    (
        "0.001, 0.01",
        "0.001, 0.01, 0.1",
        f"{SPACE}.lr.loguniform: should have at most 2 items, not 3, but it is [0.001, 0.01, 0.1]",
    ),
    ("0.001, 0.01", "0.01, 0.001", f"{SPACE}.lr: the lower bound 0.01 must be below the upper bound 0.001"),
    (
        "0.001, 0.01",
        "0, 0.01",
        f"{SPACE}.lr: the lower bound 0.0 must be above 0 for a logarithmic range",
    ),
    (
        "width: {int: [4, 8]}",
        "width: {int: [4, 8.5]}",
        "experiments.two.search.space.width.int.1: should be a valid integer, but it is 8.5",
    ),
]

SPACES = [
    (
        DROPOUT,
        "dropout: {}",
        f"{SPACE}.dropout: give exactly one of choice, uniform, loguniform, int, logint",
    ),
    (
        DROPOUT,
        "dropout: {uniform: [0.0, 0.4], choice: [0.1]}",
        f"{SPACE}.dropout: give exactly one of choice, uniform, loguniform, int, logint",
    ),
    (DROPOUT, "dropout: 0.3", f"{SPACE}.dropout: should be a mapping, but it is 0.3"),
    (
        DROPOUT,
        "dropout: {choice: []}",
        f"{SPACE}.dropout.choice: should have at least 1 item, not 0, but it is []",
    ),
    (DROPOUT, "dropout: {choice: [0.1, 0.1]}", f"{SPACE}.dropout: the same value stands twice"),
    (
        DROPOUT,
        "dropout: {uniform: [0.0, 1.4]}",
        f"{SPACE}.dropout: should be less than 1, but it is 1.4 (in its uniform)",
    ),
    (
        DROPOUT,
        "dropout: {choice: [high]}",
        f"{SPACE}.dropout: should be a valid number, but it is 'high' (in its choice)",
    ),
    (
        DROPOUT,
        "depth: {choice: [1, 2.5]}",
        f"{SPACE}.depth: should be a valid integer, but it is 2.5 (in its choice)",
    ),
    (
        "[adamw, sgd]",
        "[adamw, agd]",
        f"{SPACE}.optimizer: unknown value 'agd'; nearest valid value: sgd (in its choice)",
    ),
    (
        "hidden: 32",
        "dropout: 0.1",
        f"{SPACE}.dropout: stands in {ONE}.model too, which the search would override; keep one",
    ),
    (
        "width: {int: [4, 8]}",
        "depth: {int: [4, 8]}",
        "experiments.two.search.space.depth: family 'resnet' has no such hyperparameter; nearest valid key: width",
    ),
]

NAMES = [
    (
        "kind: digits",
        "kind: digit",
        "datasets.digits.kind: unknown value 'digit'; nearest valid value: digits",
    ),
    (
        "kind: digits",
        "kind: zzz",
        f"datasets.digits.kind: unknown value 'zzz'; valid values: {', '.join(sorted(DATASETS))}",
    ),
    ("family: mlp", "family: mpl", f"{ONE}.family: unknown value 'mpl'; nearest valid value: mlp"),
    (
        "hidden: 32",
        "schedule: cosin",
        f"{ONE}.model.schedule: unknown value 'cosin'; nearest valid value: cosine",
    ),
    (
        "algorithm: random",
        "algorithm: randm",
        f"{ONE}.search.algorithm: unknown value 'randm'; nearest valid value: random",
    ),
    (
        "epochs: 2\n      space",
        "scheduler: pbt\n      epochs: 2\n      space",
        f"{ONE}.search: `pbt` would change no trial: perturb_epochs must be below epochs (2), not 2",
    ),
    (
        "algorithm: random",
        "scheduler: ashe",
        f"{ONE}.search.scheduler: unknown value 'ashe'; nearest valid value: asha",
    ),
    (
        "algorithm: random",
        "metric: val_acc",
        f"{ONE}.search.metric: unknown value 'val_acc'; nearest valid value: val_accuracy",
    ),
    ("    model: {}", "    model:", "experiments.two.model: should be a mapping, but it is empty"),
    ("  one:", "  one.b:", "experiments.one.b: a name holds letters, digits, '-' and '_' only"),
    ("  one:", "  -one:", "experiments.-one: a name holds letters, digits, '-' and '_' only"),
    ("  one:", "  'a/b':", "experiments.a/b: a name holds letters, digits, '-' and '_' only"),
    (
        "  one:",
        "  1:",
        "experiments.1: a key must be text (params.yaml line 11); write it in quotes, or another name",
    ),
    (
        "  one:",
        "  two:",
        "experiments.two: duplicate key (params.yaml line 27, column 3; first on line 11); keep one",
    ),
    (
        "    dataset: digits\n    family: mlp",
        "    dataset: digist\n    family: mlp",
        f"{ONE}.dataset: no dataset 'digist' in this file; nearest valid value: digits",
    ),
]

SMALL_IMAGES = [
    (
        "    model: {}",
        "    model: {stages: 5}",
        "experiments.two.model: a ResNet of 5 stages halves an image 4 times, so 8x8 is too small: "
        "the smallest that fits is 16x16",
    ),
    (
        "width: {int: [4, 8]}",
        "stages: {int: [1, 6]}",
        "experiments.two.model: a ResNet of 6 stages halves an image 5 times, so 8x8 is too small: "
        "the smallest that fits is 32x32 (with stages: 6 from the search space)",
    ),
    (
        "    model: {}",
        "    model: {skip: false, stochastic_depth: 0.1}",
        "experiments.two.model: stochastic_depth needs skip: a dropped block would leave nothing",
    ),
    (
        "width: {int: [4, 8]}",
        "stochastic_depth: {uniform: [0.0, 0.2]}\n        skip: {choice: [true, false]}",
        "experiments.two.model: stochastic_depth needs skip: a dropped block would leave nothing "
        "(with stochastic_depth: 0.2, skip: False from the search space)",
    ),
]


@pytest.mark.parametrize(("old", "new", "lines"), UNKNOWN_KEYS)
def test_an_unknown_key_is_told_with_the_nearest(old: str, new: str, lines: list[str]) -> None:
    assert faults(changed(old, new)) == lines


@pytest.mark.parametrize(("old", "new", "line"), TYPES_AND_RANGES + SPACES + NAMES + SMALL_IMAGES)
def test_a_fault_is_one_line(old: str, new: str, line: str) -> None:
    assert faults(changed(old, new)) == [line]


def test_a_grid_takes_choices_only() -> None:
    assert faults(changed("algorithm: random", "algorithm: grid")) == [
        f"{SPACE}.lr: a grid needs values; write {{choice: [...]}} instead of loguniform",
        f"{SPACE}.dropout: a grid needs values; write {{choice: [...]}} instead of uniform",
    ]


def test_an_empty_search_space_is_a_fault() -> None:
    line = "experiments.two.search.space: the search space is empty; name a hyperparameter"
    assert faults(changed("        width: {int: [4, 8]}\n", "        {}\n")) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "params.yaml: should be a mapping, but it is empty"),
        ("# nothing\n", "params.yaml: should be a mapping, but it is empty"),
        ("- datasets\n", "params.yaml: should be a mapping, but it is ['datasets']"),
        ("datasets\n", "params.yaml: should be a mapping, but it is 'datasets'"),
        ("a: [1\n", "params.yaml: line 2, column 1: malformed YAML: "),
    ],
)
def test_a_file_that_is_no_mapping_is_one_line(text: str, line: str) -> None:
    (found,) = faults(text)
    assert found.startswith(line)


@pytest.mark.parametrize("section", ["datasets", "experiments", "report"])
def test_a_missing_section_is_named(section: str) -> None:
    data = YAML(typ="safe").load(VALID)
    del data[section]
    with Path("params.yaml").open("w") as file:
        YAML().dump(data, file)
    with pytest.raises(ParamsFaults) as caught:
        load()
    assert caught.value.faults == [f"{section}: {REQUIRED}"]


@pytest.mark.parametrize("section", ["datasets", "experiments"])
@pytest.mark.parametrize("value", ["{}", "[]", "3", ""])
def test_a_section_of_the_wrong_kind_is_named(section: str, value: str) -> None:
    data = YAML(typ="safe").load(VALID)
    data[section] = YAML(typ="safe").load(value)
    with Path("params.yaml").open("w") as file:
        YAML().dump(data, file)
    with pytest.raises(ParamsFaults) as caught:
        load()
    (line,) = caught.value.faults
    assert line.startswith(f"{section}: should ")


def test_a_missing_file_is_a_fault() -> None:
    with pytest.raises(ParamsFaults, match=r"params\.yaml: not found in "):
        load()


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = changed("trials: 4", "trails: 4").replace("rotate: 10", "rotate: 999")
    text = text.replace("width: {int: [4, 8]}", "wdth: {int: [4, 8]}").replace("report:", "report:\n  x: 1")
    assert faults(text) == [
        "datasets.digits.augment.rotate: should be less than or equal to 180, but it is 999",
        f"{ONE}.search.trails: unknown key; nearest valid key: trials",
        "experiments.two.search.space.wdth: family 'resnet' has no such hyperparameter; nearest valid key: width",
        "report.x: unknown key; valid keys: dollars_per_hour",
    ]


def test_a_fault_in_a_dataset_is_not_told_of_the_experiments_on_it_too() -> None:
    assert len(faults(changed("kind: digits", "kind: digit"))) == 1


@pytest.mark.parametrize(
    ("kind", "prepare", "shape"),
    [
        ("digits", {}, (1, 8, 8)),
        ("digits", {"size": 16, "channels": "rgb"}, (3, 16, 16)),
        ("mnist", {}, (1, 28, 28)),
        ("cifar10", {}, (3, 32, 32)),
        ("cifar10", {"channels": "gray"}, (1, 32, 32)),
        ("image_folder", {}, None),
        ("image_folder", {"size": 48}, (3, 48, 48)),
        ("image_folder", {"size": 48, "channels": "gray"}, (1, 48, 48)),
    ],
)
def test_datasets_know_their_shape_beforehand(kind: str, prepare: dict[str, Any], shape: Any) -> None:
    spec = DATASETS[kind].sketch(None, ImagePrepareConfig(**prepare))
    assert (spec.shape if isinstance(spec, ImageSpec) else spec) == shape


def test_resizing_makes_room_for_depth() -> None:
    deep = changed("    model: {}", "    model: {stages: 5}")
    assert load(write(deep.replace("seed: 0", "size: 16"))).prepare_config("digits").size == 16


def test_the_projects_own_file_is_valid(root: Path) -> None:
    params = load(root / "params.yaml")
    from lit_models import FAMILIES

    shown = {experiment.family for experiment in params.experiments.values()}
    assert shown == set(FAMILIES) - {"dqn"}, "every family has a default experiment, but for the one that takes minutes"


def test_a_valid_file_is_remembered_and_read_without_the_families_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load(write(VALID))
    (stamp,) = Path(".fifty/valid").iterdir()

    def forbidden(*_: Any) -> Iterator[str]:
        raise AssertionError("the families were asked again")

    monkeypatch.setattr("pipelines.family_faults.family_faults", forbidden)
    assert isinstance(load(write(VALID)), Params)
    with pytest.raises(AssertionError):
        load(write(VALID + "\n# changed\n"))
    assert [stamp] == list(Path(".fifty/valid").iterdir())


def test_a_file_that_cannot_be_remembered_is_still_valid() -> None:
    Path(".fifty").write_text("a file in the way")
    assert "one" in load(write(VALID)).experiments


@pytest.mark.parametrize("text", ["", changed("trials: 4", "trials: 0"), changed("hidden: 32", "hiden: 32")])
def test_a_faulty_file_leaves_nothing_behind(text: str) -> None:
    faults(text)
    assert [path.name for path in Path().iterdir()] == ["params.yaml"]


def test_the_command_prints_a_line_per_fault_and_exits_with_2(run_module: RunModule) -> None:
    write(changed("trials: 4", "trails: 4").replace("hidden: 32", "hiden: 32"))
    done = run_module("pipelines.params")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"{ONE}.search.trails: unknown key; nearest valid key: trials",
        f"{ONE}.model.hiden: unknown key; nearest valid key: hidden",
    ]
    assert [path.name for path in Path().iterdir()] == ["params.yaml"]


def test_the_command_is_silent_about_a_valid_file_wherever_it_lies(run_module: RunModule) -> None:
    write(VALID).rename("other.yaml")
    done = run_module("pipelines.params", "other.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def faults_of_file() -> list[str]:
    """The lines about params.yaml, or one word where there is none."""
    try:
        load()
    except ParamsFaults as error:
        return error.faults
    return ["valid"]


def keys(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every node under a mapping or list."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from keys(value, (*path, key))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8),
    st.sampled_from(["mlp", "cnn", "grid", "tpe", "asha", "digits", "digits.", "adamw", "", "~", "{}"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.one_of(st.text("abclr", max_size=3), st.integers(), st.booleans()), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_person_writes_gives_lines_and_never_a_traceback(data: st.DataObject) -> None:
    document = copy.deepcopy(YAML(typ="safe").load(VALID))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(keys(document))))
        parent = document
        for part in path[:-1]:
            parent = parent[part]
        change = data.draw(st.sampled_from(["value", "rename", "delete"]))
        if change == "value":
            parent[path[-1]] = data.draw(VALUES)
        else:
            value = parent.pop(path[-1])
            if change == "rename" and isinstance(parent, dict):
                parent[data.draw(SCALARS)] = value
        if not list(keys(document)):
            break
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(document, file)
    lines = faults_of_file()
    assert lines
    assert all(line.strip() and "\n" not in line for line in lines)
