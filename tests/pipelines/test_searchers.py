"""The tables of algorithms and schedulers: each row is valid in params.yaml; proposals depend on seeds and results."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.searchers import MEDIAN_LANES, SCHEDULERS, SEARCHERS, SearchConfig
from pipelines.searching.space import Domain, grid_trials, random_trials

SPACE = {"lr": Domain(loguniform=(1e-4, 1e-1)), "width": Domain(int=(4, 8)), "deep": Domain(logint=(1, 64))}
SPACE |= {"dropout": Domain(uniform=(0.0, 0.5)), "optimizer": Domain(choice=("adam", "sgd"))}
GRID = {"lr": Domain(choice=(0.1, 0.01)), "width": Domain(choice=(4, 8))}

pytestmark = pytest.mark.filterwarnings("ignore:Argument ``constant_liar`` is an experimental feature")


def config(**values: Any) -> SearchConfig:
    return SearchConfig(**{"space": SPACE, **values})


def run(section: SearchConfig, reach: Any = lambda drawn: drawn["dropout"]) -> list[list[dict[str, Any]]]:
    """Every generation of a search in which `reach` says what a trial reaches."""
    algorithm = SEARCHERS[section.algorithm](section)
    generations = [next(algorithm)]
    while True:
        try:
            generations.append(algorithm.send([reach(drawn) for drawn in generations[-1]]))
        except StopIteration:
            return generations


@pytest.mark.parametrize("name", SEARCHERS)
def test_each_algorithm_of_the_table_is_a_valid_value(name: str) -> None:
    assert config(algorithm=name).algorithm == name
    assert f"`{name}`" in (SearchConfig.model_fields["algorithm"].description or "")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_scheduler_of_the_table_is_a_valid_value(name: str) -> None:
    assert config(scheduler=name).scheduler == name
    assert f"`{name}`" in (SearchConfig.model_fields["scheduler"].description or "")


def test_grid_and_random_propose_everything_at_once() -> None:
    assert run(config(trials=5)) == [random_trials(SPACE, 5, 0)]
    (grid,) = run(config(algorithm="grid", trials=5, space=GRID), reach=lambda _: None)
    assert grid == grid_trials(GRID, 5, 0)


@pytest.mark.parametrize("name", SEARCHERS)
def test_proposals_are_within_the_space_and_go_through_json(name: str) -> None:
    space = GRID if name == "grid" else SPACE
    drawn = [d for g in run(config(algorithm=name, trials=7, generation=3, space=space), lambda _: 0.5) for d in g]
    assert len(drawn) == (4 if name == "grid" else 7)
    assert json.loads(json.dumps(drawn)) == drawn
    for values in drawn:
        assert list(values) == sorted(space)
        for key, domain in space.items():
            low, high = min(domain.probes), max(domain.probes)  # type: ignore[type-var]
            assert values[key] in domain.probes if domain.choice else low <= values[key] <= high
            assert domain.kind not in ("int", "logint") or isinstance(values[key], int)


def test_tpe_depends_on_its_seed_and_on_results_alone() -> None:
    section = config(algorithm="tpe", trials=12, generation=4)
    generations = run(section)
    assert [len(generation) for generation in generations] == [4, 4, 4]
    assert run(section) == generations
    assert run(config(algorithm="tpe", trials=12, generation=4, seed=1))[0] != generations[0]
    other = run(section, reach=lambda drawn: -drawn["dropout"])
    assert other[0] == generations[0]
    assert other[2] != generations[2]


def test_tpe_learns() -> None:
    """It comes nearer to the best learning rate than its first, random generation."""

    def reach(drawn: dict[str, Any]) -> float | None:
        return None if drawn["lr"] > 0.05 else abs(drawn["lr"] - 0.01)

    generations = run(config(algorithm="tpe", trials=60, generation=10), reach)
    first, last = ([reach(d) or 1.0 for d in g] for g in (generations[0], generations[-1]))
    assert sorted(last)[5] < sorted(first)[5]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"K": 0}, "from 1 to 10000"),
        ({"K": "many"}, "K"),
        ({"engine": "fast"}, "engine"),
        ({"eta": 1}, "eta"),
        ({"rungs": (1, 3)}, "`halving` and `asha`"),
        ({"scheduler": "halving", "rungs": (3, 1)}, "ascending"),
        ({"scheduler": "halving", "rungs": ()}, "ascending"),
        ({"scheduler": "asha", "rungs": (0, 1)}, "at least 1"),
        ({"scheduler": "halving", "epochs": 9, "rungs": (1, 9)}, "before epoch 9"),
        ({"generation": 0}, "generation"),
        ({"threads": 0}, "threads"),
        ({"perturb_epochs": 0}, "perturb_epochs"),
        (
            {"scheduler": "halving", "epochs": 1},
            r"`halving` would stop no trial: grace_epochs must be below epochs \(1\)",
        ),
        ({"scheduler": "hyperband", "epochs": 4, "grace_epochs": 4}, r"stop no trial: .*\(4\), not 4"),
        ({"scheduler": "asha", "epochs": 3, "grace_epochs": 5}, r"stop no trial: .*\(3\), not 5"),
        ({"scheduler": "median", "epochs": 2, "grace_epochs": 2}, r"stop no trial: .*\(2\), not 2"),
        ({"scheduler": "pbt", "epochs": 2}, r"change no trial: perturb_epochs must be below epochs \(2\), not 2"),
        (
            {"scheduler": "pbt", "space": GRID},
            "nothing to change: one range in space must be `uniform` or `loguniform`",
        ),
        ({"scheduler": "pbt", "K": 1}, "K must be `auto` or at least 2, not 1"),
        ({"scheduler": "asha", "K": 1}, "K must be `auto` or at least 2, not 1"),
        ({"scheduler": "hyperband", "K": 2}, "K must be `auto` or at least 3, not 2"),
        ({"scheduler": "median", "K": 3}, "K must be `auto` or at least 4, not 3"),
        (
            {"scheduler": "halving", "K": 3, "eta": 4},
            "`halving` compares the trials of one cohort: K must be .* at least 4",
        ),
    ],
)
def test_refuses_what_makes_no_sense(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        config(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 1},
        {"epochs": 1, "K": 1, "grace_epochs": 7, "perturb_epochs": 7},
        {"scheduler": "halving", "epochs": 2},
        {"scheduler": "halving", "epochs": 9, "rungs": (4,), "grace_epochs": 9, "K": 3},
        {"scheduler": "hyperband", "epochs": 2},
        {"scheduler": "asha", "epochs": 2, "K": 2},
        {"scheduler": "median", "epochs": 2, "K": 4},
        {"scheduler": "pbt", "epochs": 3, "K": 2, "grace_epochs": 9},
    ],
)
def test_takes_small_searches_in_which_something_can_happen(values: dict[str, Any]) -> None:
    assert all(getattr(config(**values), name) == value for name, value in values.items())


def test_the_median_rule_wants_as_many_lanes_as_its_function_does() -> None:
    from lit_models.cohort.rules import MEDIAN_OTHERS

    assert MEDIAN_OTHERS + 1 == MEDIAN_LANES
