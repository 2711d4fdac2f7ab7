"""The journal: what MLflow shall know, written to disk first and sent later, at the server's own pace.

A journal is a file of JSON lines, one event each. While its stage runs it stands in the outbox under the main
checkout, beside copies of the artifacts it names; when the stage ends it becomes part of the stage's outs too,
so that MLflow can be rebuilt from them. Nothing here waits for a network, and nothing here imports mlflow.
"""

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

from pipelines import interrupts, locks, places
from pipelines.faults import Fault

NAME = "journal.jsonl"
RESUMABLE = "resumable"
LOCK_SECONDS = 10.0
BLOCK = 1 << 20
DELETE_TRIES = 10


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


History = dict[str, Told]


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
        locks.take(self._file)
        making.rename(self.folder / NAME)
        self._history: History = {}

    @classmethod
    def reopen(cls, folder: Path, patience: float = LOCK_SECONDS) -> Self:
        """Go on with the journal of a writer that was killed: its runs that are open, or ended as killed, go on.

        Raises:
            FileNotFoundError: there is none, or its sender deleted it while we waited.
            Fault: another process holds it, still after `patience` seconds.
        """
        journal = cls.__new__(cls)
        journal.folder = folder
        journal._file = _locked_patiently(folder / NAME, patience)
        journal._history = _repaired(journal._file, folder / NAME)
        for run, told in list(journal._history.items()):
            if told.ended == "KILLED":
                journal._write(run, "resume")
        return journal

    def history(self) -> History:
        """What the journal says so far, by the key of each run, in the order of their starts."""
        return dict(self._history)

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
        for run in reversed(_open(self._history)):
            self.end(run, status)
        self._file.close()

    def start(self, experiment: str, name: str, tags: dict[str, str], parent: str | None = None) -> str:
        """Begin a run and return its key, which is the same in the journal, the outs and MLflow's tag `fifty.run`."""
        run = uuid.uuid4().hex
        self._write(run, "start", experiment=experiment, name=name, tags=tags, parent=parent)
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
        if self._history[run].ended is not None:
            raise ValueError(f"run {run} has ended already")
        self._write(run, "end", status=status)

    def save(self, target: Path) -> None:
        """Copy the journal into an out, when all its runs have ended."""
        if _open(self._history):
            raise RuntimeError("an out holds only journals of finished runs")
        self._file.flush()
        shutil.copyfile(self.folder / NAME, target)

    def _write(self, run: str, event: str, **values: Any) -> None:
        line = {"run": run, "event": event, "time": time.time_ns() // 1_000_000, **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        _note(self._history, line)


def lines(file: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield what stands on each whole line of a file, and the byte after it, from a byte on that begins a line.

    Half a last line is passed over. Its writer may be at it, or dead: then it is cut off some day and another line
    written in its place. So nothing of it is kept, and it is read again when more is there.
    """
    with file.open("rb", buffering=0) as stream:
        size = BLOCK
        while True:
            stream.seek(offset)
            block = stream.read(size)
            whole = block[: block.rfind(b"\n") + 1]
            if not whole and len(block) < size:
                return
            # A line may be longer than a block.
            size = BLOCK if whole else 2 * size
            for line in whole.split(b"\n")[:-1]:
                offset += len(line) + 1
                yield json.loads(line), offset


def events(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a journal; a last line that its killed writer left in two is passed over."""
    return (event for event, _ in lines(file))


def may_go_on(folder: Path) -> bool:
    """Whether the journal belongs to work that was interrupted and may be taken up again."""
    try:
        return Path((folder / RESUMABLE).read_text()).exists()
    except FileNotFoundError:
        return False


def close_orphan(file: Path, closed: int | None = None) -> int | None:
    """Close the runs of a journal whose writer is dead, and return its size in bytes then.

    Nothing is read while the writer lives (or another process closes the journal just now): the answer is None. Nothing
    is read either if the size is still `closed`, the answer of a call before.
    """
    with file.open("r+", encoding="utf-8") as stream:
        if not locks.take(stream):
            return None
        if closed is None or file.stat().st_size != closed:
            now = time.time_ns() // 1_000_000
            for run in reversed(_open(_repaired(stream, file))):
                stream.write(json.dumps({"run": run, "event": "end", "time": now, "status": "KILLED"}) + "\n")
            stream.flush()
        return file.stat().st_size


def delete_closed(folder: Path, closed: int) -> bool:
    """Delete the journal that had this size when it was closed, unless somebody goes on with it, or may do so."""
    with (folder / NAME).open("r+", encoding="utf-8") as stream:
        if not locks.take(stream) or may_go_on(folder) or (folder / NAME).stat().st_size != closed:
            return False
        # Who waits for the lock finds the file gone then. A sender may put a lock file into the folder meanwhile.
        for _ in range(DELETE_TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                return True
        shutil.rmtree(folder)
        return True


def _note(history: History, event: dict[str, Any]) -> None:
    """Bring a history up to date with the next event."""
    run = event["run"]
    match event["event"]:
        case "start":
            history[run] = Told(event["name"], event["parent"])
        case "metrics":
            history[run] = replace(history[run], step=max(history[run].step, event["step"]))
        case "params":
            history[run] = replace(history[run], params=True)
        case "end":
            history[run] = replace(history[run], ended=event["status"])
        case "resume":
            history[run] = replace(history[run], ended=None)


def _open(history: History) -> list[str]:
    return [run for run, told in history.items() if told.ended is None]


def _repaired(stream: IO[str], file: Path) -> History:
    """Cut half a last line off a journal that `stream` has locked, go to its end, and return its history."""
    history: History = {}
    end = 0
    for event, end in lines(file):  # noqa: B007
        _note(history, event)
    os.truncate(file, end)
    stream.seek(0, os.SEEK_END)
    return history


def _locked_patiently(path: Path, patience: float) -> IO[str]:
    """Open and lock a journal; a sender holds its lock for moments, a writer for good."""
    file = path.open("r+", encoding="utf-8")
    if not locks.take(file, patience):
        file.close()
        raise Fault(f"another process writes {path}; wait for it, or stop it")
    if not path.exists():
        file.close()
        raise FileNotFoundError(path)
    return file
