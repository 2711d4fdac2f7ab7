"""Outs are written beside their place and swapped in when whole: an interruption leaves the old ones as they were."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines import interrupts


@contextmanager
def staged(*targets: Path) -> Iterator[list[Path]]:
    """Yield one empty staging path per target; swap all of them in if the block ends without an exception.

    A target whose staging path has a suffix (`metrics.json`) is a file that the block writes; any other is a
    folder, which exists already. Staging paths are siblings of their targets, so that the swap is a rename
    within one file system.

    Raises:
        FileNotFoundError: the block ended without writing one of its outs.
    """
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        _recover(target)
    stages = [_sibling(target, "new") for target in targets]
    try:
        for target, stage in zip(targets, stages, strict=True):
            if not target.suffix:
                stage.mkdir()
        yield stages
        for target, stage in zip(targets, stages, strict=True):
            if not stage.exists():
                raise FileNotFoundError(f"{target} was not written")
        interrupts.check()
        for target, stage in zip(targets, stages, strict=True):
            _swap(stage, target)
    finally:
        for stage in stages:
            _remove(stage)


def _sibling(target: Path, kind: str) -> Path:
    """`.dvcignore` names these siblings, so that a killed stage's leftovers never count as data."""
    return target.with_name(f".{target.name}.{kind}{target.suffix}")


def _recover(target: Path) -> None:
    """Finish or undo what a killed process left: between its two renames the old out stands under its other name."""
    old = _sibling(target, "old")
    if old.exists() and not target.exists():
        old.rename(target)
    _remove(old)
    _remove(_sibling(target, "new"))


def _swap(stage: Path, target: Path) -> None:
    old = _sibling(target, "old")
    if stage.is_file() and not target.is_dir():
        stage.replace(target)
        return
    if target.exists() or target.is_symlink():
        target.rename(old)
    stage.rename(target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Delete a folder of state that has served, and its parent if that is empty now."""
    _remove(folder)
    if folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()
