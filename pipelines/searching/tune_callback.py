"""The seam between Tune and the recorder."""

import json
from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.stopper import Stopper

from pipelines.cohort_queue import CohortQueue
from pipelines.costs import Meter
from pipelines.searching.cohorts import Cohort
from pipelines.searching.recorder import Recorder


class TuneCallback(Callback):
    """Tells the recorder what Tune sees; what goes wrong there ends the search by way of the queue.

    Args:
        recorder: keeps the book.
        queue: of cohorts.
        meter: what cohorts cost.
        dollars_per_hour: told the machine and the fraction of a GPU that a cohort has there, returns its price.
        take_over: told a cohort that is about to be trained, before it is.
    """

    def __init__(
        self,
        recorder: Recorder,
        queue: CohortQueue,
        meter: Meter,
        dollars_per_hour: Callable[[str, float], float],
        take_over: Callable[[Cohort], None],
    ) -> None:
        self._recorder, self._queue = recorder, queue
        self._meter, self._dollars_per_hour, self._take_over = meter, dollars_per_hour, take_over

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore, which a search never does; open files do not pickle."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A cohort was placed on a worker."""
        with self._queue.kept():
            cohort = json.loads(trial.config["cohort"])
            self._take_over(cohort)
            self._recorder.begin(cohort)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A cohort reported; the result without our keys that closes it is passed over."""
        with self._queue.kept():
            if "machine" in result:
                price = self._dollars_per_hour(result["machine"], trial.config["gpu"])
                self._meter.arrive(trial.trial_id, result["machine"], price)
            if "record" in result:
                self._recorder.update(result["record"], self._meter.charge(trial.trial_id))


class StopAtFault(Stopper):
    """Ends the search at an error that no other cohort would be spared."""

    def __init__(self, queue: CohortQueue) -> None:
        self._queue = queue

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No cohort is stopped for what it reports."""
        return False

    def stop_all(self) -> bool:
        """Whether all are to stop."""
        return self._queue.error is not None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing that Tune could restore."""
        return {}
