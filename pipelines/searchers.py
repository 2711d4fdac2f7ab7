"""The table of search algorithms: name -> how configurations come about. To add one: a function and a row."""

from collections.abc import Callable, Generator, Iterator
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipelines.nearest import known
from pipelines.searching.space import Space, grid_trials, random_trials
from pipelines.section import Section

# The median rule wants three others to compare a trial with (lit_models/cohort/rules.py).
MEDIAN_LANES = 4
SCHEDULERS = ("none", "halving", "hyperband", "asha", "median", "pbt")


class SearchConfig(Section):
    """The section `experiments.<key>.search`."""

    algorithm: str = Field(
        default="random", description="`grid`, `random`, or `tpe`, which learns from generation to generation"
    )
    trials: int = Field(default=16, ge=1, le=10_000, description="configurations to try (a grid may have fewer)")
    generation: int = Field(default=8, ge=1, le=10_000, description="`tpe`: trials that it proposes at a time")
    epochs: int = Field(default=10, ge=1, le=10_000, description="epochs of a trial that no scheduler stops")
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the configurations and of every trial")
    metric: Literal["val_accuracy", "val_loss"] = Field(
        default="val_accuracy", description="what the best trial is best in, at its best epoch; the other breaks ties"
    )
    scheduler: str = Field(
        default="none",
        description="lets bad trials of a cohort go: `none`, `halving`, `hyperband`, `asha`, `median`, `pbt`",
    )
    grace_epochs: int = Field(default=1, ge=1, description="epochs that every trial is granted: the first rung")
    eta: int = Field(default=3, ge=2, le=100, description="one trial in `eta` goes on from a rung to the next")
    rungs: tuple[int, ...] | None = Field(
        default=None, description="`halving`, `asha`: epochs of the rungs; left out: grace_epochs * eta ^ n"
    )
    perturb_epochs: int = Field(default=2, ge=1, description="`pbt`: epochs from one exchange to the next")
    K: Literal["auto"] | int = Field(default="auto", description="most trials (lanes) that a cohort trains as one")
    engine: Literal["auto", "fused", "lone", "probe"] = Field(
        default="auto", description="how a cohort is trained: stacked, one by one, by the rule, or timed once"
    )
    compile: Literal["auto", "always", "never"] = Field(
        default="auto", description="fused steps through torch.compile; `auto`: by the rule, which has it nowhere yet"
    )
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of a cohort; they decide float rounding")
    space: Space = Field(description="hyperparameter: {choice|uniform|loguniform|int|logint: …}; not empty")

    @field_validator("algorithm")
    @classmethod
    def _known_algorithm(cls, name: str) -> str:
        return known(name, SEARCHERS)

    @field_validator("scheduler")
    @classmethod
    def _known_scheduler(cls, name: str) -> str:
        return known(name, SCHEDULERS)

    @field_validator("K")
    @classmethod
    def _lanes(cls, lanes: Literal["auto"] | int) -> Literal["auto"] | int:
        if isinstance(lanes, int) and not 1 <= lanes <= 10_000:
            raise ValueError("must be `auto` or from 1 to 10000")
        return lanes

    @model_validator(mode="after")
    def _rungs_in_order(self) -> Self:
        rungs = self.rungs
        if rungs is None:
            return self
        if self.scheduler not in ("halving", "asha"):
            raise ValueError(f"rungs are for the schedulers `halving` and `asha`, not for `{self.scheduler}`")
        if not rungs or rungs[0] < 1 or any(one >= other for one, other in pairwise(rungs)):
            raise ValueError("rungs must be ascending epochs, the first at least 1")
        if rungs[-1] >= self.epochs:
            raise ValueError(f"the last rung must come before epoch {self.epochs}, the last one")
        return self

    @model_validator(mode="after")
    def _something_can_happen(self) -> Self:
        """Refuse a scheduler that could never do anything, or nothing sensible."""
        if problems := list(_problems(self)):
            raise ValueError("; ".join(problems))
        return self


def _problems(config: SearchConfig) -> Iterator[str]:
    name, epochs, lanes = config.scheduler, config.epochs, config.K
    if name == "none":
        return
    stops = f"`{name}` would stop no trial"
    if name != "pbt" and config.rungs is None and config.grace_epochs >= epochs:
        yield f"{stops}: grace_epochs must be below epochs ({epochs}), not {config.grace_epochs}"
    if name == "pbt" and config.perturb_epochs >= epochs:
        nothing = "`pbt` would change no trial"
        yield f"{nothing}: perturb_epochs must be below epochs ({epochs}), not {config.perturb_epochs}"
    if name == "pbt" and not any(domain.kind in ("uniform", "loguniform") for domain in config.space.values()):
        yield "`pbt` has nothing to change: one range in space must be `uniform` or `loguniform`"
    if lanes == "auto":
        return
    least = {"halving": config.eta, "hyperband": config.eta, "median": MEDIAN_LANES}.get(name, 2)
    if lanes < least:
        yield f"`{name}` compares the trials of one cohort: K must be `auto` or at least {least}, not {lanes}"


# Yields the configurations of one generation, and is sent what each reached (lower is better; None: it failed).
Generations = Generator[list[dict[str, Any]], list[float | None], None]


def _grid(config: SearchConfig) -> Generations:
    yield grid_trials(config.space, config.trials, config.seed)


def _random(config: SearchConfig) -> Generations:
    yield random_trials(config.space, config.trials, config.seed)


def _tpe(config: SearchConfig) -> Generations:
    """Tree-structured Parzen estimator (Bergstra et al., 2011) by Optuna, a generation at a time.

    What it proposes depends on the seed and on results in the order of the trials, never on which ended first.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        # A liar's worst guess for those that are still out keeps a generation's proposals apart.
        seed=config.seed,
        n_startup_trials=min(10, max(2, config.trials // 3)),
        constant_liar=True,
    )
    study = optuna.create_study(sampler=sampler, direction="minimize")
    space = {name: _distribution(domain) for name, domain in config.space.items()}
    for first in range(0, config.trials, config.generation):
        asked = [study.ask(space) for _ in range(min(config.generation, config.trials - first))]
        reached = yield [dict(sorted(trial.params.items())) for trial in asked]
        for trial, value in zip(asked, reached, strict=True):
            # To the algorithm a trial that diverged is worse than any other.
            study.tell(trial, 1e9 if value is None else value)


def _distribution(domain: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if domain.choice is not None:
        return CategoricalDistribution(domain.choice)
    low, high = domain.bounds
    if domain.kind in ("int", "logint"):
        return IntDistribution(int(low), int(high), log=domain.kind == "logint")
    return FloatDistribution(low, high, log=domain.kind == "loguniform")


SEARCHERS: dict[str, Callable[[SearchConfig], Generations]] = {"grid": _grid, "random": _random, "tpe": _tpe}
