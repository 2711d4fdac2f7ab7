"""`fifty down` and `fifty reap`: nothing is left and the books are closed; safe twice, safe when half done."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from infra import record
from infra.cluster import CLUSTER, DEADLINE, PRICE, PROJECT, ROLE, RUN, Inventory, Leftover
from infra.down import down
from infra.fake import Fake
from infra.faults import CloudFault, Fault
from infra.reap import reap
from infra.up import up
from tests.infra.desk import Desk, desk
from tests.infra.killing import Killed, Reaper, watched

pytestmark = pytest.mark.usefixtures("folder")
MOST_MOMENTS = 200


def launched(**section: object) -> Desk:
    me = desk(workers=2, **section)
    up(me.context)
    me.clock.now += timedelta(hours=1)
    return me


def test_everything_goes_and_the_books_are_closed() -> None:
    me = launched()
    run = me.ledger.open_runs()[0].id
    down(me.context)
    me.assert_nothing_left()
    settled = me.ledger.run(run)
    assert settled is not None
    # An hour of a head and two workers, their disks and addresses; seconds more until the cloud confirms.
    assert settled.settled == pytest.approx(0.10 + 2 * 0.60, rel=0.05)


def test_what_is_not_there_is_taken_down_too() -> None:
    me = desk()
    down(me.context)
    down(me.context)
    me.assert_nothing_left()


def test_machines_go_before_anything_else() -> None:
    me = launched()
    me.fake.trouble(slow=3)
    down(me.context)
    confirmed = next(number for number, line in enumerate(me.said) if "confirms that 3 machines ended" in line)
    removed = [number for number, line in enumerate(me.said) if line.startswith("removed")]
    assert min(removed) > confirmed
    me.assert_nothing_left()


def test_a_machine_that_the_cloud_tells_of_late_is_not_missed() -> None:
    me = desk()
    me.fake.trouble(lag=3)
    with pytest.raises(Killed):
        up(watched(me.context, Reaper(named=("launch", 1, "after")), lambda *_: None))
    down(me.context)
    me.assert_nothing_left()


def test_one_that_is_told_of_when_everything_seemed_gone_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = desk()
    me.fake.trouble(lag=2)
    with pytest.raises(Killed):
        up(watched(me.context, Reaper(named=("launch", 1, "after")), lambda *_: None))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    down(me.context)
    me.assert_nothing_left()


def test_a_stopped_machine_and_a_lost_disk_go_too() -> None:
    me = launched()
    me.fake.stop(me.fake.inventory().nodes[0].id)
    with me.fake.state.changing("") as state:
        state.leftovers["disk-9"] = Leftover("disk", "disk-9", "main", "nowhere", None)
        state.leftovers["other"] = Leftover("disk", "other", "another", "nowhere", None)
    down(me.context)
    assert list(me.fake.state.look().leftovers) == ["other"]
    assert me.alive() == []


def test_without_any_local_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = launched()
    run = me.ledger.open_runs()[0].id
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    down(me.context)
    me.assert_nothing_left()
    settled = me.ledger.run(run)
    assert settled is not None
    assert settled.settled == pytest.approx(0.10 + 2 * 0.60, rel=0.3)
    assert settled.settled >= 0.10 + 2 * 0.60


def test_without_any_local_file_and_long_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cloud has forgotten the machines: what may have run unseen counts as having run."""
    me = launched()
    account = me.ledger.open_runs()[0]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    me.clock.now += timedelta(hours=20)
    down(me.context)
    me.assert_nothing_left()
    settled = me.ledger.run(account.id)
    assert settled is not None
    assert settled.settled is not None
    assert 3 * (0.10 + 2 * 0.60) < settled.settled <= account.reserved


def test_a_damaged_record_does_not_matter() -> None:
    me = launched()
    record.write(record.file("main"), b"{}")
    down(me.context)
    me.assert_nothing_left()
    assert any("cannot be read" in line for line in me.warned)


def test_a_machine_launched_by_hand_goes_without_books() -> None:
    me = desk()
    me.fake.rent({PROJECT: "fifty", CLUSTER: "main", ROLE: "head"}, "small", "main")
    down(me.context)
    me.assert_nothing_left()


@pytest.mark.parametrize("method", ["inventory", "terminate", "remove"])
@pytest.mark.parametrize("trouble", ["throttle", "fail"])
def test_a_cloud_in_trouble_is_asked_again(method: str, trouble: str) -> None:
    me = launched()
    me.fake.trouble(**{trouble: {method: 2}})
    down(me.context)
    me.assert_nothing_left()


