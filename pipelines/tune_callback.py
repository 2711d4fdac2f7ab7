"""The seam between Tune and the recorder."""

import json
from typing import Any

from ray.tune import Callback
from ray.tune.stopper import Stopper

from pipelines.cohort_queue import CohortQueue
from pipelines.recorder import Recorder


class TuneCallback(Callback):
    """Tells the recorder what Tune sees; what goes wrong there ends the search by way of the queue."""

    def __init__(self, recorder: Recorder, queue: CohortQueue) -> None:
        self._recorder, self._queue = recorder, queue

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore, which a search never does; open files do not pickle."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A cohort was placed on a worker."""
        with self._queue.kept():
            self._recorder.begin(json.loads(trial.config["cohort"]))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A cohort reported; the result without our keys that closes it is passed over."""
        if "record" in result:
            with self._queue.kept():
                self._recorder.update(result["record"])


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
