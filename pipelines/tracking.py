"""The only importer of mlflow: replays journals into it, registers models, keeps the alias `champion` on the best.

    python -m pipelines.tracking      # sends what is unsent, and rebuilds from the outs what MLflow lacks

By default MLflow is an SQLite file with its artifacts beside it, in `mlruns/` of the main checkout;
`MLFLOW_TRACKING_URI` is respected. Replaying twice changes nothing: a run is found by its key, a metric point keeps
its timestamp, and MLflow drops a point that it has.
"""

import fcntl
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import journal
from pipelines.batches import Batches
from pipelines.sent import Sent
from pipelines.server import fingerprint, uri
from pipelines.turn import Turn, database

if TYPE_CHECKING:
    from mlflow import MlflowClient

# A server that does not answer costs one try of a background thread; mlflow's own 7 retries of 120 s would hold it.
QUIET = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
RUN_TAG = "fifty.run"
# The delivery's thread and training both import mlflow; its modules import each other in circles, so not at once.
IMPORTING = threading.Lock()
CHUNK = 1000
PAGE = 1000
CHAMPION = "champion"


@lru_cache
def _client(address: str) -> "MlflowClient":
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with IMPORTING:
        import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    # It logs every failure with its traceback before it raises it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    file = database(address)
    if file is None:
        return mlflow.MlflowClient(address, registry_uri=address)
    file.parent.mkdir(parents=True, exist_ok=True)
    with (file.parent / ".creating").open("w") as lock:
        # The first process makes the tables; a second one at the same moment would make them too.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return mlflow.MlflowClient(address, registry_uri=address)


