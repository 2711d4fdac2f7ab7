"""The ledger in a file: numbers taken once among real processes, and a writer that dies spoils nothing."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from infra.account import Ledger
from infra.events import Event, Taken, encode
from infra.faults import Fault
from infra.ledger import LocalStore, reserve
from tests.infra.money import START

Environment = Callable[[], dict[str, str]]
LATER = START + timedelta(hours=4)
# Waits for a line, then reserves a dollar for run after run until it is refused; prints how many it got.
RESERVE = """
import sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
from infra.faults import Refused
from infra.ledger import LocalStore, reserve
name, path, budget = sys.argv[1:]
store, now = LocalStore(Path(path)), datetime.now(UTC)
print("ready", flush=True)
sys.stdin.readline()
got = 0
try:
    while True:
        reserve(store, float(budget), f"{name}-{got}", 1.0, now + timedelta(hours=1), now)
        got += 1
        print(got, flush=True)
except Refused:
    pass
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud" / "ledger.jsonl"


def event(number: int, run: str = "one") -> Event:
    return Event(number, START, "reserved", run, dollars=1.0, deadline=LATER)


def begin(name: str, path: Path, budget: float, environment: Environment) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", RESERVE, name, str(path), str(budget)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_it_is_empty_before_the_first_event_and_private(path: Path) -> None:
    store = LocalStore(path)
    assert store.read() == []
    assert not path.parent.exists()
    store.append(event(1))
    store.append(event(2))
    assert LocalStore(path).read() == [event(1), event(2)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_number_is_taken_once(path: Path) -> None:
    LocalStore(path).append(event(1))
    with pytest.raises(Taken):
        LocalStore(path).append(event(1, "two"))
    with pytest.raises(ValueError, match="would leave a gap"):
        LocalStore(path).append(event(3))
    assert LocalStore(path).read() == [event(1)]


def test_half_a_last_line_does_not_count_and_is_written_over(path: Path) -> None:
    store, second = LocalStore(path), encode(event(2, "a-longer-one")).encode()
    store.append(event(1))
    whole = path.read_bytes()
    for cut in range(1, len(second) + 1):
        path.write_bytes(whole + second[:cut])
        assert store.read() == [event(1)]
        store.append(event(2, "two"))
        assert store.read() == [event(1), event(2, "two")]
        assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("line", ["{}", "", '{"number": 1', "\xff", encode(event(3)), encode(event(1))])
def test_a_damaged_line_is_named(path: Path, line: str) -> None:
    store = LocalStore(path)
    store.append(event(1))
    with path.open("a", encoding="latin-1") as file:
        file.write(f"{line}\n")
    with pytest.raises(Fault, match=r"line 2 of the ledger .*ledger.jsonl is damaged"):
        store.read()
    with pytest.raises(Fault, match="line 2 of the ledger"):
        store.append(event(2))


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cloud").write_text("a file, not a folder")
    store = LocalStore(tmp_path / "cloud" / "ledger.jsonl")
    with pytest.raises(Fault, match=r"the ledger .* cannot be written: "):
        store.append(event(1))
    with pytest.raises(Fault, match=r"the ledger .* cannot be read: "):
        store.read()


def test_processes_that_race_for_the_last_dollar_share_the_budget(path: Path, environment: Environment) -> None:
    processes = [begin(f"p{number}", path, 20.5, environment) for number in range(4)]
    for process in processes:
        go(process)
    counts = [len(process.communicate(timeout=60)[0].split()) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(counts) == 20
    ledger = Ledger(LocalStore(path).read())
    assert ledger.committed() == 20.0
    assert len(ledger.open_runs()) == 20


def test_a_writer_killed_in_the_middle_holds_nobody_up(path: Path, environment: Environment) -> None:
    for round_ in range(3):
        process = begin(f"p{round_}", path, 1e6, environment)
        go(process)
        assert process.stdout is not None
        got = [process.stdout.readline() for _ in range(3 + round_)][-1]
        os.kill(process.pid, signal.SIGKILL)
        rest = process.communicate(timeout=60)[0].split("\n")
        acknowledged = int([line for line in [got, *rest] if line.strip()][-1])
        runs = Ledger(LocalStore(path).read()).runs
        assert sum(name.startswith(f"p{round_}-") for name in runs) in (acknowledged, acknowledged + 1)
    size = len(LocalStore(path).read())
    assert reserve(LocalStore(path), 1e6, "last", 1.0, LATER, START).number == size + 1
