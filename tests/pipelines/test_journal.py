"""The journal: on disk before a call returns, whole after any death of its writer, closed by who finds it."""

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines import journal as journals
from pipelines.delivery import unsent
from pipelines.faults import Fault
from pipelines.journal import NAME, Journal, close_orphan, events, lines, may_go_on

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
        assert close_orphan(journal.folder / NAME) is None
        assert statuses(journal.folder / NAME) == {}
        journal.end(run)
    assert close_orphan(journal.folder / NAME) == (journal.folder / NAME).stat().st_size
    assert statuses(journal.folder / NAME) == {run: "FINISHED"}


def test_a_journal_is_locked_before_a_sender_can_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("pipelines.locks.fcntl.flock", lambda *_: seen.append(unsent()))
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


def test_no_journal_is_read_while_its_writer_lives_and_none_twice(
    killed: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, (parent, *_) = killed
    closed = close_orphan(file)
    with Journal("s") as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "lines", None)  # whoever reads, fails
        assert close_orphan(journal.folder / NAME) is None
        assert close_orphan(file, closed) == closed
    with file.open("a") as writer:
        writer.write(json.dumps({"run": parent, "event": "resume", "time": 0}) + "\n")
    assert close_orphan(file, closed) == file.stat().st_size
    assert list(events(file))[-1]["event"] == "end"


# --- reading on ---------------------------------------------------------------------------------------------------


def poll(file: Path, offset: int, seen: list[dict[str, Any]]) -> int:
    """Read on from a byte; what was read goes to `seen`, and how far it came is returned."""
    end = offset
    for event, end in lines(file, offset):  # noqa: B007
        seen.append(event)
    return end


contents = st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False)), max_size=12)


@given(contents, st.lists(st.integers(0, 400)), st.integers(1, 64))
@example([{"a": 1}, {"b": "x" * 90}], [0, 8, 9, 10, 50], 4)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_the_polls_each_whole_line_is_read_once(
    written: list[dict[str, Any]], cuts: list[int], block: int
) -> None:
    """The file is cut anywhere at each poll, within a line among others."""
    text = b"".join(json.dumps(event).encode() + b"\n" for event in written)
    seen: list[dict[str, Any]] = []
    offset = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "BLOCK", block)
        for end in (*sorted(cuts), len(text)):
            so_far = text[:end]
            Path("cut.jsonl").write_bytes(so_far)
            offset = poll(Path("cut.jsonl"), offset, seen)
            assert seen == written[: so_far.count(b"\n")]
            assert offset == so_far.rfind(b"\n") + 1
    assert seen == written


class Author:
    """Writes a journal, and is killed now and then."""

    def __init__(self, random: Random) -> None:
        self.journal = Journal("search@x")
        self._random = random

    def do(self, step: str) -> None:
        """Take a step, if there is a run for it."""
        told = self.journal.history()
        going = [run for run, state in told.items() if state.ended is None]
        if step == "start":
            self.journal.start("x", "n", {}, parent=next(iter(told), None))
        elif step == "die":
            self.die()
            assert self.journal.history() == told, "those that were open are open again"
        elif going:
            run = self._random.choice(going)
            if step == "params":
                self.journal.params(run, {"lr": 1})
            elif step == "metrics":
                self.journal.metrics(run, self._random.randint(0, 9), {"loss": 1.0})
            elif step == "end":
                self.journal.end(run, self._random.choice(["FINISHED", "FAILED"]))

    def die(self) -> None:
        """Die in the middle of a line. Somebody closes the runs, or nobody; another process goes on."""
        self.journal._file.write('{"run": "r", "event": "met')
        self.journal._file.close()
        if self._random.random() < 0.5:
            close_orphan(self.journal.folder / NAME)
        self.journal = Journal.reopen(self.journal.folder)


steps = st.lists(st.sampled_from(["start", "params", "metrics", "end", "poll", "die"]), max_size=30)


