"""The table of search algorithms: name -> how the trials come about. To add one: a function and a row."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator

from pipelines.nearest import known
from pipelines.section import Section
from pipelines.space import Space, grid_trials, random_trials


class SearchConfig(Section):
    """The section `experiments.<key>.search`."""

    algorithm: str = Field(
        default="random",
        description="`grid`, `random` (both deterministic) or `tpe` (depends on which trial ends first)",
    )
    trials: int = Field(default=16, ge=1, le=10_000, description="configurations to try (a grid may have fewer)")
    epochs: int = Field(default=10, ge=1, le=10_000, description="epochs of a trial that no scheduler stops")
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the configurations and of every trial")
    metric: Literal["val_accuracy", "val_loss"] = Field(
        default="val_accuracy", description="what the best trial is best in, at its best epoch; the other breaks ties"
    )
    scheduler: str = Field(
        default="none",
        description="stops bad trials early: `none`, `asha` or `median`; the two decide by arrival, so by timing",
    )
    grace_epochs: int = Field(default=2, ge=1, description="epochs that a scheduler grants every trial")
    space: Space = Field(description="hyperparameter: {choice|uniform|loguniform|int|logint: …}; not empty")

    @field_validator("algorithm")
    @classmethod
    def _known_algorithm(cls, name: str) -> str:
        return known(name, SEARCHERS)

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, name: str) -> str:
        return known(name, SCHEDULERS)


@dataclass(frozen=True)
class Searcher:
    """What Tune is given: the whole list of configurations, or an algorithm that proposes them one by one."""

    trials: Callable[[Space, int, int], list[dict[str, Any]]] | None = None
    algorithm: Callable[[SearchConfig], Any] | None = None


def _tpe(config: SearchConfig) -> Any:
    """Tree-structured Parzen estimator (Bergstra et al., 2011) by Optuna."""
    import optuna
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = OptunaSearch(
        {name: _distribution(domain) for name, domain in config.space.items()},
        metric=config.metric,
        mode="max" if config.metric == "val_accuracy" else "min",
        sampler=optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=min(10, max(2, config.trials // 3))),
    )
    # Proposing all trials at once would make this a random search.
    return ConcurrencyLimiter(search, max_concurrent=2)


def _distribution(domain: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if domain.choice is not None:
        return CategoricalDistribution(domain.choice)
    low, high = domain.bounds
    if domain.kind in ("int", "logint"):
        return IntDistribution(int(low), int(high), log=domain.kind == "logint")
    return FloatDistribution(low, high, log=domain.kind == "loguniform")


SEARCHERS: dict[str, Searcher] = {
    "grid": Searcher(trials=grid_trials),
    "random": Searcher(trials=random_trials),
    "tpe": Searcher(algorithm=_tpe),
}


def _asha(config: SearchConfig) -> Any:
    """Asynchronous successive halving (Li et al., 2020)."""
    from ray.tune.schedulers import ASHAScheduler

    return ASHAScheduler(
        time_attr="epoch", max_t=config.epochs, grace_period=min(config.grace_epochs, config.epochs), reduction_factor=3
    )


def _median(config: SearchConfig) -> Any:
    """Median stopping rule (Golovin et al., 2017)."""
    from ray.tune.schedulers import MedianStoppingRule

    return MedianStoppingRule(time_attr="epoch", grace_period=config.grace_epochs, min_samples_required=3)


SCHEDULERS: dict[str, Callable[[SearchConfig], Any]] = {
    "none": lambda _: None,
    "asha": _asha,
    "median": _median,
}
