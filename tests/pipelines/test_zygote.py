"""What a search forks: with all loaded, ended with whoever asked for it, and gone with the search."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines import zygote
from pipelines.searching import cohort_work


def tell(connection: Connection) -> None:
    """Tell what a fork is like."""
    loaded = [name for name in ("torch", *zygote.LOADED) if name in sys.modules]
    connection.send({"pid": os.getpid(), "parent": os.getppid(), "loaded": loaded})


def work_on(connection: Connection) -> None:
    """Tell who it is, and do something that never ends."""
    connection.send(os.getpid())
    while True:
        time.sleep(60)


def fail(connection: Connection) -> None:
    """Meet an error."""
    raise ValueError("on purpose")


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with zygote.started(tmp_path_factory.mktemp("z")) as address:
        yield address


def process_of(address: str) -> psutil.Process:
    """The process that forks."""
    with zygote.fork(address, tell) as connection:
        return psutil.Process(connection.recv()["parent"])


def test_a_fork_has_all_loaded(address: str) -> None:
    told = []
    for _ in range(2):
        with zygote.fork(address, tell) as connection:
            told.append(connection.recv())
    assert [one["loaded"] for one in told] == [["torch", *zygote.LOADED]] * 2
    assert len({one["pid"] for one in told} | {os.getpid()}) == 3
    assert len({one["parent"] for one in told} | {os.getpid()}) == 2


def test_a_fork_ends_when_the_other_end_is_closed_whatever_it_does(address: str) -> None:
    with zygote.fork(address, work_on) as connection:
        pid = connection.recv()
        assert not is_gone(pid)
    wait(lambda: is_gone(pid))


def test_a_fork_that_meets_an_error_ends_alone(address: str) -> None:
    with zygote.fork(address, fail) as connection, pytest.raises(EOFError):
        connection.recv()
    with zygote.fork(address, tell) as connection:
        assert connection.recv()["pid"]


def test_forks_are_reaped(address: str) -> None:
    parent = process_of(address)
    for _ in range(5):
        with zygote.fork(address, tell) as connection:
            connection.recv()
    wait(lambda: not parent.children())


def test_a_worker_bears_its_name(address: str) -> None:
    parent = process_of(address)
    with zygote.fork(address, cohort_work.serve) as worker:
        worker.send({})
        wait(lambda: cohort_work.NAME in [child.name() for child in parent.children()])


def test_a_worker_says_what_is_wrong_and_goes_on(address: str, tmp_path: Path) -> None:
    lanes: dict[str, Any] = {"trials": [0], "configs": [{}], "seeds": [0]}
    how = {"engine": "lone", "threads": 1, "rule": {"name": "none", "epochs": 1}, "metric": "val_loss"}
    cohort = json.dumps({"name": "c00000", **lanes, **how})
    task = {"family": "mlp", "prepared": str(tmp_path), "augmented": str(tmp_path), "state": str(tmp_path)}
    with zygote.fork(address, cohort_work.serve) as worker:
        worker.send({"CUDA_VISIBLE_DEVICES": ""})
        for _ in range(2):
            worker.send((cohort, task))
            assert worker.recv()["fault"].startswith("FileNotFoundError")
            assert worker.recv() is None


def test_it_leaves_nothing_and_whoever_asks_a_dead_one_is_told(tmp_path: Path) -> None:
    with zygote.started(tmp_path) as address:
        parent = process_of(address)
        parent.kill()
        wait(lambda: is_gone(parent.pid))
        with pytest.raises(OSError, match="refused"):
            zygote.fork(address, tell)
    assert list(tmp_path.iterdir()) == []


DIES = """
import os, sys
from pathlib import Path
from pipelines import zygote

if __name__ == "__main__":
    with zygote.started(Path(sys.argv[1]), "search@it") as address:
        with zygote.starting(Path(sys.argv[1])):
            if sys.argv[2] == "within":
                os._exit(1)
        os._exit(1)
"""


@pytest.mark.parametrize(("when", "says"), [("within", True), ("after", False)])
def test_of_a_process_that_dies_while_ray_starts_something_is_said(tmp_path: Path, when: str, says: bool) -> None:
    script = tmp_path / "dies.py"
    script.write_text(DIES)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), when], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert ("search@it: died while Ray was starting; nothing is lost" in done.stderr) == says
    assert "Traceback" not in done.stderr
    assert "leaked" not in done.stderr