@given(steps, st.randoms(use_true_random=False), st.integers(1, 500))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_its_writer_does_a_journal_is_read_once(steps: list[str], random: Random, block: int) -> None:
    author = Author(random)
    seen: list[dict[str, Any]] = []
    offset = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "BLOCK", block)
        try:
            for step in (*steps, "poll"):
                if step == "poll":
                    offset = poll(author.journal.folder / NAME, offset, seen)
                else:
                    author.do(step)
            assert seen == read(author.journal)
        finally:
            author.journal._file.close()


# --- going on -----------------------------------------------------------------------------------------------------


def resumable(error: BaseException) -> Journal:
    """A journal that somebody may go on with, of a stage that left by `error`."""
    Path("running.json").touch()
    journal = Journal("search@x", resumable=Path("running.json"))

    def work() -> None:
        with journal:
            parent = journal.start("x", "search", TAGS)
            for status in ("FINISHED", "FAILED"):
                journal.end(journal.start("x", status, TAGS, parent=parent), status)
            journal.start("x", "open", TAGS, parent=parent)
            raise error

    with pytest.raises(type(error)):
        work()
    return journal


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_open_and_killed_runs_go_on_and_no_others(error: BaseException) -> None:
    journal = resumable(error)
    ended = {told.name: told.ended for told in journal.history().values()}
    assert ended == {"search": "KILLED", "FINISHED": "FINISHED", "FAILED": "FAILED", "open": "KILLED"}
    with Journal.reopen(journal.folder) as again:
        assert {told.name: told.ended for told in again.history().values()} == {
            "search": None,
            "FINISHED": "FINISHED",
            "FAILED": "FAILED",
            "open": None,
        }
        assert {run: replace(told, ended="") for run, told in again.history().items()} == {
            run: replace(told, ended="") for run, told in journal.history().items()
        }
        assert [event["event"] for event in read(again)][-2:] == ["resume", "resume"]


def test_a_journal_may_go_on_exactly_as_long_as_the_file_of_the_state_is_there() -> None:
    journal = resumable(KeyboardInterrupt())
    assert may_go_on(journal.folder)
    Path("running.json").unlink()
    assert not may_go_on(journal.folder)
    Path("running.json").touch()
    with Journal.reopen(journal.folder) as again:
        again.release()
    assert not may_go_on(journal.folder)


def test_nobody_goes_on_with_a_journal_that_another_process_writes() -> None:
    with Journal("s") as journal, pytest.raises(Fault, match=r"another process writes .*; wait for it, or stop it"):
        Journal.reopen(journal.folder, patience=0.1)


def test_a_journal_that_its_sender_deletes_while_we_wait_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal("s") as journal:
        pass
    sender = (journal.folder / NAME).open("r+")
    fcntl.flock(sender, fcntl.LOCK_EX)

    def meanwhile(_: float) -> None:
        shutil.rmtree(journal.folder)
        sender.close()

    monkeypatch.setattr("pipelines.journal.time.sleep", meanwhile)
    with pytest.raises(FileNotFoundError):
        Journal.reopen(journal.folder)


def test_a_closed_journal_is_deleted_unless_somebody_goes_on_with_it() -> None:
    journal = resumable(KeyboardInterrupt())
    file = journal.folder / NAME
    closed = close_orphan(file)
    assert closed
    assert not journals.delete_closed(journal.folder, closed), "its state is there"
    with Journal.reopen(journal.folder):
        Path("running.json").unlink()
        assert not journals.delete_closed(journal.folder, closed), "it is being written"
    assert not journals.delete_closed(journal.folder, closed), "it was written since"
    closed = close_orphan(file, closed)
    assert closed
    assert journals.delete_closed(journal.folder, closed)
    assert not journal.folder.exists()


def test_writing_is_quick_enough_to_stay_out_of_trainings_way() -> None:
    with Journal("s") as journal:
        run = journal.start("x", "n", TAGS)
        began = time.perf_counter()
        for step in range(1000):
            journal.metrics(run, step, {"loss": 0.5, "accuracy": 0.5})
        assert time.perf_counter() - began < 2
        journal.end(run)
