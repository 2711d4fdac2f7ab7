"""AWS for tests: moto in a process of its own, asked over loopback with credentials that are none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from infra.aws import Aws
from infra.aws.clients import Clients
from infra.cluster import PRICE, ROLE, Machine, Offer, Run, Shape
from infra.settings import AwsConfig, CloudConfig
from tests.infra.aws import double as doubles

SMALL = Machine("m5.large", 2, 8.0)
GPU = Machine("g4dn.xlarge", 4, 16.0, "T4", 1, 16.0)
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHj0cHsTzcFd/+dHmmYsVxYyH8mJZkHsT0TQZ6wkJM0k"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBm2kZ7xVvbPgHkcyD5kZ7PBoAYjcKM3bS8q0xGQeTqV"


@pytest.fixture(scope="session")
def _moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with doubles.moto(tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture(scope="session")
def _double() -> Iterator[doubles.Double]:
    served = doubles.Double()
    yield served
    served.close()


@pytest.fixture(scope="session")
def _clients() -> Iterator[dict[str, Clients]]:
    """A client takes longer to make than a test to run."""
    made: dict[str, Clients] = {}
    yield made
    for clients in made.values():
        clients.close()


@pytest.fixture
def moto(_moto: str, _double: doubles.Double, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty AWS; its address."""
    doubles.reset(_moto)
    _double.clear()
    for name, value in {
        "AWS_ENDPOINT_URL": _moto,
        "AWS_ENDPOINT_URL_PRICING": _double.address,
        "AWS_ENDPOINT_URL_SERVICE_QUOTAS": _double.address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    return _moto


@pytest.fixture
def double(moto: str, _double: doubles.Double) -> doubles.Double:
    """Pricing and quotas, which moto lacks; empty."""
    return _double


Build = Callable[..., Aws]


@pytest.fixture
def build(moto: str, _clients: dict[str, Clients]) -> Build:
    """`Aws` with settings of the test's own."""

    def make(region: str = "us-east-1", **changes: Any) -> Aws:
        own = {name: changes.pop(name) for name in ("bucket", "schedule") if name in changes}
        aws = Aws(CloudConfig(aws=AwsConfig(region=region, **own), **changes))
        aws.clients = _clients.setdefault(region, aws.clients)
        return aws

    return make


@pytest.fixture
def fresh(moto: str) -> Iterator[Callable[[], Aws]]:
    """`Aws` whose clients are made anew, from the environment as it is now."""
    made: list[Aws] = []

    def make(region: str = "us-east-1") -> Aws:
        made.append(Aws(CloudConfig(aws=AwsConfig(region=region))))
        return made[-1]

    yield make
    for aws in made:
        aws.clients.close()


@pytest.fixture
def aws(build: Build) -> Aws:
    """`Aws` with the default settings."""
    return build()


@pytest.fixture
def run() -> Run:
    """A run as `fifty up` makes it."""
    start = datetime.now(UTC).replace(microsecond=0)
    return Run(
        id="fifty-20261126-165503-1a2b",
        cluster="main",
        project="fifty",
        cloud="aws",
        region="us-east-1",
        shape=Shape(Offer(SMALL, "us-east-1", 0.096), Offer(GPU, "us-east-1", 0.526, 0.2), 2, True, 80, 80),
        start=start,
        deadline=start + timedelta(hours=4),
        owner="alice",
        image=doubles.GPU_IMAGE,
        ssh_from="203.0.113.7/32",
    )


def make_all(aws: Aws, run: Run, key: str = PUBLIC_KEY) -> dict[str, str]:
    """Take every step."""
    return {step.name: step.ensure() for step in aws.steps(run, key)}


@contextmanager
def answering(client: Any, operation: str, code: str, *, status: int = 400, times: int = 1) -> Iterator[list[str]]:
    """AWS answers an operation with an error so many times, and then as ever; yields what was asked."""
    asked: list[str] = []
    event = f"before-send.{client.meta.service_model.service_name}.{operation}"
    said = "as the test wants it"
    body = (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{said}</Message></Error></Errors></Response>"
        if client.meta.service_model.service_name == "ec2"
        else f"<ErrorResponse><Error><Code>{code}</Code><Message>{said}</Message></Error></ErrorResponse>"
    )

    def hook(request: Any, **_: Any) -> Any:
        asked.append(operation)
        if len(asked) > times:
            return None
        raw = BytesIO(body.encode())
        raw.stream = lambda **_: iter([raw.read()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, status, {}, raw)

    client.meta.events.register(event, hook)
    try:
        yield asked
    finally:
        client.meta.events.unregister(event, hook)


def launch(aws: Aws, run: Run, made: dict[str, str], node_type: str = "head", count: int = 1) -> list[str]:
    """Launch as Ray's provider does: the node's configuration whole to RunInstances, with one of its subnets."""
    config = aws.cluster_config(run, made, Path("/tmp/key.pem"))
    node = dict(config["available_node_types"][node_type]["node_config"])
    node["SubnetId"] = node.pop("SubnetIds")[0]
    answer = aws.clients.ec2().run_instances(MinCount=count, MaxCount=count, **node)
    return [instance["InstanceId"] for instance in answer["Instances"]]


def bare(aws: Aws, tags: dict[str, str], count: int = 1, **more: Any) -> list[str]:
    """Launch machines that have nothing but tags."""
    listed: Any = [{"Key": key, "Value": value} for key, value in tags.items()]
    answer = aws.clients.ec2(more.pop("region", "")).run_instances(
        ImageId=doubles.PLAIN_IMAGE,
        InstanceType="m5.large",
        MinCount=count,
        MaxCount=count,
        TagSpecifications=[{"ResourceType": kind, "Tags": listed} for kind in ("instance", "volume")],
        **more,
    )
    return [instance["InstanceId"] for instance in answer["Instances"]]


def node_tags(run: Run, role: str = "head", price: float = 0.096) -> dict[str, str]:
    """The tags of a machine."""
    return {**run.tags(), ROLE: role, PRICE: str(round(price * 1e6))}


def with_shape(run: Run, **changes: Any) -> Run:
    """The run with another shape."""
    return replace(run, shape=replace(run.shape, **changes))
