"""Cluster configs as `fifty up` renders them and as they are committed, for what examines configs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from infra.cluster import Machine, Offer, Run, Shape
from infra.settings import CloudConfig
from tests.infra.nodes import CHECKOUT

START = datetime(2026, 11, 26, 16, 0, tzinfo=UTC)
KEY = Path("/nowhere/main.pem")


def run(cloud: str, *, gpus: int = 1, spot: float | None = 0.1578, workers: int = 3) -> Run:
    """A run that has been reserved."""
    region = {"aws": "eu-west-1", "gcp": "europe-west4-a"}[cloud]
    head, worker = {"aws": ("t3.large", "g4dn.xlarge"), "gcp": ("e2-standard-2", "g2-standard-4")}[cloud]
    gpu = {"gpu": "T4", "gpus": gpus, "gpu_memory_gb": 16.0} if gpus else {}
    shape = Shape(
        head=Offer(Machine(head, 2, 8.0), region, 0.0912),
        worker=Offer(Machine(worker, 4, 16.0, **gpu), region, 0.587, spot),  # type: ignore[arg-type]
        workers=workers,
        spot=spot is not None,
        head_disk_gb=60,
        worker_disk_gb=60,
    )
    return Run(
        id="fifty-20261126-160000-1a2b",
        cluster="main",
        project="fifty",
        cloud=cloud,
        region=region,
        shape=shape,
        start=START,
        deadline=START + timedelta(hours=4),
        owner="ada",
        image={"aws": "ami-0123456789abcdef0", "gcp": "projects/ubuntu-os-cloud/global/images/ubuntu-2204"}[cloud],
        ssh_from="203.0.113.7/32",
    )


def rendered(cloud: str, **changed: Any) -> dict[str, Any]:
    """What the provider renders for `run`."""
    if cloud == "aws":
        from infra.aws import config

        made = {
            "key": "fifty-main",
            "group": "sg-0123456789abcdef0",
            "head-subnets": "subnet-0a,subnet-0b",
            "worker-subnets": "subnet-0a,subnet-0b",
            "head-profile": "fifty-main-head",
            "worker-profile": "fifty-main-worker",
            "root": "/dev/sda1",
        }
        return config.render(run(cloud, **changed), CloudConfig(), made, KEY)
    from infra.gcp import config as gcp

    made = {
        "key": "ssh-ed25519 AAAA fifty",
        "subnetwork": "projects/fifty-1/regions/europe-west4/subnetworks/fifty-main",
        "head-account": "head@fifty-1.iam.gserviceaccount.com",
        "worker-account": "worker@fifty-1.iam.gserviceaccount.com",
    }
    return gcp.render(run(cloud, **changed), CloudConfig(), made, KEY)


def committed(cloud: str) -> dict[str, Any]:
    """infra/aws.yaml or infra/gcp.yaml as it is."""
    config: dict[str, Any] = YAML(typ="safe").load(CHECKOUT / "infra" / f"{cloud}.yaml")
    return config
