"""One trial of a search, as it runs in a Ray worker: build the model, fit it, report every epoch."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines import startup

DIVERGED_LOSS = 1e9


def run_trial(config: dict[str, Any], task: dict[str, Any]) -> None:
    """Train one configuration and report each epoch to Tune.

    Args:
        config: the drawn hyperparameters, or `planned` with them and the trial's index in it.
        task: what all trials share: `family`, fixed `model` hyperparameters, `prepared` and `augmented` folders,
            `epochs`, `seed`.
    """
    import json
    import math

    startup.collect_seldom()
    import torch
    from ray import tune

    from lit_models import FAMILIES
    from lit_models.data import PreparedData
    from lit_models.fit import EpochResult, fit
    from lit_models.spec import load_spec

    # Threads decide float rounding, so they must not depend on the machine.
    torch.set_num_threads(1)
    drawn = config["planned"]["drawn"] if "planned" in config else config
    family = FAMILIES[task["family"]]
    hyperparameters = family.Config.model_validate_json(json.dumps({**task["model"], **drawn}))
    prepared = Path(task["prepared"])
    data = PreparedData(prepared, Path(task["augmented"]), hyperparameters, task["seed"], "train")
    model = family(hyperparameters, load_spec(prepared), seed=task["seed"])
    shared = {"hyperparameters": hyperparameters.model_dump()}

    def report(result: EpochResult) -> None:
        if math.isfinite(result.train_loss) and math.isfinite(result.val_loss or 0.0):
            tune.report({**asdict(result), "diverged": False, **shared})

    outcome = fit(model, data, epochs=task["epochs"], seed=task["seed"], on_epoch=report)
    if outcome.stopped == "diverged":
        # Tune's algorithms want a number; this one loses against every other.
        worst = {"val_accuracy": 0.0, "val_loss": DIVERGED_LOSS}
        tune.report({"epoch": len(outcome.history), **worst, "diverged": True, **shared})
