"""The seam between Tune and the recorder."""

from pathlib import Path
from typing import Any

from ray.tune import Callback

from pipelines.recorder import Recorder


class TuneCallback(Callback):
    """Tells the recorder what Tune sees."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore, which a search never does; open files do not pickle."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial was placed on a worker."""
        planned = trial.config.get("planned")
        self._recorder.started(trial.trial_id, planned["index"] if planned else None)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reported an epoch; the result without our keys that closes a trial is passed over."""
        if "diverged" in result:
            self._recorder.reported(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial came to its end, or its scheduler's."""
        self._recorder.ended(trial.trial_id, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed for good."""
        reason = (trial.error_file and _last_line(Path(trial.error_file))) or "its worker died"
        self._recorder.ended(trial.trial_id, reason)


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
