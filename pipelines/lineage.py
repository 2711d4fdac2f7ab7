"""Where a result comes from: hashes of data as DVC has them, the commit, the parameters."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from pipelines import places

if TYPE_CHECKING:
    from pipelines.journal import Journal
    from pipelines.stage import Stage

LOCK = Path("dvc.lock")


def tags(dataset: str, section: Any) -> dict[str, str]:
    """Tags that every MLflow run carries: data hashes, commit, dirt, parameters' hash, DVC experiment."""
    found = {
        "data.raw": dvc_hash(places.raw(dataset)),
        "data.prepared": dvc_hash(places.prepared(dataset)),
        "data.augmented": dvc_hash(places.augmented(dataset) / "train.safetensors"),
        "params.hash": params_hash(section),
        **_git_tags(),
    }
    for tag, variable in (("dvc.exp_baseline", "DVC_EXP_BASELINE_REV"), ("dvc.exp_name", "DVC_EXP_NAME")):
        if os.environ.get(variable):
            found[tag] = os.environ[variable]
    return found


def run_tags(work: "Stage", **more: str) -> dict[str, str]:
    """The tags of a stage's MLflow run, `more` among them."""
    experiment = work.params.experiments[work.key]
    found = tags(experiment.dataset, experiment)
    return found | {"stage": work.name, "experiment": work.key, "family": experiment.family, **more}


def start_run(journal: "Journal", work: "Stage", context: str, **more: str) -> tuple[str, dict[str, str]]:
    """Begin the MLflow run of a stage; return its key and its tags, `more` among them.

    `context` says what the stage does with the data: "training" or "test".
    """
    found = run_tags(work, **more)
    experiment = work.params.experiments[work.key]
    run = journal.start(work.key, work.name, found)
    source = places.prepared(experiment.dataset).as_posix()
    journal.dataset(run, experiment.dataset, found["data.prepared"], source, context)
    return run, found


def params_hash(section: Any) -> str:
    """SHA-256 of a pydantic section in canonical JSON, its first 16 hex digits."""
    text = json.dumps(section.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def dvc_hash(out: Path, lock: Path = LOCK) -> str:
    """The MD5 that DVC gives a file or folder (`….dir`): from dvc.lock if that speaks of just this data, else computed.

    dvc.lock is trusted when it is newer than every file and has their size and number, which spares hashing large
    data again; before a stage's outs have entered the lock, or by hand without DVC, the hash is computed as DVC
    computes it.
    """
    entry = _lock_entry(out, lock)
    if entry and not out.exists():
        return str(entry["md5"])  # the head of a cluster is sent the prepared data alone
    files = list(_files(out)) if out.is_dir() else [out]
    stats = [file.stat() for file in files]
    if (
        entry
        and (entry.get("size"), entry.get("nfiles", 1)) == (sum(stat.st_size for stat in stats), len(files))
        and lock.stat().st_mtime >= max(stat.st_mtime for stat in stats)
    ):
        return str(entry["md5"])
    return content_hash(out)


def content_hash(out: Path) -> str:
    """The MD5 that DVC gives a file or folder, from its content alone."""
    if not out.is_dir():
        return _md5(out)
    files = sorted(_files(out), key=lambda file: file.relative_to(out).as_posix())
    listing = [{"md5": _md5(file), "relpath": file.relative_to(out).as_posix()} for file in files]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def locked(out: Path, lock: Path = LOCK) -> str:
    """The hash that dvc.lock has for an out, whatever lies there now; empty if it has none."""
    return str((_lock_entry(out, lock) or {}).get("md5", ""))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _lock_entry(path: Path, lock: Path) -> dict[str, Any] | None:
    if not lock.exists():
        return None
    stages = (YAML(typ="safe").load(lock.read_text()) or {}).get("stages", {})
    for stage in stages.values():
        for out in stage.get("outs", []):
            if out["path"] == path.as_posix():
                return dict(out)
    return None


def _git_tags() -> dict[str, str]:
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"git.commit": "none", "git.dirty": "unknown"}
    # `dvc repro` itself rewrites dvc.lock, so that file says nothing about the code.
    changed = _git("status", "--porcelain", "--untracked-files=normal", "--", ".", ":(exclude)dvc.lock")
    return {"git.commit": commit, "git.dirty": str(bool(changed)).lower()}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
