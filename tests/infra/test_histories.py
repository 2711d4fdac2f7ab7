"""Any order of commands, killed anywhere, files lost, hours passing: never over budget, and `fifty down` ends it."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra import record
from infra.down import down
from infra.extend import extend
from infra.faults import Fault
from infra.overdue import report
from infra.reap import reap
from infra.status import status
from infra.up import up
from tests.infra.desk import Clock, Desk, desk
from tests.infra.killing import Killed, Reaper, watched

BUDGET = 12.0
COMMANDS: dict[str, Callable[[Any], object]] = {
    "up": up,
    "down": down,
    "reap": reap,
    "reap all": lambda context: reap(context, everything=True),
    "extend": lambda context: extend(context, 1.0),
    "status": lambda context: status(context, report(context)),
}
steps = st.one_of(
    st.tuples(st.sampled_from(sorted(COMMANDS)), st.none() | st.integers(0, 60)),
    st.tuples(st.just("wait"), st.integers(1, 300)),
    st.tuples(st.just("work"), st.integers(1, 2)),
    st.tuples(st.sampled_from(["lose the files", "no capacity", "late news"]), st.none()),
)


class Player:
    """Plays a history at one desk."""

    def __init__(self) -> None:
        self.me = self.sit(None)

    @staticmethod
    def sit(old: Desk | None) -> Desk:
        return desk(old.fake if old else None, old.clock if old else Clock(), budget_usd=BUDGET, hours=2.0)

    def play(self, what: str, how: int | None) -> None:
        me = self.me
        if what in COMMANDS:
            self.command(COMMANDS[what], how)
        elif what == "wait":
            me.clock.now += timedelta(minutes=how or 0)
        elif what == "work":
            self.work(how or 0)
        elif what == "lose the files":
            shutil.rmtree(record.folder(), ignore_errors=True)
        else:
            me.fake.trouble(**({"capacity": 1} if what == "no capacity" else {"lag": 2}))

    def command(self, command: Callable[[Any], object], at: int | None) -> None:
        """Run it, perhaps to its death."""
        with pytest.MonkeyPatch.context() as patch, suppress(Killed, Fault):
            command(self.me.context if at is None else watched(self.me.context, Reaper(at), patch.setattr))
        self.me = self.sit(self.me)

    def work(self, workers: int) -> None:
        """The head launches workers, while it lives and never more than it may."""
        self.me.fake.bill()  # what is past its deadline is off
        # The autoscaler knows what it has launched, whether or not the cloud tells of it yet.
        alive = [node for node in self.me.fake.state.look().nodes.values() if node.costs]
        heads = [node for node in alive if node.role == "head"]
        kept = self.me.kept
        if heads and kept and heads[0].run == kept.run.id:
            for _ in range(min(workers, kept.run.shape.workers - (len(alive) - len(heads)))):
                with suppress(Fault):
                    self.me.fake.launch(kept.run, "worker")

    def look(self) -> None:
        """What must be true at any time."""
        ledger = self.me.ledger
        assert ledger.committed() <= BUDGET + 1e-9
        assert self.me.fake.bill() <= ledger.committed() + 1e-9


@given(st.lists(steps, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_history(history: list[tuple[str, int | None]]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(folder))
        player = Player()
        for what, how in history:
            player.play(what, how)
            player.look()
        player.me.fake.trouble(lag=0, capacity=0)
        down(player.me.context)
        player.look()
        # A run without its record, and of which no head was seen, is settled when its deadline has passed.
        player.me.clock.now += timedelta(hours=24)
        down(player.me.context)
        player.look()
        player.me.assert_nothing_left()
