"""The ledger in a bucket, which two machines may write at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.aws import Aws, bucket
from infra.events import Event, Taken
from infra.faults import CloudFault, Fault, Refused
from infra.ledger_bucket import BucketStore
from tests.infra.aws.conftest import Build, answering

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)


def _event(number: int, run: str = "r") -> Event:
    return Event(number, AT, "reserved", run, dollars=float(number), deadline=AT)


def test_events_come_back_in_order(aws: Aws) -> None:
    assert aws.store().read() == []
    store = aws.store()
    events = [_event(1), Event(2, AT, "seen", "r", nodes=("i-1", "i-2")), _event(3)]
    for event in events:
        store.append(event)
    assert store.read() == events
    assert aws.store().read() == events


def test_nothing_is_made_by_reading(aws: Aws) -> None:
    aws.store().read()
    assert aws.clients.s3().list_buckets()["Buckets"] == []


def test_the_bucket_is_closed_to_others(aws: Aws) -> None:
    store = aws.store()
    store.append(_event(1))
    s3 = aws.clients.s3()
    assert store.bucket.name == "fifty-fifty-123456789012"
    assert all(s3.get_public_access_block(Bucket=store.bucket.name)["PublicAccessBlockConfiguration"].values())
    rules: Any = s3.get_bucket_encryption(Bucket=store.bucket.name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_versioning(Bucket=store.bucket.name)["Status"] == "Enabled"
    assert s3.get_bucket_tagging(Bucket=store.bucket.name)["TagSet"] == [{"Key": "fifty-project", "Value": "fifty"}]
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=store.bucket.name)["Contents"]] == [
        "ledger/00000001.json"
    ]


def test_a_bucket_outside_the_first_region(build: Build) -> None:
    aws = build("eu-west-1")
    aws.store().append(_event(1))
    where = aws.clients.s3().get_bucket_location(Bucket=aws.store().bucket.name)
    assert where["LocationConstraint"] == "eu-west-1"


def test_a_persons_own_bucket_is_left_as_it_is(build: Build) -> None:
    aws = build(bucket="my-own")
    s3 = aws.clients.s3()
    s3.create_bucket(Bucket="my-own")
    s3.put_bucket_tagging(Bucket="my-own", Tagging={"TagSet": [{"Key": "mine", "Value": "yes"}]})
    aws.store().append(_event(1))
    assert s3.get_bucket_tagging(Bucket="my-own")["TagSet"] == [{"Key": "mine", "Value": "yes"}]
    assert "Status" not in s3.get_bucket_versioning(Bucket="my-own")


def test_somebody_elses_bucket_is_refused(build: Build) -> None:
    aws = build(bucket="theirs")
    with (
        answering(aws.clients.s3(), "ListObjectsV2", "AccessDenied", status=403),
        pytest.raises(Refused, match=r"cloud\.aws\.bucket: `theirs` belongs to somebody else"),
    ):
        aws.store().append(_event(1))


def test_a_number_is_taken_once(aws: Aws) -> None:
    one, other = aws.store(), aws.store()
    one.append(_event(1, "one"))
    with pytest.raises(Taken):
        other.append(_event(1, "other"))
    assert [event.run for event in other.read()] == ["one"]


def test_of_many_at_once_one_wins(aws: Aws) -> None:
    aws.store().append(_event(1))

    def race(name: str) -> bool:
        store = BucketStore(aws.store().bucket)
        store._ready = True
        # Nobody looks first: the bucket itself must decide.
        store.bucket.keys = lambda prefix: ["ledger/00000001.json"]  # type: ignore[method-assign]
        try:
            store.append(_event(2, name))
        except Taken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, map(str, range(8))))
    assert won.count(True) == 1
    assert [event.run for event in aws.store().read()][1] == str(won.index(True))


def test_a_lost_answer_is_no_lost_race(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    store = aws.store()
    store.append(_event(1))
    store.bucket.keys = lambda prefix: []  # type: ignore[method-assign]
    # botocore has sent it twice, and the second time it was there.
    store.append(_event(1))


def test_no_gap_is_left(aws: Aws) -> None:
    with pytest.raises(ValueError, match="gap"):
        aws.store().append(_event(2))


def test_a_ledger_with_a_hole_is_not_trusted(aws: Aws) -> None:
    store = aws.store()
    for number in (1, 2, 3):
        store.append(_event(number))
    aws.clients.s3().delete_object(Bucket=store.bucket.name, Key="ledger/00000002.json")
    with pytest.raises(Fault, match="event 2 is missing"):
        store.read()


def test_what_is_no_event_is_not_trusted(aws: Aws) -> None:
    store = aws.store()
    store.append(_event(1))
    aws.clients.s3().put_object(Bucket=store.bucket.name, Key="ledger/00000002.json", Body=b"{}")
    with pytest.raises(Fault, match="no event of a ledger"):
        store.read()


def test_more_events_than_s3_lists_at_once(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PAGE", 7)
    store = aws.store()
    for number in range(1, 26):
        store.append(_event(number))
    assert [event.number for event in aws.store().read()] == list(range(1, 26))


def test_when_s3_fails_nothing_is_lost_or_taken(aws: Aws) -> None:
    store = aws.store()
    store.append(_event(1))
    with (
        answering(aws.clients.s3(), "PutObject", "AccessDenied", status=403),
        pytest.raises(CloudFault, match="may not"),
    ):
        store.append(_event(2))
    store.append(_event(2))
    assert len(store.read()) == 2
