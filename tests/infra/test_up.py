"""`fifty up`: it reserves before it launches, refuses what the budget does not allow, and goes on after any death."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from infra import record
from infra.down import down
from infra.extend import extend
from infra.faults import CloudFault, Fault, NoCapacity, Refused
from infra.launcher import Say
from infra.ledger import reserve
from infra.up import up
from tests.infra.desk import Desk, desk
from tests.infra.killing import Killed, Reaper, watched

pytestmark = pytest.mark.usefixtures("folder")
# More than there are in a whole `fifty up`: before and after every call to the world.
MOST_MOMENTS = 200


def test_it_launches_one_head_and_reserves_the_worst_case(folder: Path) -> None:
    me = desk()
    kept = up(me.context)
    assert me.alive() == ["head"]
    (account,) = me.ledger.open_runs()
    assert account.id == kept.run.id
    assert account.deadline == kept.run.deadline == me.clock.now.replace(microsecond=0) + timedelta(hours=4)
    assert account.reserved == pytest.approx(4 * (0.10 + 2 * 0.60), rel=0.1)
    assert kept.status == "up"
    assert [event.kind for event in account.events] == ["reserved", "launched", "seen"]


def test_the_reservation_stands_before_anything_is_made() -> None:
    me = desk()

    class Nosy:
        check, accept = me.context.launch.check, me.context.launch.accept

        def __call__(self, config: Path, log: Path, say: Say) -> None:
            assert len(me.ledger.open_runs()) == 1
            assert me.kept is not None
            assert me.kept.status == "launching"
            me.context.launch(config, log, say)

    up(me.again(launch=Nosy()).context)
    calls = list(me.fake.state.look().calls)
    assert calls.index("append") < calls.index("key") < calls.index("launch")


def test_the_ledger_of_this_machine_alone() -> None:
    me = desk(ledger="local")
    up(me.context)
    assert len(me.ledger.open_runs()) == 1
    assert record.ledger_file().exists()
    assert me.fake.state.look().events == []
    down(me.context)
    me.assert_nothing_left()


def test_a_second_up_changes_nothing() -> None:
    me = desk()
    first = up(me.context)
    me.clock.now += timedelta(hours=1)
    assert up(me.context) == first
    assert me.alive() == ["head"]
    assert me.fake.state.look().calls["launch"] == 1


def test_a_head_that_has_gone_is_launched_again_in_the_same_run() -> None:
    me = desk()
    first = up(me.context)
    me.fake.terminate(me.fake.inventory().nodes)
    me.clock.now += timedelta(minutes=5)
    second = up(me.context)
    assert second.run == first.run
    assert me.alive() == ["head"]
    assert len(me.ledger.open_runs()) == 1


@pytest.mark.parametrize(("budget", "hours"), [(1.0, 4.0), (5.0, 4.0), (50.0, 168.0)])
def test_what_the_budget_does_not_allow_is_refused(budget: float, hours: float) -> None:
    me = desk(budget_usd=budget, hours=hours)
    with pytest.raises(Refused, match=r"(?s)budget.*(would fit|left)"):
        up(me.context)
    me.assert_nothing_left()
    assert me.fake.state.look().calls.get("launch") is None


def test_what_others_have_reserved_counts() -> None:
    me = desk(budget_usd=8.0)
    deadline = me.clock.now + timedelta(hours=1)
    reserve(me.context.store, 8.0, "somebody-else", 7.5, deadline, me.clock.now)
    with pytest.raises(Refused, match=r"budget"):
        up(me.context)
    assert [account.id for account in me.ledger.open_runs()] == ["somebody-else"]


@pytest.mark.parametrize("what", ["missing", "expired"])
def test_without_credentials_nothing_is_begun(what: str) -> None:
    me = desk()
    me.fake.trouble(credentials=what)
    with pytest.raises(Refused, match=what):
        up(me.context)
    me.fake.trouble(credentials="")
    me.assert_nothing_left()


def test_without_quota_nothing_is_begun() -> None:
    me = desk()
    me.fake.trouble(quota=0)
    with pytest.raises(Refused, match="quota"):
        up(me.context)
    me.assert_nothing_left()


def test_an_open_key_file_is_refused() -> None:
    me = desk()
    record.write(record.file("main", ".pem"), b"secret")
    record.file("main", ".pem").chmod(0o644)
    with pytest.raises(Refused, match=r"open to others \(mode 644\).*chmod 600"):
        up(me.context)
    assert me.kept is None
    assert me.ledger.open_runs() == []


def test_its_own_key_is_closed_to_others() -> None:
    kept = up(desk().context)
    for suffix in (".pem", ".json", ".yaml"):
        assert record.file("main", suffix).stat().st_mode & 0o077 == 0, suffix
    assert kept.key.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")


def test_no_capacity_is_a_sentence_and_the_next_up_goes_on() -> None:
    me = desk()
    me.fake.trouble(capacity=1)
    with pytest.raises(NoCapacity, match=r"no small.*`fifty up` goes on.*`fifty down` removes"):
        up(me.context)
    run = me.kept.run if me.kept else None
    assert up(me.context).run == run
    assert me.alive() == ["head"]
    assert len(me.ledger.open_runs()) == 1


@pytest.mark.parametrize("method", ["key", "group", "profile", "deadline", "inventory", "offers", "launched"])
def test_a_throttled_cloud_is_asked_again(method: str) -> None:
    me = desk()
    me.fake.trouble(throttle={method: 1})
    if method in ("inventory", "offers"):  # nothing was begun: the person asks again
        with pytest.raises(Fault):
            up(me.context)
    up(me.context)
    assert me.alive() == ["head"]


@pytest.mark.parametrize("method", ["key", "group", "profile", "deadline", "launch", "launched", "append", "image"])
def test_an_api_that_fails_midway_leaves_what_down_clears(method: str) -> None:
    me = desk()
    me.fake.trouble(fail={method: 9})
    with pytest.raises(CloudFault):
        up(me.context)
    me.fake.trouble(fail={})
    down(me.context)
    me.assert_nothing_left()


def test_a_head_that_is_told_of_late_is_waited_for() -> None:
    me = desk()
    me.fake.trouble(lag=3)
    up(me.context)
    assert me.alive() == ["head"]


def test_two_heads_become_one() -> None:
    """`ray up` was killed and begun again before the cloud told of the first head."""
    me = desk()
    me.fake.trouble(lag=3)
    with pytest.raises(Killed):
        up(watched(me.context, Reaper(named=("launch", 1, "after")), lambda *_: None))
    me.clock.now += timedelta(seconds=1)
    up(me.context)
    for _ in range(4):
        me.fake.inventory()
    assert me.alive() == ["head", "head"]
    up(me.context)
    assert me.alive() == ["head"]


def test_a_run_that_is_over_is_cleared_away_first() -> None:
    me = desk()
    first = up(me.context)
    me.clock.now += timedelta(hours=5)
    second = up(me.context)
    assert second.run.id != first.run.id
    assert me.alive() == ["head"]
    settled = me.ledger.run(first.run.id)
    assert settled is not None
    assert settled.settled is not None


def test_from_another_address_ssh_is_opened_to_that() -> None:
    me = desk(ssh_from="auto")
    up(me.context)
    away = me.again(address=lambda: "198.51.100.9/32")
    assert up(away.context).run.ssh_from == "198.51.100.9/32"


def test_an_interrupted_down_must_be_finished_first() -> None:
    me = desk()
    record.save(replace(up(me.context), status="ending"))
    with pytest.raises(Refused, match="interrupted"):
        up(me.context)


def test_a_lost_key_is_told(folder: Path) -> None:
    me = desk()
    up(me.context).key.unlink()
    with pytest.raises(Fault, match=r"gone.*`fifty down`"):
        up(me.context)
    down(me.context)
    me.assert_nothing_left()


def test_a_cluster_whose_record_is_elsewhere_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = desk()
    up(me.context)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(Refused, match=r"runs already.*launched by nobody.*`fifty down`.*cloud.cluster"):
        up(me.context)
    assert me.alive() == ["head"]


class TestKilled:
    """After every call to the world; before the next one is the same."""

    @staticmethod
    def _killed(me: Desk, at: int, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Kill `fifty up` at a moment; whether it came so far."""
        with monkeypatch.context() as patch:
            reaper = Reaper(at)
            try:
                up(watched(me.context, reaper, patch.setattr))
            except Killed:
                return True
            return False

    @pytest.mark.parametrize("share", range(2))
    @pytest.mark.parametrize("then", ["down", "down elsewhere", "up, extended, down"])
    def test_then(self, share: int, then: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for at in range(2 * share + 1, MOST_MOMENTS, 4):
            place = folder / str(at)
            place.mkdir()
            monkeypatch.chdir(place)
            me = desk(workers=1)
            killed = self._killed(me, at, monkeypatch)
            me = desk(me.fake, me.clock, workers=1)
            me.clock.now += timedelta(minutes=7)
            before = me.kept
            if then.startswith("up"):
                after = up(me.context)
                assert before is None or (before.run == after.run)
                self._assert_one_run(me)
            if "extended" in then:
                extend(me.context, 1.0)
                assert me.kept is not None
                assert me.kept.run.deadline == after.run.deadline + timedelta(hours=1)
            if then == "down elsewhere":
                (place / "elsewhere").mkdir()
                monkeypatch.chdir(place / "elsewhere")
            if "down" in then:
                down(me.context)
                if then == "down elsewhere" and me.ledger.open_runs():
                    # No head was ever seen, and the launch may be under way there: the reservation outlasts it.
                    me.clock.now = me.ledger.open_runs()[0].deadline + me.context.margin
                    down(me.context)
                me.assert_nothing_left()
            if not killed:
                assert at > 40
                return
        raise AssertionError("never came to its end")

    @staticmethod
    def _assert_one_run(me: Desk) -> None:
        assert me.alive().count("head") == 1
        (account,) = me.ledger.open_runs()
        assert len([event for event in account.events if event.kind == "reserved"]) == 1
        assert len(me.ledger.runs) == 1
