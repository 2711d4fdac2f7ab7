"""The process table, by /proc alone: whether Ray's parts run, and what of the project does."""

from __future__ import annotations  # for Python 3.9

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SERVICE = b"FIFTY_SERVICE=1"  # in the environment of what runs beside the work, such as MLflow's server


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        command: its arguments, the program's own name first.
        ticks: processor time it has used, in clock ticks.
    """

    pid: int
    command: tuple[str, ...]
    ticks: int


def running() -> Iterator[Process]:
    """All processes but those that are stopped or have ended and wait to be reaped."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            # The name, in brackets, may hold anything; what follows it does not.
            stat = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if stat and stat[0] not in "ZXTt":
            yield Process(int(folder.name), tuple(command), int(stat[11]) + int(stat[12]))


def monitor(table: list[Process]) -> Process | None:
    """The autoscaler's monitor."""
    for process in table:
        if any(word.endswith("/monitor.py") and "/ray/autoscaler/" in word for word in process.command):
            return process
    return None


def has_raylet(table: list[Process]) -> bool:
    """Whether a raylet runs."""
    return any(process.command[0].endswith("/raylet") for process in table)


def project(table: list[Process]) -> list[Process]:
    """What works in the project's folder: a DVC stage trains there without Ray. Ray's own processes are not it."""
    return [process for process in table if _python(process) and _inside(process.pid) and not _service(process.pid)]


def homes() -> list[Path]:
    """Where the launcher's user may be at home."""
    given = os.environ.get("FIFTY_USER_HOME")
    return [Path(given)] if given else [Path("/root"), *Path("/home").glob("*")]


def _python(process: Process) -> bool:
    words = process.command
    program = words[0].rpartition("/")[2]
    if words[0].startswith("ray::") or any("/site-packages/ray/" in word or word.startswith("ray.") for word in words):
        return False
    return program.startswith(("python", "dvc", "uv"))


def _inside(pid: int) -> bool:
    try:
        where = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return any(home / "fifty" in (where, *where.parents) for home in homes())


def _service(pid: int) -> bool:
    try:
        return SERVICE in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return True
