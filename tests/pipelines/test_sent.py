"""What a sender remembers: it survives a kill, costs what it brings, and never says more than was sent."""

import json
from pathlib import Path

import pytest

from pipelines.sent import Sent

MEMORY, FILE = Path("sent.jsonl"), Path("journal.jsonl")


@pytest.fixture(autouse=True)
def _journal(folder: Path) -> None:
    """A journal of ten lines of ten bytes."""
    FILE.write_text('{"a": 12}\n' * 10)


def recalled(server: str = "here") -> Sent:
    sent = Sent(MEMORY, server)
    sent.recall(FILE)
    return sent


def test_another_process_goes_on_where_one_was_killed() -> None:
    sent = recalled()
    sent.made("r1", "id1")
    sent.reached(20)
    sent.made("r2", "id2")
    sent.reached(50)
    sent.made("r3", "never remembered")
    again = recalled()
    assert (again.offset, again.ids) == (50, {"r1": "id1", "r2": "id2"})


def test_what_another_process_sent_meanwhile_is_taken_in() -> None:
    one, other = recalled(), recalled()
    other.made("r1", "id1")
    other.reached(30)
    one.recall(FILE)
    assert (one.offset, one.ids) == (30, {"r1": "id1"})
    one.reached(40)
    assert recalled().ids == {"r1": "id1"}


def test_each_run_is_written_once_and_nothing_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = recalled()
    for number in range(100):
        sent.made(f"r{number}", f"id{number}")
        sent.reached(number // 10 * 10)
    lines = [json.loads(line) for line in MEMORY.read_text().splitlines()]
    assert [line.get("ids") for line in lines[1:]] == [{f"r{number}": f"id{number}"} for number in range(100)]
    before = MEMORY.read_bytes()
    MEMORY.write_bytes(b"x" * (len(before) - 1) + b"\n")  # whoever reads it again, fails or forgets
    sent.recall(FILE)
    assert sent.offset == 90


def test_another_server_has_nothing_yet() -> None:
    sent = recalled()
    sent.made("r1", "id1")
    sent.reached(20)
    assert (recalled("there").offset, recalled("there").ids) == (0, {})
    back = recalled()
    assert (back.offset, back.ids) == (0, {}), "what it was told before cannot be told from what it lost"


def test_a_server_that_lost_everything_is_sent_everything() -> None:
    sent = recalled()
    sent.made("r1", "id1")
    sent.reached(20)
    sent.made("r2", "id2")
    sent.forget()
    sent.made("r3", "id3")
    sent.reached(10)
    for one in (sent, recalled()):
        assert (one.offset, one.ids) == (10, {"r3": "id3"})


def test_half_a_line_is_cut_off() -> None:
    recalled().reached(20)
    with MEMORY.open("a") as file:
        file.write('{"offset": 1')
    sent = recalled()
    assert sent.offset == 20
    sent.reached(30)
    assert recalled().offset == 30
    assert all(json.loads(line) for line in MEMORY.read_text().splitlines())


@pytest.mark.parametrize("left", [0, 10, 35])
def test_a_journal_that_lost_its_end_is_sent_anew(left: int) -> None:
    """As a power cut may do, after what it takes away was read."""
    recalled().reached(60)
    text = FILE.read_bytes()
    FILE.write_bytes(text[:left])
    assert recalled().offset == 0


@pytest.mark.parametrize("spoilt", [b"\0" * 40 + b"\n", b"no JSON\n", b""])
def test_a_spoilt_memory_is_none(spoilt: bytes) -> None:
    recalled().reached(20)
    MEMORY.write_bytes(spoilt)
    sent = recalled()
    assert (sent.offset, sent.ids) == (0, {})
    sent.reached(30)
    assert recalled().offset == 30


def test_a_memory_that_was_deleted_is_begun_again() -> None:
    sent = recalled()
    sent.reached(20)
    MEMORY.unlink()
    sent.recall(FILE)
    assert sent.offset == 0
    sent.reached(30)
    assert recalled().offset == 30


def test_without_a_file_the_object_remembers() -> None:
    sent = Sent(None, "here")
    sent.recall(FILE)
    sent.reached(20)
    sent.recall(FILE)
    assert sent.offset == 20
    assert not MEMORY.exists()