def test_a_cloud_that_goes_on_failing_is_a_sentence_that_says_what_to_do() -> None:
    me = launched()
    me.fake.trouble(fail={"terminate": 4})
    with pytest.raises(CloudFault, match=r"terminate failed; machines may still run: `fifty down` again"):
        down(me.context)
    down(desk(me.fake, me.clock).context)
    me.assert_nothing_left()


def test_a_cloud_that_never_confirms_is_a_sentence_and_can_be_repeated() -> None:
    me = launched()
    me.fake.trouble(slow=10**6)
    with pytest.raises(Fault, match=r"after 10 min .*m-1 \(ending\).*same command again"):
        down(me.context)
    assert len(me.ledger.open_runs()) == 1
    me.fake.trouble(slow=0)
    with me.fake.state.changing("") as state:
        state.ending = {}
    down(me.context)
    me.assert_nothing_left()


def test_what_cannot_be_removed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    me = launched()
    me.fake.trouble(fail={"remove": 10**6})
    with pytest.raises(Fault, match=r"cannot be removed: group group-main, key key-main.*same command again"):
        down(me.context)
    assert me.alive() == []
    me.fake.trouble(fail={})
    down(me.context)
    me.assert_nothing_left()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_interrupted_anywhere_it_is_repeated(elsewhere: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(1, MOST_MOMENTS, 2):
        place = folder / str(at)
        place.mkdir()
        monkeypatch.chdir(place)
        me = launched()
        me.fake.trouble(slow=1)
        killed = False
        with monkeypatch.context() as patch:
            try:
                down(watched(me.context, Reaper(at), patch.setattr))
            except Killed:
                killed = True
        if elsewhere:
            (place / "elsewhere").mkdir()
            monkeypatch.chdir(place / "elsewhere")
        down(desk(me.fake, me.clock).context)
        me.assert_nothing_left()
        if not killed:
            assert at > 20
            return
    raise AssertionError("never came to its end")


class TestReap:
    """By tags alone, whoever launched it."""

    def test_what_is_within_its_deadline_stays(self) -> None:
        me = launched()
        reap(me.context)
        assert me.alive() == ["head", "worker", "worker"]
        assert me.kept is not None
        assert len(me.fake.state.look().leftovers) == 3

    @pytest.mark.parametrize("at_home", [True, False])
    def test_what_is_past_it_goes(self, at_home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        me = launched()
        me.fake.trouble(undying=True)
        me.clock.now += timedelta(hours=6)
        if not at_home:
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")
        reap(me.context)
        me.assert_nothing_left()

    def test_all_takes_everything(self) -> None:
        me = launched()
        reap(me.context, everything=True)
        me.assert_nothing_left()

    def test_what_ended_by_itself_is_settled_and_its_rest_removed(self) -> None:
        me = launched()
        me.clock.now += timedelta(hours=6)
        reap(me.context)
        me.assert_nothing_left()

    def test_machines_of_nobody_go_and_those_without_a_deadline_stay(self) -> None:
        me = desk()
        past = str(int(me.clock.now.timestamp()) - 60)
        me.fake.trouble(undying=True)
        me.fake.rent({DEADLINE: past, RUN: "unknown", PRICE: "100"}, "small", "theirs")
        kept = me.fake.rent({RUN: "unknown"}, "small", "theirs")
        reap(me.context)
        assert [node.id for node in me.fake.state.look().nodes.values() if node.costs] == [kept]
        reap(me.context, everything=True)
        assert me.alive() == []

    def test_a_group_with_an_old_deadline_stays_while_its_machines_do(self) -> None:
        """An interrupted `fifty extend` moved some tags, and others not."""
        me = launched()
        with me.fake.state.changing("") as state:
            for thing in list(state.leftovers.values()):
                state.leftovers[thing.id] = replace(thing, deadline=me.clock.now)
        me.clock.now += timedelta(minutes=1)
        reap(me.context)
        assert len(me.fake.state.look().leftovers) == 3

    def test_regions_that_cannot_be_asked_are_told(self) -> None:
        me = desk()

        class Deaf(Fake):
            def inventory(self, *, everywhere: bool = False) -> Inventory:
                return replace(super().inventory(), unreachable={"far-1": "forbidden"} if everywhere else {})

        deaf = me.again(provider=Deaf(me.context.settings, clock=me.clock))
        reap(deaf.context)
        with pytest.raises(Fault, match=r"1 region could not be looked at: far-1 \(forbidden\)"):
            reap(deaf.context, all_regions=True)
