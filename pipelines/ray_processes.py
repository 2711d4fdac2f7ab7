"""The processes of a Ray that this process has started: which are alive, and how to end them all."""

import os
from collections.abc import Iterable
from contextlib import suppress

import psutil

SERVERS = ("raylet", "gcs_server")


def living_servers(processes: Iterable[psutil.Process]) -> dict[str, psutil.Process]:
    """Pick Ray's servers out of processes, by name.

    Some may end meanwhile, and those of before a restart may still be zombies of this process.
    """
    found = {}
    for process in processes:
        try:
            name = process.name()
        except psutil.NoSuchProcess:
            continue
        if name in SERVERS and not is_dead(process):
            found[name] = process
    return found


def kill_autoscaler() -> None:
    """Kill what would scale the cluster that this process has started: on one machine there is nothing to scale.

    Asked to end, as Ray asks it at its own end, it does nothing for the second after which it is killed.
    """
    for process in psutil.Process().children():
        with suppress(psutil.Error):  # it has ended meanwhile
            if any(argument.endswith("/monitor.py") for argument in process.cmdline()):
                process.kill()


def is_dead(process: psutil.Process) -> bool:
    """Say whether a process has ended."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def kill_all(token: str | None) -> None:
    """Kill all that this process has started: its children, and workers, who lost their parent with the raylet.

    Args:
        token: of this process's own Ray, which its workers have in their environment.
    """
    for process in _ours(token):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _ours(token: str | None) -> set[psutil.Process]:
    found = set(psutil.Process().children(recursive=True))
    for process in psutil.process_iter() if token else ():
        try:
            if process.pid != os.getpid() and process.environ().get("RAY_AUTH_TOKEN") == token:
                found.add(process)
        except psutil.Error:  # ended meanwhile, or somebody else's
            continue
    return found
