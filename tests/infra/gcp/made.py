"""A run to test with, and what its steps have made."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.cluster import Machine, Offer, Run, Shape
from infra.gcp import Gcp

ZONE = "us-central1-a"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5u1Xc nobody"
HEAD = Offer(Machine("e2-standard-2", 2, 8.0), ZONE, 0.067, 0.0268)
T4 = Offer(Machine("n1-standard-4+nvidia-tesla-t4", 4, 15.0, "T4", 1, 16.0), ZONE, 0.54, 0.1675)
L4 = Offer(Machine("g2-standard-4", 4, 16.0, "L4", 1, 24.0), ZONE, 0.7068, 0.2827)
IMAGE = "projects/ubuntu-os-accelerator-images/global/images/ubuntu-accelerator-2204-amd64-with-nvidia-580-v20261101"


def a_run(hours: float = 4.0, *, worker: Offer = T4, spot: bool = True, **changes: Any) -> Run:
    """A run that ends so many hours from now."""
    now = datetime.now(UTC).replace(microsecond=0)
    run = Run(
        id="main-gcp-us-central1-a-2611261655-1a2b",
        cluster="main",
        project="fifty",
        cloud="gcp",
        region=ZONE,
        shape=Shape(HEAD, worker, 2, spot, 60, 60),
        start=now,
        deadline=now + timedelta(hours=hours),
        owner="somebody",
        image=IMAGE,
        ssh_from="203.0.113.7/32",
    )
    return replace(run, **changes)


def make(gcp: Gcp, run: Run) -> dict[str, str]:
    """Take all steps."""
    return {step.name: step.ensure() for step in gcp.steps(run, PUBLIC_KEY)}
