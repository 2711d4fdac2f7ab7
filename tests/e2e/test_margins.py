"""What README's table of families promises of every default experiment holds for the results that `make repro` left.

    make repro test-margins

The experiments are not run again here: they take minutes, and .ci/run has just run them.
"""

import json
import re
from typing import NamedTuple

import pytest
from ruamel.yaml import YAML

from pipelines.datasets import DATASETS
from pipelines.headlines import HEADLINES
from tests.conftest import ROOT


class Row(NamedTuple):
    """A line of README's table: what an experiment must reach, beside what it beats."""

    experiment: str
    score: str
    baseline: float
    bound: float


def rows() -> list[Row]:
    table = re.search(r"<!-- families:begin -->\n(.*?)<!-- families:end -->", (ROOT / "README.md").read_text(), re.S)
    assert table
    found = []
    for line in table[1].splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        bound = re.fullmatch(r"at (?:least|most) ([\d.]+)", cells[4])
        assert bound, line
        found.append(Row(cells[0].strip("`"), cells[2].replace(" ", "_"), float(cells[3]), float(bound[1])))
    return found


def experiments() -> dict[str, str]:
    """The form of the data of each default experiment."""
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    kinds = {key: DATASETS[entry["kind"]].form for key, entry in params["datasets"].items()}
    return {key: kinds[entry["dataset"]] for key, entry in params["experiments"].items()}


def test_every_default_experiment_has_a_row() -> None:
    assert [row.experiment for row in rows()] == list(experiments())


@pytest.mark.margins
@pytest.mark.parametrize("row", rows(), ids=lambda row: row.experiment)
def test_an_experiment_beats_its_baseline_by_the_margin(row: Row) -> None:
    headline = HEADLINES[experiments()[row.experiment]]
    assert row.score == headline.name
    path = ROOT / "results" / row.experiment / "metrics.json"
    assert path.is_file(), f"{path} is missing; run: make repro"
    scores = json.loads(path.read_text())
    assert scores["baseline"] == pytest.approx(row.baseline, abs=0.01 * max(1.0, row.baseline))
    sign = 1 if headline.higher_is_better else -1
    assert sign * scores[headline.name] >= sign * row.bound > sign * row.baseline
