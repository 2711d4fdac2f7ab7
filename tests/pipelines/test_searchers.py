"""The tables of algorithms and schedulers: each row is valid in params.yaml and builds what Ray Tune takes."""

from typing import Any

import pytest

from pipelines.searchers import SCHEDULERS, SEARCHERS, SearchConfig
from pipelines.space import Domain, grid_trials, random_trials

SPACE = {"lr": Domain(loguniform=(1e-4, 1e-1)), "width": Domain(int=(4, 8)), "deep": Domain(logint=(1, 64))}
SPACE |= {"dropout": Domain(uniform=(0.0, 0.5)), "optimizer": Domain(choice=("adam", "sgd"))}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def config(**values: Any) -> SearchConfig:
    return SearchConfig(space=SPACE, **values)


@pytest.mark.parametrize("name", SEARCHERS)
def test_each_algorithm_of_the_table_is_a_valid_value(name: str) -> None:
    assert config(algorithm=name).algorithm == name
    described = SearchConfig.model_fields["algorithm"].description or ""
    assert f"`{name}`" in described


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_scheduler_of_the_table_is_a_valid_value(name: str) -> None:
    assert config(scheduler=name).scheduler == name
    assert f"`{name}`" in (SearchConfig.model_fields["scheduler"].description or "")


@pytest.mark.parametrize("name", SEARCHERS)
def test_an_algorithm_plans_all_trials_or_proposes_them(name: str) -> None:
    searcher = SEARCHERS[name]
    assert (searcher.trials is None) != (searcher.algorithm is None)


def test_the_deterministic_algorithms_are_those_of_space() -> None:
    assert SEARCHERS["random"].trials is random_trials
    assert SEARCHERS["grid"].trials is grid_trials


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_tpe_proposes_within_the_space_and_by_its_seed(metric: str) -> None:
    def propose(seed: int) -> list[dict[str, Any]]:
        build = SEARCHERS["tpe"].algorithm
        assert build is not None
        search = build(config(algorithm="tpe", trials=6, seed=seed, metric=metric))
        drawn = []
        for number in range(6):
            values = search.suggest(f"t{number}")
            drawn.append(dict(values))
            search.on_trial_complete(f"t{number}", {metric: values["dropout"], "training_iteration": 1})
        return drawn

    drawn = propose(0)
    assert drawn == propose(0)
    assert drawn != propose(1)
    for values in drawn:
        assert set(values) == set(SPACE)
        assert 1e-4 <= values["lr"] <= 1e-1
        assert isinstance(values["width"], int)
        assert 4 <= values["width"] <= 8
        assert 1 <= values["deep"] <= 64
        assert values["optimizer"] in ("adam", "sgd")


def test_tpe_waits_for_results_instead_of_proposing_everything() -> None:
    build = SEARCHERS["tpe"].algorithm
    assert build is not None
    search = build(config(algorithm="tpe"))
    assert isinstance(search.suggest("a"), dict)
    assert isinstance(search.suggest("b"), dict)
    assert search.suggest("c") is None


@pytest.mark.parametrize("algorithm", SEARCHERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("epochs", [1, 5])
def test_every_pair_makes_a_tune_config(algorithm: str, scheduler: str, epochs: int) -> None:
    from ray import tune

    section = config(algorithm=algorithm, scheduler=scheduler, epochs=epochs, grace_epochs=3)
    build = SEARCHERS[algorithm].algorithm
    built = SCHEDULERS[scheduler](section)
    made = tune.TuneConfig(
        metric="val_accuracy", mode="max", search_alg=build(section) if build else None, scheduler=built
    )
    assert (made.scheduler is None) == (scheduler == "none")
    if built is not None:
        assert built.set_search_properties("val_accuracy", "max")


def test_asha_counts_epochs_and_grants_no_more_grace_than_there_are() -> None:
    asha = SCHEDULERS["asha"](config(scheduler="asha", epochs=2, grace_epochs=9))
    assert asha._time_attr == "epoch"
    assert asha._max_t == 2
