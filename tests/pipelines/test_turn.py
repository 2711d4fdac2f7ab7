"""One writer at a time: who finds the turn taken leaves or waits, and a long turn lets others in."""

import threading
from pathlib import Path

import pytest

from pipelines import turn as turns
from pipelines.turn import Taken, Turn, lock_file

ADDRESS = "sqlite:///mlflow.db"


@pytest.fixture(autouse=True)
def _in(folder: Path) -> None:
    """Every test here has a folder of its own."""


def is_free() -> bool:
    try:
        with Turn(ADDRESS) as other:
            other.take()
    except Taken:
        return False
    return True


def test_a_turn_excludes_others_until_it_ends() -> None:
    with Turn(ADDRESS) as turn:
        assert is_free(), "it begins with its first request"
        turn.take()
        turn.take()
        assert not is_free()
        with Turn("sqlite:///other.db") as other:
            other.take()
    assert is_free()


def test_a_turn_ends_with_an_error_too() -> None:
    def fail() -> None:
        with Turn(ADDRESS) as turn:
            turn.take()
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        fail()
    assert is_free()


def test_who_is_patient_gets_the_turn() -> None:
    taken = threading.Event()

    def wait() -> None:
        with Turn(ADDRESS, patience=60) as turn:
            turn.take()
            taken.set()

    with Turn(ADDRESS) as turn:
        turn.take()
        thread = threading.Thread(target=wait)
        thread.start()
        assert not taken.wait(0.2)
    assert taken.wait(60)
    thread.join()


def test_impatience_is_one_sentence() -> None:
    with Turn(ADDRESS) as turn:
        turn.take()
        with Turn(ADDRESS, patience=0.1) as other, pytest.raises(Taken, match="another process is sending"):
            other.take()


def test_who_writes_for_long_lets_others_write_and_readers_read(monkeypatch: pytest.MonkeyPatch) -> None:
    free: list[bool] = []
    monkeypatch.setattr(turns, "HOLD_SECONDS", -1.0)
    monkeypatch.setattr("pipelines.turn.time.sleep", lambda seconds: free.append(is_free()))
    with Turn(ADDRESS) as turn:
        turn.take()
        assert free == []
        turn.take()
        assert free == [True]
        turn.breathe()
        assert free == [True, False], "in the middle of a chunk nobody else may write"
        assert not is_free()


def test_a_pause_is_longer_than_what_sqlite_sleeps_between_two_looks() -> None:
    assert turns.PAUSE_SECONDS > 0.1
    assert turns.HOLD_SECONDS + turns.PAUSE_SECONDS < 5, "SQLite gives up then, if nobody told it to wait longer"


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:////a/b/mlflow.db", "/a/b/.mlflow.db.sending"),
        ("sqlite:///mlruns/x.db?timeout=5", "mlruns/.x.db.sending"),
        ("http://127.0.0.1:5000", None),
        ("postgresql://me@host/db", None),
    ],
)
def test_only_sqlite_needs_turns(address: str, file: str | None) -> None:
    assert lock_file(address) == (Path(file) if file else None)
    if file is None:
        with Turn(address) as one, Turn(address) as other:
            one.take()
            other.take()
            other.breathe()
