"""The fake is held to what every cloud is; and it is as troublesome as it is told to be."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.cluster import Role, Run, Shape
from infra.fake import MACHINES, REGION, Fake
from infra.faults import CloudFault, NoCapacity, Refused, Throttled
from infra.runs import Place, new_id, place_of
from infra.settings import CloudConfig
from tests.infra.conformance import Conformance, Subject


def a_run() -> Run:
    start = datetime.now(UTC).replace(microsecond=0)
    return Run(
        id=new_id(Place("main", "fake", REGION), start, "1a2b"),
        cluster="main",
        project="fifty",
        cloud="fake",
        region=REGION,
        shape=Shape(MACHINES[0], MACHINES[1], 2, True, 60, 60),
        start=start,
        deadline=start + timedelta(hours=4),
        owner="nobody",
        image="image",
        ssh_from="203.0.113.7/32",
    )


def subject_of(fake: Fake) -> Subject:
    def launch(run: Run, made: dict[str, str], role: Role) -> str:
        node = fake.cluster_config(run, made, Path("key"))["nodes"][role]
        return fake.rent(node["tags"], node["machine"], run.cluster)

    return Subject(fake, a_run(), launch)


class TestInMemory(Conformance):
    @pytest.fixture
    def subject(self) -> Subject:
        return subject_of(Fake(CloudConfig()))


class TestOnAFile(Conformance):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        return subject_of(Fake(CloudConfig(), tmp_path / "cloud.json"))


class TestTrouble:
    """What the fake can be told to do."""

    @pytest.fixture
    def fake(self) -> Fake:
        return Fake(CloudConfig())

    def test_capacity_throttling_and_failures_come_so_often(self, fake: Fake) -> None:
        fake.trouble(capacity=1, throttle={"inventory": 1}, fail={"image": 2})
        with pytest.raises(NoCapacity):
            fake.launch(a_run())
        with pytest.raises(Throttled):
            fake.inventory()
        for _ in range(2):
            with pytest.raises(CloudFault):
                fake.image(MACHINES[0].machine)
        assert fake.launch(a_run())
        assert len(fake.inventory().nodes) == 1
        assert fake.image(MACHINES[0].machine)

    def test_a_new_machine_is_told_of_late(self, fake: Fake) -> None:
        fake.trouble(lag=2)
        fake.launch(a_run())
        assert [len(fake.inventory().nodes) for _ in range(4)] == [0, 0, 1, 1]

    def test_a_machine_takes_its_time_to_end(self, fake: Fake) -> None:
        fake.trouble(slow=2)
        fake.launch(a_run())
        fake.terminate(fake.inventory().nodes)
        assert [fake.inventory().nodes[0].state for _ in range(3)] == ["ending", "ending", "terminated"]

    def test_machines_power_off_at_their_deadline_and_are_forgotten(self) -> None:
        run = a_run()
        now = [run.start]
        fake = Fake(CloudConfig(), clock=lambda: now[0])
        fake.launch(run)
        now[0] = run.deadline + timedelta(minutes=1)
        (node,) = fake.inventory().nodes
        assert (node.state, node.ended) == ("terminated", run.deadline)
        now[0] = run.deadline + timedelta(hours=2)
        assert fake.inventory().nodes == ()

    @pytest.mark.parametrize("what", ["missing", "expired"])
    def test_credentials(self, what: str, fake: Fake) -> None:
        fake.trouble(credentials=what)
        with pytest.raises(Refused, match=what):
            fake.whoami()


@pytest.mark.parametrize(
    "place",
    [
        Place("main", "aws", "us-east-1"),
        Place("a-long-name-of-16", "gcp", "northamerica-northeast1-a"),
        Place("my-aws-box", "aws", "ap-southeast-2"),
        Place("x1", "fake", "nowhere"),
    ],
)
def test_a_runs_name_says_where_it_is_and_fits_a_tag(place: Place) -> None:
    name = new_id(place, datetime(2026, 11, 26, 16, 55, tzinfo=UTC), "1a2b")
    assert place_of(name) == place
    assert len(name) <= 63


def test_other_names_say_nothing() -> None:
    assert place_of("fifty-20261126-165503-1a2b") is None
