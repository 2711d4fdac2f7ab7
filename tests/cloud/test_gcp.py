"""Google Cloud with machines that are really there: its double keeps the books, namespaces are the machines."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.conftest import PACE
from tests.cloud.gcp_cluster import GcpCluster
from tests.pretend_aws.client import Pretended

MakeCluster = Callable[..., GcpCluster]


@pytest.fixture
def gcp(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeCluster]:
    """Make a project in a pretended Google Cloud of the test's own."""
    cloud = Pretended("tests.pretend_gcp.world", tmp_path / "log", pace=PACE)

    def make(name: str = "main", **settings: Any) -> GcpCluster:
        made = GcpCluster(cloud, name, **settings)
        made.note = lambda what, seconds: request.node.user_properties.append((what, seconds))
        return made

    yield make
    cloud.close()


def test_on_google_a_job_brings_a_worker_and_all_of_it_ends_by_itself(gcp: MakeCluster) -> None:
    main = gcp()
    assert "cluster main is up" in main.fifty("up", "gcp")
    job = main.job()
    try:
        output, _ = job.communicate(timeout=240)
    finally:
        main.kill(job)
    assert job.returncode == 0, output
    assert "ran on ip-10-128-" in output
    (worker,) = main.nodes("worker")
    told = main.fifty("status")
    assert worker in told
    assert main.head() in told
    main.all_off(240)
    assert not [thing for thing in main.cloud.order("left") if thing.startswith("disks/")]
    main.fifty("down")
    main.nothing_left()
    assert "nothing of cluster main is left" in main.fifty("down", "gcp")  # safe twice


def test_on_google_the_head_vanishes_and_the_worker_deletes_itself(gcp: MakeCluster) -> None:
    main = gcp()
    main.fifty("up", "gcp")
    job = main.job(seconds=600)
    try:
        main.wait_for_worker()
        main.cloud.order("vanish", {"machine": main.head()})
        main.all_off(240)
    finally:
        main.kill(job)
    main.fifty("down")
    main.nothing_left()
