"""The journal: what MLflow shall know, written to disk first and sent later, at the server's own pace.

A journal is a file of JSON lines, one event each. While its stage runs it stands in the outbox under the main
checkout, beside copies of the artifacts it names; when the stage ends it becomes part of the stage's outs too,
so that MLflow can be rebuilt from them. Nothing here waits for a network, and nothing here imports mlflow.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pipelines import interrupts, places

NAME = "journal.jsonl"
RESUMABLE = "resumable"
LOCK_SECONDS = 10.0


def outbox() -> Path:
    """The folder of journals that are not sent yet, one subfolder each."""
    return places.state("outbox")


@dataclass(frozen=True)
class Told:
    """What a journal says of one run.

    Attributes:
        name: of the run.
        parent: key of the run that it is nested in.
        step: highest step of its metrics.
        params: whether hyperparameters were recorded.
        ended: the status it ended with, or None.
    """

    name: str
    parent: str | None = None
    step: int = 0
    params: bool = False
    ended: str | None = None


class Journal:
    """Writes events in order; each is on its way to disk before the call returns.

    The lock on the file tells a journal in the making from one whose writer was killed.
    """

    def __init__(self, stage: str, resumable: Path | None = None) -> None:
        self.folder = outbox() / f"{time.time_ns()}-{stage.replace('@', '-')}-{uuid.uuid4().hex[:8]}"
        (self.folder / "files").mkdir(parents=True)
        if resumable is not None:
            (self.folder / RESUMABLE).write_text(str(resumable.resolve()))
        # It gets its name when it is locked: a sender that found it before would take it for a dead writer's.
        making = self.folder / f".{NAME}"
        self._file: IO[str] = making.open("a", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        making.rename(self.folder / NAME)
        self._open: list[str] = []

    @classmethod
    def reopen(cls, folder: Path) -> Self:
        """Go on with the journal of a writer that was killed.

        Raises:
            FileNotFoundError: there is none.
            TimeoutError: another process writes it, or takes very long to send it.
        """
        journal = cls.__new__(cls)
        journal.folder = folder
        journal._file = (folder / NAME).open("r+", encoding="utf-8")
        _lock_patiently(journal._file)
        content = (folder / NAME).read_bytes()
        os.truncate(folder / NAME, content.rfind(b"\n") + 1)
        journal._file.seek(0, os.SEEK_END)
        journal._open = []
        for run, told in journal.history().items():
            if told.ended in (None, "KILLED"):
                journal._open.append(run)
                if told.ended:
                    journal._write(run, "resume")
        return journal

    def history(self) -> dict[str, Told]:
        """What the journal says so far, by the key of each run."""
        told: dict[str, Told] = {}
        for event in events(self.folder / NAME):
            run, kind = event["run"], event["event"]
            if kind == "start":
                told[run] = Told(event["name"], event["parent"])
            elif kind == "metrics":
                told[run] = replace(told[run], step=max(told[run].step, event["step"]))
            elif kind == "params":
                told[run] = replace(told[run], params=True)
            elif kind == "end":
                told[run] = replace(told[run], ended=event["status"])
            elif kind == "resume":
                told[run] = replace(told[run], ended=None)
        return told

    def release(self) -> None:
        """The work that this journal tells of is finished: once sent, it may go."""
        (self.folder / RESUMABLE).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Runs still open are closed as killed; or failed, if an exception came and nobody can go on with them."""
        failed = (
            not may_go_on(self.folder) and kind is not None and issubclass(kind, Exception) and not interrupts.received
        )
        status = "FAILED" if failed else "KILLED"
        for run in reversed(self._open.copy()):
            self.end(run, status)
        self._file.close()

    def start(self, experiment: str, name: str, tags: dict[str, str], parent: str | None = None) -> str:
        """Begin a run and return its key, which is the same in the journal, the outs and MLflow's tag `fifty.run`."""
        run = uuid.uuid4().hex
        self._write(run, "start", experiment=experiment, name=name, tags=tags, parent=parent)
        self._open.append(run)
        return run

    def params(self, run: str, params: dict[str, Any]) -> None:
        """Record hyperparameters."""
        self._write(run, "params", params={name: str(value) for name, value in params.items()})

    def tags(self, run: str, tags: dict[str, str]) -> None:
        """Record tags that were not known at the start."""
        self._write(run, "tags", tags=tags)

    def metrics(self, run: str, step: int, metrics: dict[str, float]) -> None:
        """Record metrics of one step."""
        self._write(run, "metrics", step=step, metrics=metrics)

    def dataset(self, run: str, name: str, digest: str, source: str, context: str) -> None:
        """Record the data that the run reads."""
        self._write(run, "dataset", name=name, digest=digest, source=source, context=context)

    def artifact(self, run: str, file: Path, path: str) -> None:
        """Record a file or folder; `path` is where it stands relative to the journal in the outs, and in MLflow."""
        target = self.folder / "files" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            shutil.copytree(file, target)
        else:
            shutil.copy2(file, target)
        self._write(run, "artifact", path=path)

    def model(self, run: str, path: str, name: str, tags: dict[str, str]) -> None:
        """Register the artifact folder `path` as a version of the model `name`."""
        self._write(run, "model", path=path, name=name, tags=tags)

    def end(self, run: str, status: str = "FINISHED") -> None:
        """Close a run; `status` is one of MLflow's."""
        self._open.remove(run)
        self._write(run, "end", status=status)

    def save(self, target: Path) -> None:
        """Copy the journal into an out, when all its runs have ended."""
        if self._open:
            raise RuntimeError("an out holds only journals of finished runs")
        self._file.flush()
        shutil.copyfile(self.folder / NAME, target)

    def _write(self, run: str, event: str, **values: Any) -> None:
        line = {"run": run, "event": event, "time": time.time_ns() // 1_000_000, **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def may_go_on(folder: Path) -> bool:
    """Whether the journal belongs to work that was interrupted and may be taken up again."""
    try:
        return Path((folder / RESUMABLE).read_text()).exists()
    except FileNotFoundError:
        return False


def _lock_patiently(file: IO[str]) -> None:
    """Take the lock of a journal; a sender holds it for moments, a writer for good."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(f"another process writes {file.name}") from None
            time.sleep(0.05)
        else:
            return


def events(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a journal; a last line that its killed writer left in two is passed over."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def close_orphan(file: Path) -> bool:
    """Close the runs of a journal whose writer is dead; False if the writer lives (or another closes it just now)."""
    with file.open("r+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        started: dict[str, None] = {}
        for event in events(file):
            if event["event"] in ("start", "resume"):
                started[event["run"]] = None
            elif event["event"] == "end":
                started.pop(event["run"], None)
        if started:
            content = file.read_bytes()
            # The killed writer may have left half a line.
            os.truncate(file, content.rfind(b"\n") + 1)
            stream.seek(0, os.SEEK_END)
            now = time.time_ns() // 1_000_000
            for run in reversed(started):
                stream.write(json.dumps({"run": run, "event": "end", "time": now, "status": "KILLED"}) + "\n")
        return True
