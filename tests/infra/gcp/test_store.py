"""The ledger in the bucket: one object per event, that can be made only once."""

from dataclasses import replace

import pytest

from infra.events import Event, Taken
from infra.faults import Refused
from infra.gcp import Gcp
from infra.settings import CloudConfig, GcpConfig
from tests.infra.gcp.conftest import SETTINGS
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import a_run


def an_event(number: int) -> Event:
    return Event(number, a_run().start, "reserved", "run", dollars=1.5, deadline=a_run().deadline)


def test_the_ledger_is_one_object_per_event(gcp: Gcp, double: Double) -> None:
    store = gcp.store()
    assert store.read() == []
    events = [an_event(number) for number in (1, 2, 3)]
    for event in events:
        store.append(event)
    assert Gcp(SETTINGS).store().read() == events
    bucket = f"fifty-fifty-{PROJECT}"
    assert sorted(double.storage.buckets[bucket]) == [f"ledger/0000000{number}.json" for number in (1, 2, 3)]
    closed = double.storage.settings[bucket]["iamConfiguration"]
    assert closed["publicAccessPrevention"] == "enforced"


def test_who_comes_second_is_told_so(gcp: Gcp, double: Double) -> None:
    """Both have read the same; the second one's object is refused by Google, not by us."""
    first, second = gcp.store(), Gcp(SETTINGS).store()
    first.append(an_event(1))
    second.read()
    double.before["storage.objects.insert"] = lambda: first.append(an_event(2))
    with pytest.raises(Taken):
        second.append(replace(an_event(2), dollars=2.0))
    assert [event.dollars for event in second.read()] == [1.5, 1.5]
    with pytest.raises(Taken):
        second.append(an_event(2))


def test_an_answer_that_is_lost_is_no_lost_event(monkeypatch: pytest.MonkeyPatch, gcp: Gcp, double: Double) -> None:
    monkeypatch.setattr("infra.gcp.clients.RETRIES", 1)
    monkeypatch.setattr("time.sleep", lambda _: None)
    store = gcp.store()
    double.fail("storage.objects.insert", 503, "backendError", acted=True)
    store.append(an_event(1))
    assert len(store.read()) == 1


def test_a_long_ledger_is_read_whole(gcp: Gcp, double: Double) -> None:
    double.storage.page = 2
    store = gcp.store()
    for number in range(1, 6):
        store.append(an_event(number))
    assert [event.number for event in Gcp(SETTINGS).store().read()] == [1, 2, 3, 4, 5]


def test_a_bucket_of_somebody_else_is_refused(gcp: Gcp, double: Double) -> None:
    double.fail("storage.objects.list", 403, "forbidden")
    with pytest.raises(Refused, match=r"cloud\.gcp\.bucket"):
        gcp.store().read()
    with pytest.raises(Refused, match="Google takes no bucket `My Bucket`"):
        Gcp(CloudConfig(gcp=GcpConfig(bucket="My Bucket"))).store()
