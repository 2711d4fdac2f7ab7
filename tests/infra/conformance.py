"""What every provider is held to: a cloud's tests are a subclass of `Conformance` with a fixture `subject` of its own.

class TestFake(Conformance):
    @pytest.fixture
    def subject(self) -> Subject: ...
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra import guard, record
from infra.clear import ORDER
from infra.cluster import Leftover, Machine, Node, Role, Run
from infra.context import Context
from infra.down import down
from infra.events import Event, Taken
from infra.extend import extend
from infra.faults import CloudFault, Refused
from infra.launcher import Say
from infra.ledger import Ledger, reserve
from infra.provider import Provider
from infra.status import status
from infra.up import up

TAG_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHj0cHsTzcFd/+dHmmYsVxYyH8mJZkHsT0TQZ6wkJM0k"
START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@dataclass
class Launched:
    """Stands in for `ray up`."""

    subject: "Subject"

    def check(self) -> None:
        pass

    def accept(self, config: Mapping[str, Any], run: Run) -> None:
        if run.cloud != "fake":
            guard.check(config, run)

    def __call__(self, config: Path, log: Path, say: Say) -> None:
        kept = record.load(config.stem)
        assert kept is not None
        assert json.loads(config.read_text())["cluster_name"].count(kept.run.cluster)
        self.subject.launch(kept.run, kept.made, "head")
        self.subject.launch(kept.run, kept.made, "worker")


@dataclass
class Subject:
    """A provider in an empty account.

    Attributes:
        run: one that the account may launch; its deadline is in the future.
        launch: rents a machine just as the rendered config asks for it, and returns its id; the steps have been taken.
        settle: lets time pass until what was asked for, as ending a machine, has been done.
        moves: whether the cloud can move a deadline.
    """

    provider: Provider
    run: Run
    launch: Callable[[Run, dict[str, str], Role], str]
    settle: Callable[[], None] = lambda: None
    moves: bool = True

    def context(self) -> Context:
        """What commands are called with, as if `ray up` launched by `launch`."""
        return Context(
            settings=self.provider.settings,  # type: ignore[attr-defined]
            provider=self.provider,
            region=self.run.region,
            launch=Launched(self),
            say=lambda _: None,
            warn=lambda _: None,
            sleep=lambda _: self.settle(),
            address=lambda: "203.0.113.7/32",
        )

    def make(self) -> dict[str, str]:
        """Take all steps."""
        return {step.name: step.ensure() for step in self.provider.steps(self.run, PUBLIC_KEY)}

    def nodes(self, *, costing: bool = True) -> list[Node]:
        """The run's machines, by the cloud."""
        inventory = self.provider.inventory()
        return [node for node in inventory.nodes if node.run == self.run.id and (node.costs or not costing)]

    def leftovers(self) -> list[Leftover]:
        """What is ours and no machine."""
        return list(self.provider.inventory().leftovers)

    def clear(self) -> None:
        """As `fifty down` does."""
        self.provider.terminate(self.nodes())
        self.settle()
        for _ in range(5):
            rest = sorted(self.leftovers(), key=lambda thing: ORDER.index(thing.kind))
            for thing in rest:
                try:
                    self.provider.remove(thing)
                except CloudFault:
                    self.settle()
            if not rest:
                return


