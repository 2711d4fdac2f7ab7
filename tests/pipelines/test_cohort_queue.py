"""What Tune is handed next: generation by generation, again after a death, in halves after three."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.search import Searcher

from pipelines.cohort_queue import DEATHS, LOSSES, CohortQueue
from pipelines.faults import Fault
from pipelines.searching.cohorts import Cohort, halves
from tests.pipelines.cohorts import cohort

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class World:
    """A queue, and what it told."""

    def __init__(self, *generations: list[Cohort]) -> None:
        self.epochs: dict[str, int] = {}
        self.given_up: list[int] = []
        self.said: list[str] = []
        self.asked = 0
        self.gone = False  # whether machines vanish with the workers that die on them
        self.left: list[tuple[str, bool]] = []
        self.queue = CohortQueue(
            self._ask(generations), self._reached, self._split, self._give_up, self.said.append, left=self._left
        )

    def _ask(self, generations: tuple[list[Cohort], ...]) -> Iterator[list[Cohort]]:
        for generation in generations:
            self.asked += 1
            yield generation

    def _reached(self, name: str) -> int:
        return self.epochs.get(name, 0)

    def _split(self, whole: Cohort, reason: str) -> list[Cohort]:
        return halves(whole)

    def _left(self, trial_id: str, lost: Cohort, died: bool) -> bool:
        self.left.append((trial_id, died))
        return self.gone

    def _give_up(self, lost: Cohort, reason: str) -> None:
        self.given_up += lost["trials"]


def named(suggested: Any) -> str:
    return str(json.loads(suggested["cohort"])["name"])


def test_the_next_generation_waits_for_the_last_of_this_one() -> None:
    world = World([cohort(0), cohort(2)], [cohort(4)])
    queue = world.queue
    assert [named(queue.suggest(i)) for i in ("a", "b")] == ["c00000", "c00002"]
    assert queue.suggest("c") is None
    queue.on_trial_complete("a", {})
    assert queue.suggest("c") is None
    assert world.asked == 1
    queue.on_trial_complete("b", {})
    assert named(queue.suggest("c")) == "c00004"
    assert not queue.empty
    queue.on_trial_complete("c", {})
    assert queue.suggest("d") == Searcher.FINISHED
    assert queue.empty


def test_a_cohort_whose_worker_died_is_first_in_line() -> None:
    world = World([cohort(0), cohort(2)])
    world.queue.suggest("a")
    world.queue.on_trial_complete("a", error=True)
    assert named(world.queue.suggest("b")) == "c00000"
    assert world.said == ["cohort c00000: its worker died; it goes on from epoch 0"]


def test_deaths_count_only_where_it_does_not_get_further() -> None:
    world = World([cohort(0)])
    for epoch in range(10):
        assert named(world.queue.suggest(str(epoch))) == "c00000"
        world.epochs["c00000"] = epoch
        world.queue.on_trial_complete(str(epoch), error=True)
    assert world.given_up == []


def test_after_three_deaths_in_one_place_it_is_split_and_a_single_trial_is_given_up() -> None:
    world = World([cohort(0, 3)])
    lives = 0
    while (suggested := world.queue.suggest(str(lives))) != Searcher.FINISHED:
        bad = 2 in json.loads(suggested["cohort"])["trials"]
        world.queue.on_trial_complete(str(lives), {}, error=bad)
        lives += 1
    assert world.given_up == [2]
    assert lives == DEATHS + 1 + DEATHS, "the whole, the good half, the bad one"


def test_a_machine_that_vanishes_is_no_fault_of_its_cohort_s_unless_it_happens_over_and_over() -> None:
    world = World([cohort(0, 2)])
    world.gone = True
    for number in range(LOSSES):
        assert json.loads(world.queue.suggest(str(number))["cohort"])["trials"] == [0, 1]
        world.queue.on_trial_complete(str(number), error=True)
    assert set(world.said) == {"cohort c00000: its machine is gone; it goes on from epoch 0"}
    assert json.loads(world.queue.suggest("next")["cohort"])["trials"] == [0]
    assert world.left == [(str(number), True) for number in range(LOSSES)]


def test_losses_are_no_deaths_and_a_step_further_forgives_both() -> None:
    world = World([cohort(0)])
    for number, (gone, epoch) in enumerate([(True, 0), (False, 0), (True, 0), (False, 0), (False, 1), (False, 1)]):
        world.gone, world.epochs["c00000"] = gone, epoch
        assert named(world.queue.suggest(str(number))) == "c00000"
        world.queue.on_trial_complete(str(number), error=True)
    world.queue.suggest("last")
    world.queue.on_trial_complete("last", {})
    assert world.left[-1] == ("last", False)
    assert world.given_up == []


def test_an_error_counts_as_a_death() -> None:
    world = World([cohort(0), cohort(2)])
    world.queue.suggest("a")
    world.queue.on_trial_complete("a", {"fault": "MemoryError"})
    assert world.said == ["cohort c00000: MemoryError; it goes on from epoch 0"]
    assert world.queue.error is None


def test_an_error_that_two_cohorts_meet_before_any_got_anywhere_ends_the_search() -> None:
    world = World([cohort(0), cohort(2)])
    for number in "ab":
        world.queue.suggest(number)
        world.queue.on_trial_complete(number, {"fault": "ValueError: x"})
        world.queue._waiting.reverse()
    assert isinstance(world.queue.error, Fault)
    assert str(world.queue.error) == "training failed: ValueError: x"
    assert world.queue.suggest("c") == Searcher.FINISHED
    assert not world.queue.empty


@pytest.mark.parametrize("progress", ["another has finished", "one of them had got further", "halves of one"])
def test_an_error_of_some_trials_alone_goes_on(progress: str) -> None:
    parts = halves(cohort(0, 4)) if progress == "halves of one" else [cohort(0), cohort(2)]
    world = World(*([[cohort(4)]] if progress == "another has finished" else []), parts)
    if progress == "another has finished":
        world.queue.suggest("first")
        world.queue.on_trial_complete("first", {})
    if progress == "one of them had got further":
        world.epochs["c00002"] = 1
    for number in "ab":
        world.queue.suggest(number)
        world.queue.on_trial_complete(number, {"fault": "ValueError: x"})
        world.queue._waiting.reverse()
    assert world.queue.error is None


def test_an_error_of_the_search_s_own_is_kept_and_ends_it() -> None:
    def full(_: Cohort, __: str) -> list[Cohort]:
        raise OSError(28, "No space left on device")

    world = World([cohort(0)])
    world.queue._split = full  # type: ignore[method-assign]
    for number in "abc":
        world.queue.suggest(number)
        world.queue.on_trial_complete(number, error=True)
    assert isinstance(world.queue.error, OSError)
    assert world.queue.suggest("d") == Searcher.FINISHED


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), fatal=st.sets(st.integers(0, 35)))
def test_whatever_dies_every_trial_ends_trained_or_given_up(sizes: list[int], fatal: set[int]) -> None:
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    world = World([cohort(first, size) for first, size in zip(starts, sizes, strict=True)])
    trained: list[int] = []
    number = 0
    while (suggested := world.queue.suggest(str(number))) != Searcher.FINISHED:
        trials = json.loads(suggested["cohort"])["trials"]
        dies = bool(fatal & set(trials))
        trained += [] if dies else trials
        world.queue.on_trial_complete(str(number), {}, error=dies)
        number += 1
    assert sorted(trained + world.given_up) == list(range(sum(sizes)))
    assert set(world.given_up) == fatal & set(range(sum(sizes)))


def test_halves_share_out_everything() -> None:
    one, other = halves(cohort(0, 5))
    assert (one["trials"], other["trials"]) == ([0, 1, 2], [3, 4])
    assert (one["name"], other["name"]) == ("c00000a", "c00000b")
    assert [c["engine"] for c in halves(cohort(0, 2))] == ["lone", "lone"]
