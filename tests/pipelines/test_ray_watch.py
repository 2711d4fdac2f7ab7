"""The death of a server is noticed and the command begun anew, but a signal that a person sent ends it.

The servers are real processes with the right names; whoever watches is a process of its own, for it replaces itself.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipelines.ray_watch import MOST_RESTARTS, RESTARTS

WATCHER = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path

from pipelines import interrupts, ray_processes, ray_watch

ray_watch.POLL_SECONDS = 0.2
interrupts.install()
folder = Path("ray")
folder.mkdir(exist_ok=True)


def start(name):
    server = Path(name)
    server.write_text("#!/bin/sh\\nread line\\n")  # it ends with whoever holds the other end
    server.chmod(0o755)
    return subprocess.Popen([f"./{name}"], stdin=subprocess.PIPE)


def later(seconds, act, *arguments):
    threading.Timer(seconds, act, arguments).start()


def wait():
    while True:
        time.sleep(0.1)


def watch():
    with ray_watch.watched("search@one", folder):
        print("watching", flush=True)
        ACT
    print("left by itself", flush=True)


if ray_watch.RESTARTS in os.environ and os.environ[ray_watch.RESTARTS] == "1":
    print("folder is", "there" if list(folder.iterdir()) else "empty")
    sys.exit(0)
(folder / "file").touch()
BEFORE
try:
    watch()
except interrupts.Interrupted:
    print("interrupted", flush=True)
    sys.exit(7)
"""
BOTH = "servers = {name: start(name) for name in ray_processes.SERVERS}"

Watch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def watch(folder: Path, environment: Callable[[], dict[str, str]]) -> Watch:
    """Run the watcher to its end: what happens before the block, and in it."""

    def run(before: str, act: str, **env: str) -> "subprocess.CompletedProcess[str]":
        text = WATCHER.replace("BEFORE", before).replace("ACT", act)
        (folder / "watcher.py").write_text(text)
        command = [sys.executable, "watcher.py"]
        kept = {name: value for name, value in environment().items() if name not in (RESTARTS, "RAY_AUTH_TOKEN")}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env={**kept, **env}, stdin=subprocess.PIPE
        )

    return run


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_dead_server_begins_the_command_anew(watch: Watch, name: str) -> None:
    done = watch(BOTH, f"servers['{name}'].kill(); wait()")
    assert done.returncode == 0, done.stderr
    said = f"search@one: Ray's {name} died; going on from the last checkpoints (restart 1 of {MOST_RESTARTS})"
    assert done.stdout.splitlines() == ["watching", said, "folder is empty"]


def test_a_server_that_was_dead_before_is_noticed_too(watch: Watch) -> None:
    done = watch(f"{BOTH}; servers['raylet'].kill(); time.sleep(0.2)", "wait()")  # a zombie: nobody waits for it
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("search@one: Ray's raylet died; going on"), done.stdout
    done = watch("start('raylet')", "wait()")
    assert done.stdout.startswith("search@one: Ray's gcs_server died; going on"), done.stdout


def test_a_block_that_ends_is_left_alone(watch: Watch) -> None:
    done = watch(BOTH, "time.sleep(0.5)")
    assert done.stdout.splitlines() == ["watching", "left by itself"], done.stderr
    assert done.returncode == 0


def test_a_signal_right_after_a_server_s_death_is_no_reason_to_begin_anew(watch: Watch) -> None:
    done = watch(BOTH, "servers['raylet'].kill(); later(0.3, os.kill, os.getpid(), signal.SIGTERM); wait()")
    assert done.stdout.splitlines() == ["watching", "interrupted"], done.stdout
    assert done.returncode == 7, "the main thread leaves by its own way"


def test_after_a_signal_it_leaves_though_the_main_thread_hangs(watch: Watch) -> None:
    hang = "try:\n            wait()\n        except interrupts.Interrupted:\n            wait()"
    # A process without its parent, as Ray's workers are when the raylet is dead; the token makes it ours.
    orphan = "subprocess.run(['sh', '-c', 'sleep 60 & echo $! > orphan'], stdout=subprocess.DEVNULL)"
    act = f"os.environ['RAY_AUTH_TOKEN'] = 'of this test'; {orphan}; servers['raylet'].kill()"
    done = watch(BOTH, f"{act}; later(0.1, os.kill, os.getpid(), signal.SIGTERM)\n        {hang}")
    assert done.returncode == 143, done.stdout
    assert done.stdout.splitlines() == ["watching"]
    left = "\nsearch@one: stopped by SIGTERM\nIts outs are as they were. To go on: dvc repro\n"
    assert done.stderr == left
    orphaned = int(Path("orphan").read_text())
    assert not psutil.pid_exists(orphaned) or psutil.Process(orphaned).status() == psutil.STATUS_ZOMBIE


def test_after_some_restarts_it_gives_up(watch: Watch) -> None:
    done = watch(BOTH, "servers['gcs_server'].kill(); wait()", **{RESTARTS: str(MOST_RESTARTS)})
    assert done.returncode == 1
    assert f"Ray's gcs_server died, after {MOST_RESTARTS} restarts; nothing is lost" in done.stderr
    assert "To go on: dvc repro" in done.stderr
