"""Notices within seconds that Ray itself has died, and starts the search again from what is safe on disk.

Without its raylet or its GCS, Tune waits for minutes and then returns what it has as if that were all. A search loses
nothing by `kill -9`, so the way out of any such state is the same: end everything at once and begin again.
"""

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil

POLL_SECONDS = 1.0
SERVERS = ("raylet", "gcs_server")
RESTARTS = "FIFTY_RAY_RESTARTS"
MOST_RESTARTS = 3


@contextmanager
def watched(title: str, folder: Path) -> Iterator[None]:
    """Watch over the servers that this process has started, while the block works.

    Args:
        title: what is being done, for the sentence that tells of a restart.
        folder: Ray's, deleted before a restart.
    """
    # The servers of before a restart may still be zombies of this process.
    everyone = psutil.Process().children(recursive=True)
    servers = [child for child in everyone if child.name() in SERVERS and not _is_dead(child)]
    ending = threading.Event()

    def watch() -> None:
        while not ending.wait(POLL_SECONDS):
            for server, name in zip(servers, names, strict=True):
                if _is_dead(server) and not ending.is_set():
                    start_again(title, f"Ray's {name} died", folder)

    names = [server.name() for server in servers]
    # A daemon: it must not keep the process from ending.
    thread = threading.Thread(target=watch, name="ray-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def start_again(title: str, reason: str, folder: Path) -> NoReturn:
    """End all child processes and run the same command anew in this process; a few times, then give up.

    May be called from any thread: nothing that the others are doing needs to be finished.
    """
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    shutil.rmtree(folder, ignore_errors=True)
    done = int(os.environ.get(RESTARTS, "0"))
    if done >= MOST_RESTARTS:
        text = f"{reason}, after {done} restarts; nothing is lost. To go on: dvc repro"
        print(f"\n{title}: {text}", file=sys.stderr, flush=True)
        os._exit(1)
    os.environ[RESTARTS] = str(done + 1)
    print(f"{title}: {reason}; going on from the last checkpoints (restart {done + 1} of {MOST_RESTARTS})", flush=True)
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 — the command that a person gave
