"""What a search must not lose when it is killed: its plan, its cohorts' checkpoints, its journal and its clock.

It lies under the main checkout, outside every out, in a folder named by a fingerprint of all that decides the results:
parameters, data, code. JSON lines and safetensors, no pickle; a lock keeps a second process out.

    .fifty/search/<experiment>/<fingerprint>/
      plan.jsonl    a line for each generation, and for each cohort that was split or given up
      cohorts/      a checkpoint for each running cohort, the record of each finished one
      running.json  where the journal of the search is that is under way
      costs.json    what its trials have cost so far, in dollars
      finished.json what the last search wrote, until DVC has taken note of it
      lock
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ruamel.yaml import YAML

from pipelines import lineage, locks, outs, places
from pipelines.faults import Fault
from pipelines.searching.plan_order import VERSION
from pipelines.stage import Stage

Line = dict[str, Any]

# Searches of one experiment with other parameters whose states are kept.
KEPT = 8


class SearchState:
    """The state of one search; see `opened`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cohorts = folder / "cohorts"
        self._finished = folder / "finished.json"
        self._plan = folder / "plan.jsonl"
        self.running = folder / "running.json"
        self.costs = folder / "costs.json"
        self.cohorts.mkdir(parents=True, exist_ok=True)
        _repair(self._plan)
        # The lines of the plan: a generation, a split, a cohort that was given up.
        self.plan: list[Line] = _lines(self._plan)

    def add(self, line: Line) -> None:
        """Record a part of the plan; it is on disk when the call returns."""
        _append(self._plan, line)
        self.plan.append(line)

    def forget_failures(self) -> None:
        """Forget what was split and given up, so that the next search tries those trials again as planned at first."""
        self.plan = [line for line in self.plan if "generation" in line]
        outs.write_atomically(self._plan, "".join(json.dumps(line) + "\n" for line in self.plan).encode())

    @property
    def journal(self) -> Path | None:
        """The folder of the journal of the search that is under way, if there is one."""
        if not self.running.exists():
            return None
        return Path(json.loads(self.running.read_text())["journal"])

    @journal.setter
    def journal(self, folder: Path) -> None:
        outs.write_atomically(self.running, json.dumps({"journal": str(folder)}).encode())

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield name and record (as JSON) of each finished cohort."""
        for path in sorted(self.cohorts.glob("*.done.safetensors")):
            if (record := _record(path)) is not None:
                yield {"name": path.name.removesuffix(".done.safetensors"), "text": json.dumps(record)}

    def reached(self, name: str) -> int:
        """How many epochs of a cohort are safe on disk."""
        head = _head(self.cohorts / f"{name}.safetensors")
        return int(head["epoch"]) if head else 0

    @property
    def broken(self) -> list[str]:
        """What there is to say about checkpoints that could not be read: a sentence for each file."""
        return [
            f"{path} could not be read, so its cohort is trained anew" for path in sorted(self.cohorts.glob("*.broken"))
        ]

    def save_weights(self, trial: int, target: Path) -> None:
        """Write the state_dict that `trial` ended with as safetensors; an empty one if no cohort kept it.

        A cohort keeps the weights of the best of its trials that ran to the end.
        """
        from safetensors import safe_open
        from safetensors.numpy import save

        # Not by safetensors' own way to a file, which nobody but its owner may read.
        weights: dict[str, Any] = {}
        for path in self.cohorts.glob("*.done.safetensors"):
            if str(trial) in (_head(path) or {"lanes": ()})["lanes"]:
                with safe_open(path, framework="numpy") as file:
                    kept = [name for name in file.keys() if name.startswith(f"{trial}.")]  # noqa: SIM118
                    weights |= {name.removeprefix(f"{trial}."): file.get_tensor(name) for name in kept}
        target.write_bytes(save(weights))

    def drop_results(self) -> None:
        """Forget everything but the plan: the next search of these parameters trains anew, by the same plan."""
        shutil.rmtree(self.cohorts, ignore_errors=True)
        self.forget_failures()
        self.running.unlink(missing_ok=True)
        self.costs.unlink(missing_ok=True)

    def finish(self, out: Path) -> None:
        """The search has written its out: note it, and forget everything but the plan."""
        written = {"out": lineage.content_hash(out), "locked": lineage.locked(out)}
        outs.write_atomically(self._finished, json.dumps(written).encode())
        self.drop_results()

    def take_finished(self, out: Path) -> bool:
        """Whether this search has finished already, and all that is missing is that DVC takes note of it.

        Between the moment when a stage has written its out and that in which DVC writes dvc.lock, everything may be
        killed. The work must not be done twice then. Once DVC has noted it, whoever asks, as `dvc repro -f` does, wants
        the search done anew; so does who calls the stage without DVC.
        """
        if not self._finished.exists():
            return False
        self.drop_results()
        written = json.loads(self._finished.read_text())
        unnoted = "DVC_STAGE" in os.environ and lineage.locked(out) == written["locked"]
        if unnoted and out.is_dir() and lineage.content_hash(out) == written["out"]:
            return True
        self._finished.unlink()
        return False


@contextmanager
def opened(work: Stage) -> Iterator[SearchState]:
    """Lock and yield the state of this search.

    Raises:
        Fault: another process is at it.
    """
    folder = places.state("search", work.key, fingerprint(work))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        _lock(lock, work)
        os.utime(folder)
        _prune(folder)
        yield SearchState(folder)


def _lock(file: IO[str], work: Stage) -> None:
    if not locks.take(file):
        file.seek(0)
        raise Fault(f"process {file.read().strip()} is at this very search; wait for it, or stop it")
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _prune(own: Path) -> None:
    """Delete the oldest states of other parameters, if there are many: finished ones first, and none that is in use."""
    others = sorted((path for path in own.parent.iterdir() if path != own), key=_worth)
    for folder in others[: max(0, len(others) - KEPT + 1)]:
        try:
            with (folder / "lock").open("a+") as lock:
                if locks.take(lock):
                    shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:  # another process has just deleted it
            continue


def _worth(folder: Path) -> tuple[bool, float]:
    try:
        return (folder / "running.json").exists(), folder.stat().st_mtime
    except FileNotFoundError:
        return False, 0.0


def fingerprint(work: Stage) -> str:
    """Hash all that decides the results of a search: parameters, data, code, and how plans are made."""
    experiment = work.params.experiments[work.key]
    digest = hashlib.sha256()
    params = [
        VERSION,
        experiment.dataset,
        experiment.family,
        experiment.model,
        experiment.search.model_dump(mode="json"),
    ]
    digest.update(json.dumps(params, sort_keys=True).encode())
    for data in (places.prepared(experiment.dataset), places.augmented(experiment.dataset) / "train.safetensors"):
        digest.update(lineage.dvc_hash(data).encode())
    for file in _code(experiment.family):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _code(family: str) -> list[Path]:
    """The files that the stage depends on, as DVC knows them: another family may be edited meanwhile."""
    deps = YAML(typ="safe").load(Path("dvc.yaml"))["stages"]["search"]["do"]["deps"]
    code = [
        Path(dep.replace("${item.family}", family)) for dep in deps if dep.startswith(("pipelines/", "lit_models/"))
    ]
    files = [file for path in code for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    return [*files, Path("pipelines/searchers.py")]


def _head(path: Path) -> dict[str, Any] | None:
    """Read the small part of a cohort's record, as `lit_models.cohort.checkpoint` writes it; None if it cannot be.

    A file that is no checkpoint is moved aside. By hand, for this process does without torch: eight bytes say how long
    the JSON at the beginning of a safetensors file is.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= path.stat().st_size:
                raise ValueError("cut off")
            head: dict[str, Any] = json.loads(json.loads(file.read(length))["__metadata__"]["record"])
            return head
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        _set_aside(path)
        return None


def _record(path: Path) -> dict[str, Any] | None:
    """Read a cohort's whole record, its figures too; None if it cannot be."""
    from safetensors import SafetensorError, safe_open

    head = _head(path)
    if head is None:
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            rows = iter(file.get_tensor("record.figures").tolist())
            seconds = file.get_tensor("record.seconds").tolist()
        columns = head.pop("columns")
        for lane in head["lanes"].values():
            lane["epochs"] = [dict(zip(columns, next(rows), strict=True)) for _ in range(lane["epochs"])]
    except FileNotFoundError:
        return None
    except (SafetensorError, ValueError, KeyError, TypeError, StopIteration):
        _set_aside(path)
        return None
    return {**head, "seconds": seconds}


def _set_aside(path: Path) -> None:
    """Move a checkpoint that cannot be read aside, so that its cohort is trained anew."""
    if path.exists():
        path.replace(path.with_name(path.name + ".broken"))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _repair(path: Path) -> None:
    """Cut off half a last line, which a killed process may have left."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n") and content:
        os.truncate(path, content.rfind(b"\n") + 1)