class Conformance:
    """The suite."""

    def test_it_has_a_name_and_knows_who_we_are(self, subject: Subject) -> None:
        identity = subject.provider.whoami()
        assert subject.provider.name == subject.run.cloud
        assert identity.account
        assert TAG_VALUE.fullmatch(identity.owner)

    def test_offers_have_prices(self, subject: Subject) -> None:
        offers, rates, source = subject.provider.offers()
        assert source
        assert all(offer.on_demand > 0 and offer.region == subject.run.region for offer in offers)
        assert all(offer.spot is None or offer.spot > 0 for offer in offers)
        assert {subject.run.shape.head.machine.name, subject.run.shape.worker.machine.name} <= {
            offer.machine.name for offer in offers
        }
        assert min(rates.disk_gb_month, rates.address_hour, rates.storage_gb_month) > 0

    def test_a_machine_is_known_by_name_or_refused(self, subject: Subject) -> None:
        name = subject.run.shape.worker.machine.name
        assert subject.provider.machine(name).name == name
        with pytest.raises(Refused, match=r"no-such\.machine"):
            subject.provider.machine("no-such.machine")

    def test_the_run_may_be_launched(self, subject: Subject) -> None:
        subject.provider.check(subject.run)
        assert subject.provider.image(subject.run.shape.worker.machine)
        assert subject.provider.image(Machine("any", 2, 8.0))

    def test_in_an_empty_account_there_is_nothing(self, subject: Subject) -> None:
        inventory = subject.provider.inventory(everywhere=True)
        assert (inventory.nodes, inventory.leftovers, inventory.unreachable) == ((), (), {})
        assert inventory.at.tzinfo is not None
        assert inventory.memory >= timedelta(0)

    def test_steps_may_be_taken_twice(self, subject: Subject) -> None:
        names = [step.name for step in subject.provider.steps(subject.run, PUBLIC_KEY)]
        assert len(names) == len(set(names))
        first = subject.make()
        there = {(thing.kind, thing.id) for thing in subject.leftovers()}
        assert subject.make() == first
        assert {(thing.kind, thing.id) for thing in subject.leftovers()} == there
        assert subject.nodes() == []

    def test_what_steps_make_bears_our_tags(self, subject: Subject) -> None:
        subject.make()
        assert subject.leftovers()
        for thing in subject.leftovers():
            assert (thing.cluster, thing.run, thing.deadline) == (
                subject.run.cluster,
                subject.run.id,
                subject.run.deadline,
            ), thing

    def test_rendering_is_pure(self, subject: Subject) -> None:
        made = subject.make()
        calls = [subject.provider.cluster_config(subject.run, made, Path("/x/main.pem")) for _ in range(2)]
        assert calls[0] == calls[1]
        assert calls[0]["cluster_name"].count(subject.run.cluster)
        assert calls[0]["auth"]["ssh_user"]

    @pytest.mark.parametrize("role", ["head", "worker"])
    def test_a_machine_bears_everything_from_its_birth(self, role: Role, subject: Subject) -> None:
        run = subject.run
        id_ = subject.launch(run, subject.make(), role)
        (node,) = subject.nodes()
        offer = run.shape.head if role == "head" else run.shape.worker
        assert (node.id, node.cluster, node.run, node.role) == (id_, run.cluster, run.id, role)
        assert (node.machine, node.region) == (offer.machine.name, run.region)
        assert (node.deadline, node.owner) == (run.deadline, run.owner)
        assert node.costs
        assert node.ended is None
        assert node.price in {offer.on_demand, offer.spot}
        assert node.spot == (node.price == offer.spot)
        subject.provider.launched(run, node)
        subject.provider.launched(run, node)

    def test_ending_a_machine_is_safe_twice(self, subject: Subject) -> None:
        subject.launch(subject.run, subject.make(), "head")
        nodes = subject.nodes()
        subject.provider.terminate(nodes)
        subject.provider.terminate(nodes)
        subject.settle()
        assert subject.nodes() == []
        subject.provider.terminate(nodes)
        subject.provider.terminate([])
        for node in subject.nodes(costing=False):
            assert node.ended is None or node.ended >= node.launched

    def test_one_that_never_was_does_not_keep_the_others_alive(self, subject: Subject) -> None:
        subject.launch(subject.run, subject.make(), "head")
        (node,) = subject.nodes()
        stranger = replace(node, id=node.id[:-3] + ("abc" if not node.id.endswith("abc") else "abd"))
        subject.provider.terminate([stranger, node])
        subject.settle()
        assert subject.nodes() == []

    def test_everything_can_be_removed_twice(self, subject: Subject) -> None:
        subject.launch(subject.run, subject.make(), "head")
        subject.launch(subject.run, subject.make(), "worker")
        things = subject.leftovers()
        subject.clear()
        assert subject.leftovers() == []
        for thing in things:
            subject.provider.remove(thing)
        subject.clear()
        # And a new run of the same name finds nothing in its way.
        again = replace(subject.run, id=f"{subject.run.id[:-4]}ffff")
        subject.run = again
        subject.launch(again, subject.make(), "head")
        assert len(subject.nodes()) == 1

    def test_what_is_somebody_elses_is_not_ours(self, subject: Subject) -> None:
        subject.make()
        assert {thing.cluster for thing in subject.leftovers()} == {subject.run.cluster}

    def test_a_deadline_is_moved_everywhere_or_refused(self, subject: Subject) -> None:
        subject.launch(subject.run, subject.make(), "head")
        later = subject.run.deadline + timedelta(hours=1)
        if not subject.moves:
            with pytest.raises(Refused):
                subject.provider.set_deadline(subject.run, later)
            return
        for _ in range(2):
            subject.provider.set_deadline(subject.run, later)
            things = [*subject.nodes(), *subject.leftovers()]
            assert {thing.deadline for thing in things} == {later}

    def test_the_ledger_is_kept_in_order_and_a_number_can_be_taken_once(self, subject: Subject) -> None:
        store = subject.provider.store()
        assert store.read() == []
        first = Event(1, START, "reserved", "run", dollars=1.5, deadline=START + timedelta(hours=1))
        store.append(first)
        with pytest.raises(Taken):
            store.append(replace(first, run="another"))
        second = Event(2, START, "seen", "run", nodes=("a", "b"), since=START)
        subject.provider.store().append(second)
        assert store.read() == [first, second]
        assert subject.provider.store().read() == [first, second]

    def test_two_cannot_both_reserve_the_last_dollar(self, subject: Subject) -> None:
        one, two = subject.provider.store(), subject.provider.store()
        now, deadline = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1)
        reserve(one, 10.0, "one", 6.0, deadline, now)
        with pytest.raises(Refused):
            reserve(two, 10.0, "two", 6.0, deadline, now)
        assert [event.run for event in one.read()] == ["one"]

    def test_the_commands_leave_nothing(
        self, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))
        context = subject.context()
        kept = up(context)
        assert kept.run.owner == context.provider.whoami().owner
        subject.run = kept.run
        assert sorted(str(node.role) for node in subject.nodes()) == ["head", "worker"]
        assert up(context) == kept
        found = status(context, context.provider.inventory())
        assert len(found.table) == 3
        assert found.warnings == []
        if subject.moves:
            extend(context, 1.0)
        down(context)
        assert (subject.nodes(), subject.leftovers()) == ([], [])
        (account,) = Ledger(context.store.read()).runs.values()
        assert account.settled is not None
        assert 0 < account.settled < account.reserved
        assert record.load(kept.run.cluster) is None
        down(context)
