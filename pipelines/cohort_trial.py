"""One cohort of a search, as it runs in a Ray worker: train it, and report whenever a checkpoint is safe on disk."""

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pipelines import startup
from pipelines.away import Desk


def run_trial(config: dict[str, Any], task: dict[str, Any]) -> None:
    """Train one cohort; to Tune it is one trial.

    A report has the cohort's `name` and what is new in its `record`. One that has a `fault` says in a sentence why the
    cohort cannot go on. Away from the search's own machine, the first one has but the `machine`, as Ray names it.

    Args:
        config: `cohort` is the plan's, as JSON; `gpu` the fraction of a GPU that Ray has kept for it.
        task: what all cohorts of the search share: `family`, and `prepared`, `augmented` and `state`, the folder of
            checkpoints; or instead of folders `away`, through which another machine has them.
    """
    startup.collect_seldom()
    from ray import tune

    if "away" in task:
        # Before the imports, for its time is paid for from here on.
        tune.report({"name": json.loads(config["cohort"])["name"], "machine": task["away"].machine()})
    from lit_models import FAMILIES
    from lit_models.cohort.record import CohortSpec, Record
    from lit_models.cohort.run import run_cohort

    spec = CohortSpec.of(json.loads(config["cohort"]))
    reported = 0

    def report(record: Record) -> None:
        nonlocal reported
        desk.deliver()
        tune.report({"name": spec.name, "record": record.since(reported)})
        reported = record.epoch

    try:
        with _desk(spec.name, task) as desk:
            data = _data(desk.prepared, desk.augmented)
            run_cohort(spec, FAMILIES[task["family"]], data, desk.checkpoints, report)
    except Exception as error:  # the search decides what it means; raised here, Tune would only print it
        sentence = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".strip(": ")
        tune.report({"name": spec.name, "fault": sentence})


def _desk(name: str, task: dict[str, Any]) -> AbstractContextManager[Desk]:
    """Where the data are and where checkpoints go."""
    if "away" in task:
        found: AbstractContextManager[Desk] = task["away"].desk(name)
        return found
    return nullcontext(Desk(Path(task["prepared"]), Path(task["augmented"]), Path(task["state"])))


_read: dict[tuple[Path, Path], Any] = {}


def _data(prepared: Path, augmented: Path) -> Any:
    """Read the data once for all cohorts that this worker will train."""
    from lit_models.cohort.data import CohortData

    if (prepared, augmented) not in _read:
        _read[prepared, augmented] = CohortData.read(prepared, augmented)
    return _read[prepared, augmented]
