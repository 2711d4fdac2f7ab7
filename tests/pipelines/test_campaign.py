"""The first cohorts are planned beside whatever starts meanwhile, and neither keeps the other."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipelines.faults import Fault
from pipelines.journal import Journal
from pipelines.search_state import SearchState
from pipelines.searching.campaign import Campaign
from pipelines.searching.cohorts import Cohort
from pipelines.searching.plan_order import Order, Planned
from pipelines.searching.planner import Planner
from pipelines.searching.recorder import Recorder
from tests.pipelines.cohorts import cohort, record, stage_at

PATIENCE = 30.0


@dataclass
class Desk:
    """A campaign, and the end of its planner that the planning process has."""

    campaign: Campaign
    recorder: Recorder
    planning: Connection

    def plan(self, *cohorts: Cohort, fault: str = "") -> None:
        """Answer the order."""
        assert self.planning.poll(PATIENCE)
        assert isinstance(self.planning.recv(), Order)
        self.planning.send(Planned(list(cohorts), [], fault))

    def train(self, generations: Iterator[list[Cohort]]) -> None:
        """Train as Tune would."""
        for cohorts in generations:
            for one in cohorts:
                self.recorder.begin(one)
                finished = {index: ("finished", [0.5, 0.6, 0.7]) for index in one["trials"]}
                self.recorder.update(record(3, finished))


@pytest.fixture
def desk(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    work = stage_at(folder, root, monkeypatch)
    ours, theirs = Pipe()
    with Journal("search@digits-mlp") as journal, ours, theirs:
        campaign = Campaign(work, SearchState(folder / "state"), Planner(ours))
        yield Desk(campaign, Recorder(work, journal), theirs)


def test_what_starts_meanwhile_does_not_wait_for_the_plan(desk: Desk) -> None:
    begun = threading.Event()
    cohorts: list[Cohort] = []

    def train(generations: Iterator[list[Cohort]]) -> None:
        desk.plan(*(cohort(number) for number in range(0, 8, 2)))
        # Whoever trains has not asked yet, for it is still starting.
        assert begun.wait(PATIENCE)
        desk.train(generations)

    def begin(first: list[Cohort]) -> None:
        cohorts.extend(first)
        begun.set()

    desk.campaign.run(desk.recorder, train, begin)
    assert [one["trials"] for one in cohorts] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_fault_in_planning_is_raised_where_the_cohorts_are_asked_for(desk: Desk) -> None:
    def train(generations: Iterator[list[Cohort]]) -> None:
        desk.plan(fault="too little memory")
        desk.train(generations)

    with pytest.raises(Fault, match="too little memory"):
        desk.campaign.run(desk.recorder, train, begin=lambda _: pytest.fail("there is nothing to begin with"))


def test_who_is_interrupted_waits_for_no_plan(desk: Desk) -> None:
    def train(_: Iterator[list[Cohort]]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.campaign.run(desk.recorder, train, begin=lambda _: pytest.fail("it is too late"))
    assert [thread.name for thread in threading.enumerate() if thread.name == "first cohorts"] == []
