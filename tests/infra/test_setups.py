"""How failed set-ups of workers are counted."""

from datetime import UTC, datetime, timedelta

from infra.node.cloud import Worker
from infra.node.setups import Book, note

NOW = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)


def worker(name: str, status: str, *, costs: bool = True, minutes: float = 5.0) -> Worker:
    return Worker(name, costs, status, NOW - timedelta(minutes=minutes))


def after(*looks: list[Worker]) -> Book:
    book = Book()
    for look in looks:
        book = note(book, look, NOW)
    return book


def test_failed_set_ups_are_counted_once_each_and_in_a_row() -> None:
    assert after([worker("a", "update-failed")], [worker("a", "update-failed")]).failed == 1
    assert after([worker("a", "update-failed")], [worker("a", "setting-up"), worker("b", "update-failed")]).failed == 2
    assert after([worker("a", "update-failed")], [worker("b", "up-to-date")]).failed == 0
    assert after([worker("b", "up-to-date")], [worker("a", "update-failed"), worker("b", "up-to-date")]).failed == 1


def test_a_worker_that_was_ready_has_not_failed_whatever_became_of_it() -> None:
    assert after([worker("a", "up-to-date")], [worker("a", "update-failed", costs=False, minutes=99)]).failed == 0


def test_a_set_up_that_hung_until_its_end_has_failed_and_one_that_was_cut_short_has_not() -> None:
    assert after([worker("a", "setting-up", costs=False, minutes=21)]).failed == 1
    assert after([worker("a", "setting-up", costs=False, minutes=3)]).failed == 0
    assert (
        after(
            [worker("a", "setting-up", costs=False, minutes=3)], [worker("a", "setting-up", costs=False, minutes=33)]
        ).failed
        == 0
    )


def test_ready_workers_are_those_that_are_set_up_and_cost_money() -> None:
    looks = [worker("a", "up-to-date"), worker("b", "up-to-date", costs=False), worker("c", "setting-up")]
    assert (after(looks).workers, after(looks).serving) == (2, 1)
