"""The journal: on disk before a call returns, whole after any death of its writer, closed by who finds it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import journal as journals
from pipelines.delivery import unsent
from pipelines.journal import NAME, Journal, close_orphan, events

TAGS = {"stage": "search"}


@pytest.fixture(autouse=True)
def _in(folder: Path) -> None:
    """Every test here has an outbox of its own."""


def read(journal: Journal) -> list[dict[str, Any]]:
    return list(events(journal.folder / NAME))


def statuses(file: Path) -> dict[str, str]:
    return {event["run"]: event["status"] for event in events(file) if event["event"] == "end"}


def test_every_event_is_on_disk_before_the_call_returns() -> None:
    with Journal("search@x") as journal:
        run = journal.start("x", "search", TAGS)
        assert read(journal)[-1]["event"] == "start"
        journal.params(run, {"lr": 0.1, "on": True, "name": "adam"})
        assert read(journal)[-1]["params"] == {"lr": "0.1", "on": "True", "name": "adam"}
        journal.tags(run, {"a": "b"})
        journal.metrics(run, 3, {"loss": 0.5})
        journal.dataset(run, "digits", "abc.dir", "data/prepared/digits", "training")
        journal.model(run, "package", "fifty-digits", {"v": "1"})
        journal.end(run)
        kinds = [event["event"] for event in read(journal)]
    assert kinds == ["start", "params", "tags", "metrics", "dataset", "model", "end"]
    assert {event["run"] for event in read(journal)} == {run}
    times = [event["time"] for event in read(journal)]
    assert times == sorted(times)
    assert abs(times[0] / 1000 - time.time()) < 60


def test_numbers_that_are_not_finite_come_back() -> None:
    with Journal("s") as journal:
        run = journal.start("x", "n", TAGS)
        journal.metrics(run, 1, {"a": float("inf"), "b": float("nan")})
        journal.end(run)
    found = read(journal)[1]["metrics"]
    assert found["a"] == float("inf")
    assert found["b"] != found["b"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(1), "KILLED")],
)
def test_open_runs_are_closed_when_the_stage_fails_or_is_stopped(error: BaseException, status: str) -> None:
    def work(journal: Journal) -> None:
        with journal:
            parent = journal.start("x", "search", TAGS)
            journal.start("x", "trial", TAGS, parent=parent)
            done = journal.start("x", "trial", TAGS, parent=parent)
            journal.end(done)
            raise error

    journal = Journal("search@x")
    with pytest.raises(type(error)):
        work(journal)
    found = [event["status"] for event in read(journal) if event["event"] == "end"]
    assert found == ["FINISHED", status, status]


def test_artifacts_are_copied_so_that_the_stage_may_move_them() -> None:
    Path("a.txt").write_text("one")
    Path("dir").mkdir()
    Path("dir/b.txt").write_text("two")
    with Journal("s") as journal:
        run = journal.start("x", "n", TAGS)
        journal.artifact(run, Path("a.txt"), "plots/a.txt")
        journal.artifact(run, Path("dir"), "package")
        journal.end(run)
    Path("a.txt").unlink()
    assert (journal.folder / "files/plots/a.txt").read_text() == "one"
    assert (journal.folder / "files/package/b.txt").read_text() == "two"


def test_an_out_gets_the_journal_of_finished_runs_only() -> None:
    with Journal("s") as journal:
        run = journal.start("x", "n", TAGS)
        with pytest.raises(RuntimeError, match="finished runs"):
            journal.save(Path("out.jsonl"))
        journal.end(run)
        journal.save(Path("out.jsonl"))
    assert Path("out.jsonl").read_bytes() == (journal.folder / NAME).read_bytes()


def test_the_outbox_stands_in_the_main_checkout(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    main = folder / "main"
    monkeypatch.setenv("DVC_ROOT", str(main))
    with Journal("s") as journal:
        pass
    assert journal.folder.parent == main / ".fifty" / "outbox"


def test_the_outbox_is_sorted_by_age() -> None:
    made = []
    for name in ("z", "a", "m"):
        with Journal(name) as journal:
            made.append(journal.folder)
    assert unsent() == made


def test_half_a_last_line_is_passed_over() -> None:
    with Journal("s") as journal:
        run = journal.start("x", "n", TAGS)
        journal.end(run)
    with (journal.folder / NAME).open("a") as file:
        file.write('{"run": "r", "event": "met')
    assert [event["event"] for event in read(journal)] == ["start", "end"]


def test_a_journal_in_the_making_is_no_orphan() -> None:
    with Journal("s") as journal:
        run = journal.start("x", "n", TAGS)
        assert not close_orphan(journal.folder / NAME)
        assert statuses(journal.folder / NAME) == {}
        journal.end(run)
    assert close_orphan(journal.folder / NAME)
    assert statuses(journal.folder / NAME) == {run: "FINISHED"}


def test_a_journal_is_locked_before_a_sender_can_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("pipelines.journal.fcntl.flock", lambda *_: seen.append(unsent()))
    with Journal("s"):
        assert seen == [[]]
        assert len(unsent()) == 1


WRITER = """
import sys, time
from pipelines.journal import Journal
journal = Journal("search@x")
parent = journal.start("x", "search", {})
done = journal.start("x", "trial-0", {}, parent=parent)
journal.end(done)
child = journal.start("x", "trial-1", {}, parent=parent)
for step in range(50):
    journal.metrics(child, step, {"loss": 1 / (step + 1)})
journal._file.write('{"run": "' + child + '", "event": "metr')
journal._file.flush()
print(parent, done, child, flush=True)
time.sleep(60)
"""


@pytest.fixture
def killed(environment: Callable[[], dict[str, str]]) -> tuple[Path, list[str]]:
    """The journal of a writer that was killed in the middle of a line, and its runs."""
    child = subprocess.Popen([sys.executable, "-c", WRITER], env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        runs = child.stdout.readline().split()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    (file,) = journals.outbox().glob(f"*/{NAME}")
    return file, runs


def test_runs_of_a_killed_writer_are_closed_children_first(killed: tuple[Path, list[str]]) -> None:
    file, (parent, done, child) = killed
    assert close_orphan(file)
    assert statuses(file) == {done: "FINISHED", child: "KILLED", parent: "KILLED"}
    ends = [event["run"] for event in events(file) if event["event"] == "end"]
    assert ends == [done, child, parent]
    assert sum(event["event"] == "metrics" for event in events(file)) == 50


def test_closing_an_orphan_is_safe_twice(killed: tuple[Path, list[str]]) -> None:
    file, _ = killed
    close_orphan(file)
    content = file.read_bytes()
    assert close_orphan(file)
    assert file.read_bytes() == content
    assert all(json.loads(line) for line in content.splitlines())


def test_writing_is_quick_enough_to_stay_out_of_trainings_way() -> None:
    with Journal("s") as journal:
        run = journal.start("x", "n", TAGS)
        began = time.perf_counter()
        for step in range(1000):
            journal.metrics(run, step, {"loss": 0.5, "accuracy": 0.5})
        assert time.perf_counter() - began < 2
        journal.end(run)
