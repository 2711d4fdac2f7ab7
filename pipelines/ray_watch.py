"""Notices within seconds that Ray itself has died, and starts the search again from what is safe on disk.

Without its raylet or its GCS, Tune waits for minutes and then returns what it has as if that were all. A search loses
nothing by `kill -9`, so the way out of any such state is the same: end everything at once and begin again.
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil

from pipelines import interrupts
from pipelines.local_ray import cluster_address
from pipelines.ray_processes import SERVERS, is_dead, kill_all, living_servers

POLL_SECONDS = 1.0
RESTARTS = "FIFTY_RAY_RESTARTS"
MOST_RESTARTS = 3


@contextmanager
def watched(title: str, folder: Path) -> Iterator[None]:
    """Watch over the servers that this process has started, while the block works.

    Args:
        title: what is being done, for the sentence that tells of a restart.
        folder: Ray's, deleted before a restart.
    """
    servers = living_servers(psutil.Process().children(recursive=True))
    for name in SERVERS:
        if name not in servers:
            start_again(title, f"Ray's {name} died", folder)
    ending = threading.Event()

    def watch() -> None:
        while not ending.wait(POLL_SECONDS):
            if interrupts.received and not _leaving(ending):
                _end_all(title, folder)
            for name, server in servers.items():
                if is_dead(server) and not _leaving(ending):
                    start_again(title, f"Ray's {name} died", folder)

    # A daemon: it must not keep the process from ending.
    thread = threading.Thread(target=watch, name="ray-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _leaving(ending: threading.Event) -> bool:
    """Say whether the main thread leaves the block by itself; ask when a server is dead, or a signal came.

    A signal to the whole process group (`timeout`, systemd, Slurm) ends the servers too. Python may hear of it a moment
    after their death was seen; and the main thread may be with Tune, who waits for their answer.
    """
    return ending.wait(2 * POLL_SECONDS)


def start_again(title: str, reason: str, folder: Path) -> NoReturn:
    """End all processes of ours and run the same command anew in this process; a few times, then give up.

    After SIGINT or SIGTERM it only ends them, and leaves by the signal's exit code. May be called from any thread:
    nothing that the others are doing needs to be finished.
    """
    _end_all(title, folder)
    done = int(os.environ.get(RESTARTS, "0"))
    if done >= MOST_RESTARTS:
        _leave(f"{title}: {reason}, after {done} restarts; nothing is lost", 1)
    os.environ[RESTARTS] = str(done + 1)
    print(f"{title}: {reason}; going on from the last checkpoints (restart {done + 1} of {MOST_RESTARTS})", flush=True)
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *_command()])  # noqa: S606 — the command that a person gave


def _end_all(title: str, folder: Path) -> None:
    """End all processes of ours, and after a signal this one."""
    # A cluster that we are only connected to has the same token.
    kill_all(os.environ.get("RAY_AUTH_TOKEN") if not cluster_address() else None)
    shutil.rmtree(folder, ignore_errors=True)
    _leave_if_interrupted(title)


def _command() -> list[str]:
    """What Python was called with, or would have been for a stage that was forked."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    return ["-m", main.name, *sys.argv[1:]] if main else sys.orig_argv[1:]


def leave(title: str, reason: str, folder: Path) -> NoReturn:
    """Leave at once, whatever the other threads are doing, and say why; by a signal's exit code if one came."""
    shutil.rmtree(folder, ignore_errors=True)
    _leave_if_interrupted(title)
    _leave(f"{title}: {reason}", 1)


def _leave_if_interrupted(title: str) -> None:
    if interrupts.received:
        number = interrupts.received[0]
        _leave(f"{title}: stopped by {signal.Signals(number).name}", 128 + number)


def _leave(sentence: str, code: int) -> NoReturn:
    print(f"\n{sentence}\nIts outs are as they were. To go on: dvc repro", file=sys.stderr, flush=True)
    os._exit(code)
