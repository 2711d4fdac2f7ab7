"""The rule of each cohort: which of its lanes go on; and with Hyperband, the bracket of each trial."""

from typing import Any


def brackets(search: dict[str, Any], trials: int) -> list[int]:
    """Say which of Hyperband's brackets each trial of a generation belongs to; without Hyperband all are in one.

    Args:
        search: the section `search`.
        trials: of the generation.
    """
    if search["scheduler"] != "hyperband":
        return [0] * trials
    return [number for number, bracket in enumerate(_hyperband(search, trials)) for _ in range(bracket.trials)]


def _hyperband(search: dict[str, Any], trials: int) -> list[Any]:
    from lit_models.cohort import rules

    return rules.brackets(trials, search["epochs"], search["eta"], search["grace_epochs"])


def rule(search: dict[str, Any], trials: int, bounds: dict[str, tuple[float, float, bool]], bracket: int) -> Any:
    """Return the `RuleSpec` of a cohort.

    Args:
        search: the section `search`.
        trials: of the generation.
        bounds: what PBT may change.
        bracket: of Hyperband, the cohort's.
    """
    from lit_models.cohort.rules import RuleSpec, rungs

    name, epochs, eta = search["scheduler"], search["epochs"], search["eta"]
    common: dict[str, Any] = {"epochs": epochs, "eta": eta, "seed": search["seed"]}
    if name == "hyperband":
        return RuleSpec(name="halving", rungs=_hyperband(search, trials)[bracket].rungs, **common)
    if name in ("halving", "asha"):
        return RuleSpec(name=name, rungs=search["rungs"] or rungs(epochs, eta, search["grace_epochs"]), **common)
    if name == "pbt":
        return RuleSpec(name=name, interval=search["perturb_epochs"], space=bounds, **common)
    return RuleSpec(name=name, grace=search["grace_epochs"], **common)
