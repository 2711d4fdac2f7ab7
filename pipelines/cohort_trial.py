"""One cohort of a search, as it runs in a Ray worker: train it, and report whenever a checkpoint is safe on disk."""

import json
from pathlib import Path
from typing import Any

from pipelines import startup


def run_trial(config: dict[str, Any], task: dict[str, Any]) -> None:
    """Train one cohort; to Tune it is one trial.

    A report has the cohort's `name` and what is new in its `record`. One that has a `fault` says in a sentence why the
    cohort cannot go on.

    Args:
        config: `cohort` is the plan's, as JSON; `gpu` the fraction of a GPU that Ray has kept for it.
        task: what all cohorts of the search share: `family`, `prepared`, `augmented`, and `state`, the folder of
            checkpoints.
    """
    startup.collect_seldom()
    from ray import tune

    from lit_models import FAMILIES
    from lit_models.cohort.record import CohortSpec, Record
    from lit_models.cohort.run import run_cohort

    spec = CohortSpec.of(json.loads(config["cohort"]))
    reported = 0

    def report(record: Record) -> None:
        nonlocal reported
        tune.report({"name": spec.name, "record": record.since(reported)})
        reported = record.epoch

    try:
        data = _data(task["prepared"], task["augmented"])
        run_cohort(spec, FAMILIES[task["family"]], data, Path(task["state"]), report)
    except Exception as error:  # the search decides what it means; raised here, Tune would only print it
        sentence = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".strip(": ")
        tune.report({"name": spec.name, "fault": sentence})


_read: dict[tuple[str, str], Any] = {}


def _data(prepared: str, augmented: str) -> Any:
    """Read the data once for all cohorts that this worker will train."""
    from lit_models.cohort.data import CohortData

    if (prepared, augmented) not in _read:
        _read[prepared, augmented] = CohortData.read(Path(prepared), Path(augmented))
    return _read[prepared, augmented]
