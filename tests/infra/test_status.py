"""`fifty status` and the report of what is past its deadline: from the cloud, with a warning for what should not be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.activity import ask, told
from infra.cluster import CLUSTER, DEADLINE, PRICE, ROLE, RUN, Leftover
from infra.down import down
from infra.node.rules import View, to_text
from infra.overdue import report
from infra.status import Report, status
from infra.up import up
from tests.infra.desk import Desk, desk

pytestmark = pytest.mark.usefixtures("folder")


def look(me: Desk) -> Report:
    return status(me.context, me.fake.inventory())


def test_nothing_is_told_as_nothing() -> None:
    found = look(desk())
    assert found.table == ["no machine of project fifty runs"]
    assert found.money == [
        "budget $50.00: $0.00 spent by ended runs, $0.00 reserved by running ones, $50.00 left",
    ]
    assert found.warnings == []


def test_every_machine_with_age_price_dollars_and_deadline() -> None:
    me = desk(workers=1)
    run = up(me.context).run
    me.fake.launch(run, "worker", spot=True)
    me.clock.now += timedelta(hours=1, minutes=30)
    found = look(me)
    assert found.table == [
        "machine  cluster  role    type   spot  state           age     price  so far  off            doing",
        "m-1      main     head    small        running  1 h 30 min  $0.100/h   $0.15  in 2 h 30 min  ?",
        "m-2      main     worker  gpu          running  1 h 30 min  $0.600/h   $0.90  in 2 h 30 min  ?",
        "m-3      main     worker  gpu    spot  running  1 h 30 min  $0.200/h   $0.30  in 2 h 30 min  ?",
    ]
    assert found.warnings == []
    assert found.money == [
        f"run {run.id}: $1.35 spent of $5.63 reserved, off in 2 h 30 min",
        "budget $50.00: $0.00 spent by ended runs, $5.63 reserved by running ones, $44.37 left",
    ]


def test_what_machines_do_is_asked_of_their_head() -> None:
    me = desk(workers=1)
    up(me.context)
    for doing, rows in {"idle for 7 min": ["doing", "idle for 7 min", "idle"], "busy": ["doing", "busy", "?"]}.items():
        asked = me.again(activity=lambda kept, head, doing=doing: doing)
        assert [line.split("  ")[-1] for line in look(asked).table] == rows


def test_a_heads_view_is_told_in_a_word() -> None:
    now = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    view = View(now, "head", now, now)
    assert told(to_text(view)) == "setting up"
    view = replace(view, ready_at=now)
    assert told(to_text(view)) == "idle"
    assert told(to_text(replace(view, idle_since=now - timedelta(minutes=7)))) == "idle for 7 min"
    assert told(to_text(replace(view, waiting=True))) == "waiting for workers"
    assert told(to_text(replace(view, busy=True))) == "busy"
    assert told("nonsense") == ""


def test_a_head_that_cannot_be_asked_says_nothing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    me = desk()
    kept = up(me.context)
    monkeypatch.setenv("PATH", str(folder))
    assert ask(kept, me.fake.inventory().nodes[0]) == ""


def test_each_look_makes_the_ledger_more_exact() -> None:
    me = desk()
    me.fake.launch(up(me.context).run, "worker")
    before = len(me.ledger.open_runs()[0].lives)
    look(me)
    assert len(me.ledger.open_runs()[0].lives) == before + 1


def test_what_should_not_be_there_is_told() -> None:
    me = desk()
    run = up(me.context).run
    me.fake.trouble(undying=True)
    later = str(int((me.clock.now + timedelta(hours=1)).timestamp()))
    me.fake.rent({RUN: "theirs", ROLE: "worker", DEADLINE: later, PRICE: "100000"}, "gpu", "other")
    me.fake.rent({RUN: run.id, ROLE: "worker", CLUSTER: "main"}, "gpu", "main")
    stopped = me.fake.launch(run, "worker")
    me.fake.stop(stopped)
    me.fake.launch(run, "head")
    with me.fake.state.changing("") as state:
        state.leftovers["d"] = Leftover("disk", "d", "main", "nowhere", None, run.id)
        state.leftovers["k"] = Leftover("key", "k", "gone", "nowhere", None, "older")
    assert sorted(look(me).warnings) == [
        "cluster main in nowhere has several heads: m-1, m-5; `fifty down`",
        "cluster other in nowhere has no head; its workers power off by themselves in minutes",
        "disk d of cluster main hangs on no machine and is billed; `fifty down`",
        "key k of cluster gone is left over; `fifty down` removes it",
        "m-2: of a run that the ledger does not know (theirs); launched by hand, or not by `fifty`",
        "m-3: bears no price, so that nobody can say what it costs",
        "m-3: has no deadline",
        "m-4: is stopped, and its disk is billed; `fifty down`",
    ]
    me.clock.now += timedelta(hours=5)
    late = look(me).warnings
    assert sum("should have been off for" in line for line in late) == 4


def test_a_settled_run_that_still_has_machines_is_told() -> None:
    me = desk()
    run = up(me.context).run
    down(me.context)
    me.fake.launch(run, "worker")
    assert any("was settled as ended" in line for line in look(me).warnings)


def test_regions_that_cannot_be_asked_are_told() -> None:
    me = desk()
    inventory = replace(me.fake.inventory(), unreachable={"far-1": "forbidden"})
    assert status(me.context, inventory).warnings == ["far-1 could not be asked: forbidden"]


def test_what_is_past_its_deadline_is_reported_by_cluster() -> None:
    me = desk(workers=2)
    up(me.context)
    report(me.context)
    assert me.warned == []
    me.fake.trouble(undying=True)
    me.clock.now += timedelta(hours=6)
    report(me.context)
    (line,) = me.warned
    assert line.startswith(
        "past its deadline for 2 h 00 min: 3 machines, 1 key, 1 group, 1 profile of cluster main in nowhere"
    )
    assert line.endswith("`fifty reap` removes it")