class Sender:
    """Replays one journal; `root` is where its artifacts stand, `memory` a file that remembers how far it came."""

    def __init__(self, root: Path, memory: Path | None) -> None:
        self._root = root
        self._address = uri()
        self._client = _client(self._address)
        self._sent = Sent(memory, fingerprint())
        self._batches = Batches()
        self._experiments: dict[str, str] = {}
        self._deleted: set[str] = set()

    def send(self, file: Path, patience: float = 0.0) -> None:
        """Send the events that were not sent yet to this server, in order, in batches.

        Raises:
            Taken: another process writes to the SQLite database, for longer than `patience` seconds.
            Exception: whatever the server or the network raised; what was sent by then is remembered.
        """
        self._sent.recall(file)
        pending = journal.lines(file, self._sent.offset)
        with Turn(self._address, patience) as turn:
            while chunk := list(islice(pending, CHUNK)):
                turn.take()
                self._insist([event for event, _ in chunk], turn)
                self._sent.reached(chunk[-1][1])

    def _insist(self, events: list[dict[str, Any]], turn: Turn) -> None:
        """Send a chunk, whatever a person has deleted on the server."""
        from mlflow.exceptions import MlflowException

        try:
            self._send(events, turn)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # the whole database, say
                self._sent.forget()
                self._deleted.clear()
            if not self._find_deleted(events):
                raise
            self._send(events, turn)

    def _send(self, events: list[dict[str, Any]], turn: Turn) -> None:
        self._batches, self._experiments = Batches(), {}
        self._look_up(events)
        for event in events:
            turn.breathe()
            if event["event"] == "start" or event["run"] not in self._deleted:
                getattr(self, f"_{event['event']}")(event)
        for run in self._batches.runs():
            turn.breathe()
            self._flush(run)

    def _find_deleted(self, events: list[dict[str, Any]]) -> bool:
        """See which runs were deleted, for MLflow refuses what is told of them; return whether there are new ones."""
        runs = {event["run"] for event in events if event["run"] in self._sent.ids} - self._deleted
        states = {run: self._client.get_run(self._sent.ids[run]).info.lifecycle_stage for run in runs}
        new = {run for run, state in states.items() if state == "deleted"}
        self._deleted |= new
        return bool(new)

    def _look_up(self, events: list[dict[str, Any]]) -> None:
        """Find the runs that these events begin and that the server has already: who made them could not remember.

        One search for all of them, by their times, because MLflow cannot search for one of several tags.
        """
        starts: dict[str, dict[str, int]] = {}
        for event in events:
            if event["event"] == "start" and event["run"] not in self._sent.ids:
                starts.setdefault(event["experiment"], {})[event["run"]] = event["time"]
        for experiment, times in starts.items():
            window = (
                f"attributes.start_time >= {min(times.values())} and attributes.start_time <= {max(times.values())}"
            )
            for found in self._search(self._experiment(experiment), window):
                if (key := found.data.tags.get(RUN_TAG)) in times:
                    self._sent.made(key, found.info.run_id)

    def _search(self, experiment: str, text: str) -> Iterator[Any]:
        """Runs that a filter lets through, deleted ones among them: who deleted a run does not want it back."""
        from mlflow.entities import ViewType

        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([experiment], text, ViewType.ALL, PAGE, page_token=token or None)
            yield from page
            token = page.token or None

    def _start(self, event: dict[str, Any]) -> None:
        if event["run"] not in self._sent.ids:
            tags = {**event["tags"], RUN_TAG: event["run"]}
            if event["parent"]:
                tags["mlflow.parentRunId"] = self._sent.ids[event["parent"]]
            made = self._client.create_run(self._experiment(event["experiment"]), event["time"], tags, event["name"])
            self._sent.made(event["run"], made.info.run_id)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            self._experiments[name] = self._find_experiment(name)
        return self._experiments[name]

    def _find_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found:
            if found.lifecycle_stage == "deleted":  # MLflow takes no new run into it otherwise
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        beside = database(self._address)
        location = (beside.parent / "artifacts").as_uri() if beside else None
        try:
            return str(self._client.create_experiment(name, location))
        except MlflowException:  # another process was first
            if found := self._client.get_experiment_by_name(name):
                return str(found.experiment_id)
            raise

    def _add(self, event: dict[str, Any], kind: str, entries: list[Any]) -> None:
        self._batches.add(self._sent.ids[event["run"]], kind, entries)

    def _params(self, event: dict[str, Any]) -> None:
        from mlflow.entities import Param

        self._add(event, "params", [Param(name, value[:6000]) for name, value in event["params"].items()])

    def _tags(self, event: dict[str, Any]) -> None:
        from mlflow.entities import RunTag

        self._add(event, "tags", [RunTag(name, value) for name, value in event["tags"].items()])

    def _metrics(self, event: dict[str, Any]) -> None:
        from mlflow.entities import Metric

        points = [Metric(name, float(value), event["time"], event["step"]) for name, value in event["metrics"].items()]
        self._add(event, "metrics", points)

    def _flush(self, run_id: str) -> None:
        for request in self._batches.take(run_id):
            self._client.log_batch(run_id, **request)

    def _dataset(self, event: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": event["source"]})
        dataset = Dataset(event["name"], event["digest"], "local", source)
        tag = InputTag("mlflow.data.context", event["context"])
        self._client.log_inputs(self._sent.ids[event["run"]], [DatasetInput(dataset, [tag])])

    def _artifact(self, event: dict[str, Any]) -> None:
        local, parent = self._root / event["path"], str(Path(event["path"]).parent)
        run_id = self._sent.ids[event["run"]]
        if local.is_dir():
            self._client.log_artifacts(run_id, str(local), event["path"])
        else:
            self._client.log_artifact(run_id, str(local), None if parent == "." else parent)

    def _model(self, event: dict[str, Any]) -> None:
        from mlflow.exceptions import MlflowException

        run_id, name = self._sent.ids[event["run"]], event["name"]
        if not self._client.search_model_versions(f"run_id='{run_id}'"):
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{event['path']}"
            self._client.create_model_version(name, source, run_id, tags=event["tags"])
        crown(name, event["tags"]["data.prepared"])

    def _resume(self, event: dict[str, Any]) -> None:
        self._client.update_run(self._sent.ids[event["run"]], status="RUNNING")

    def _end(self, event: dict[str, Any]) -> None:
        run_id = self._sent.ids[event["run"]]
        self._flush(run_id)
        self._client.set_terminated(run_id, event["status"], event["time"])


def find_run(key: str) -> Any:
    """The run with this key, deleted ones included (who deleted a run does not want it back), or None."""
    from mlflow.entities import ViewType

    client = _client(uri())
    experiments = [found.experiment_id for found in client.search_experiments(ViewType.ALL)]
    found = client.search_runs(experiments, f"tags.`{RUN_TAG}` = '{key}'", ViewType.ALL, max_results=1)
    return found[0] if found else None


def crown(name: str, prepared: str) -> None:
    """Put `champion` on the version with the best validation accuracy on this prepared data.

    Accuracies on another split do not compare, so other data hashes are passed over. Ties go to the lower loss,
    then to the older version.
    """
    client = _client(uri())
    rivals = [v for v in client.search_model_versions(f"name='{name}'") if v.tags.get("data.prepared") == prepared]
    if rivals:
        best = min(rivals, key=lambda v: (-float(v.tags["val_accuracy"]), float(v.tags["val_loss"]), int(v.version)))
        client.set_registered_model_alias(name, CHAMPION, best.version)


def package_model(model: Any, example: Any, folder: Path) -> None:
    """Write `model` as an MLflow model that loads without this project's code: an exported graph, no pickle in it.

    `example` is an array (2, ...) of inputs; the first axis is free in the exported graph.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with IMPORTING:
        import mlflow.pytorch
        import torch
        from mlflow.models import infer_signature

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with torch.no_grad():
        outputs = model(torch.from_numpy(example)).numpy()
    mlflow.pytorch.save_model(
        model,
        folder,
        signature=infer_signature(example, outputs),
        input_example=example,
        serialization_format="pt2",
        # Named here, for mlflow finds them by importing the model in a process of its own.
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", f"mlflow=={mlflow.__version__}"],
    )


if __name__ == "__main__":
    from pipelines.rebuild import main

    sys.exit(main())
