"""The double is as strict as Google's front end, and its platform does what Google's does."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from infra.gcp.clients import Clients
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.filter import matches
from tests.infra.gcp.made import ZONE

Json = dict[str, Any]
PLACE = {"project": PROJECT, "zone": ZONE}


@pytest.fixture
def compute(double: Double) -> Iterator[Any]:
    """Google's own client."""
    clients = Clients("")
    yield build("compute", "v1", http=clients.http(), cache_discovery=False)
    clients.close()


def body(name: str = "one", **changes: Any) -> Json:
    disk = {"sourceImage": "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64", "diskSizeGb": 30}
    return {
        "name": name,
        "machineType": f"zones/{ZONE}/machineTypes/e2-standard-2",
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": disk}],
        **changes,
    }


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"lables": {}}, "unknown field 'lables'"),
        ({"labels": {"a": 1}}, "body.labels.a is no string"),
        ({"scheduling": {"provisioningModel": "SPOTTY"}}, "none of FLEX_START"),
        ({"scheduling": {"terminationTime": 5}}, "terminationTime is no string"),
        ({"disks": {}}, "body.disks is no array"),
        ({"scheduling": {"provisioningModel": "SPOT"}}, "Spot cannot restart"),
        ({"labels": {"Upper": "x"}}, "Invalid value for field 'resource.labels'"),
        ({"scheduling": {"terminationTime": "2020-01-01T00:00:00Z"}}, "terminationTime has passed"),
        ({"machineType": f"zones/{ZONE}/machineTypes/huge"}, "machineTypes/huge"),
        ({"name": "Capital"}, "Invalid value for field 'resource.name'"),
        ({"serviceAccounts": [{"email": "nobody@example.com"}]}, "service account is no good"),
    ],
)
def test_a_wrong_machine_is_refused(compute: Any, double: Double, wrong: Json, says: str) -> None:
    with pytest.raises(HttpError, match="400") as caught:
        compute.instances().insert(**PLACE, body=body(**wrong)).execute()
    assert says in str(caught.value)
    double.problems.clear()


def test_a_request_without_its_parameters_is_refused(double: Double) -> None:
    clients = Clients("")
    http = clients.http()
    for target, says in (
        (f"https://storage.googleapis.com/storage/v1/b?project={PROJECT}&surprise=1", b"unknown parameter 'surprise'"),
        ("https://storage.googleapis.com/storage/v1/b", b"missing parameter 'project'"),
        ("https://compute.googleapis.com/compute/v1/projects/x/nothing", b"no method of the discovery documents"),
    ):
        _, content = http.request(target, "GET")
        assert says in content
    assert len(double.problems) == 3
    double.problems.clear()


def test_a_machine_ends_at_its_time_with_its_disk(compute: Any, double: Double) -> None:
    end = (double.compute.now() + timedelta(hours=1)).isoformat()
    plan = {"terminationTime": end, "instanceTerminationAction": "DELETE"}
    compute.instances().insert(**PLACE, body=body(scheduling=plan)).execute()
    double.compute.advance(timedelta(minutes=59))
    assert double.left() == ["disks/one", "instances/one"]
    double.compute.advance(timedelta(minutes=2))
    assert double.left() == []


def test_a_machine_that_has_halted_is_out_of_the_platforms_reach(compute: Any, double: Double) -> None:
    """As Google documents it: a time limit is cleared when a machine stops; its disk stays and is billed."""
    plan = {"maxRunDuration": {"seconds": 60}, "instanceTerminationAction": "DELETE"}
    compute.instances().insert(**PLACE, body=body(scheduling=plan)).execute()
    double.compute.power_off((ZONE, "one"))
    double.compute.advance(timedelta(hours=1))
    assert double.left() == ["disks/one", "instances/one"]


def test_operations_finish_after_a_while(compute: Any, double: Double) -> None:
    double.compute.delay = 0.2
    operation = compute.instances().insert(**PLACE, body=body()).execute()
    assert operation["status"] == "RUNNING"
    assert compute.instances().get(**PLACE, instance="one").execute()["status"] == "PROVISIONING"
    done = compute.zoneOperations().wait(**PLACE, operation=operation["name"]).execute()
    assert done["status"] == "DONE"
    assert compute.instances().get(**PLACE, instance="one").execute()["status"] == "RUNNING"


def test_what_is_in_use_cannot_be_deleted(compute: Any, double: Double) -> None:
    compute.networks().insert(project=PROJECT, body={"name": "net", "autoCreateSubnetworks": False}).execute()
    part = {"name": "part", "network": f"projects/{PROJECT}/global/networks/net", "ipCidrRange": "10.0.0.0/20"}
    compute.subnetworks().insert(project=PROJECT, region="us-central1", body=part).execute()
    with pytest.raises(HttpError, match="already being used by subnetworks"):
        compute.networks().delete(project=PROJECT, network="net").execute()
    interface = {"subnetwork": f"projects/{PROJECT}/regions/us-central1/subnetworks/part"}
    compute.instances().insert(**PLACE, body=body(networkInterfaces=[interface])).execute()
    with pytest.raises(HttpError, match="already being used by instances"):
        compute.subnetworks().delete(project=PROJECT, region="us-central1", subnetwork="part").execute()


def test_lists_come_in_pages(compute: Any, double: Double) -> None:
    double.compute.page = 2
    for number in range(5):
        compute.instances().insert(**PLACE, body=body(f"number-{number}")).execute()
    names, request = [], compute.instances().list(**PLACE)
    while request is not None:
        page = request.execute()
        names += [item["name"] for item in page["items"]]
        request = compute.instances().list_next(request, page)
    assert names == [f"number-{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("", True),
        ("labels.a = b", True),
        ("labels.a = c", False),
        ("(labels.a = b) AND ((status = UP) OR (status = DOWN)) AND (NOT labels.tpu:*)", True),
        ("(labels.a = b) AND (NOT labels.a:*)", False),
        ("labels.a != c", True),
        ('(status = "UP")', True),
    ],
)
def test_filters(expression: str, passes: bool) -> None:
    assert matches(expression, {"labels": {"a": "b"}, "status": "UP"}) is passes


@pytest.mark.parametrize("expression", ["labels.a b", "(labels.a = b", "labels.a = b)", "AND", "OR labels.a = b"])
def test_a_filter_that_is_none_is_an_error(expression: str) -> None:
    with pytest.raises(ValueError, match="no filter"):
        matches(expression, {})
