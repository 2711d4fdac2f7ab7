"""A person's project folder in the pretended Google Cloud, and what a test asks that cloud."""

import json
from pathlib import Path
from typing import Any

from tests.cloud.project import Project
from tests.pretend_aws.client import Pretended

HERE = "10.128.255.1/32"  # the person's address
ZONE = "us-central1-a"
# The account that Ray wants, and what it may do: disabled, it is no one's and costs nothing.
STAYS = "ray-autoscaler-sa-v1@"


class GcpCluster(Project):
    """One cluster on Google Cloud, with its folder."""

    def __init__(self, cloud: Pretended, name: str, **settings: Any) -> None:
        place = {"worker": "n1-standard-4+nvidia-tesla-t4", "zone": ZONE}
        super().__init__(cloud, name, **{"ssh_from": HERE, "gcp": place, **settings})

    def nodes(self, role: str = "") -> list[str]:
        """Names of the machines that are not deleted."""
        found = [thing.removeprefix("instances/") for thing in self.cloud.order("left") if "instances/" in thing]
        return [name for name in found if f"-{role}" in name]

    def head(self) -> str:
        """The head's name."""
        return self.nodes("head")[0]

    def head_address(self) -> str:
        """See `Project.head_address`."""
        return str(self.cloud.machines()[self.head()]["public"])

    def wait_for_worker(self, seconds: float = 150) -> str:
        """Wait until a worker is set up and at work; its name."""
        ready = "test -e /var/lib/fifty/marks/ready"

        def up() -> list[str]:
            on = self.cloud.machines().keys() & set(self.nodes("worker"))
            return [one for one in on if self.cloud.on_machine(one, ready).returncode == 0]

        self.wait("a worker is set up", up, seconds)
        return up()[0]

    def told(self) -> str:
        """See `Project.told`."""
        machines: Path = self.cloud.root / "pretend/machines"
        lines = [line for folder in machines.glob("*") for line in [folder.name, *self.logs(folder.name)]]
        return "\n".join([*self.cloud.order("left"), *self.cloud.order("problems"), *lines])

    def nothing_left(self) -> None:
        """What every scenario ends with, and no request was one that Google does not know."""
        assert [thing for thing in self.cloud.order("left") if STAYS not in thing] == []
        assert self.cloud.order("problems") == []
        assert not list((self.outside / ".fifty/cloud").glob(f"{self.name}.[jpy]*"))
        objects = self.cloud.order("objects")
        events = [json.loads(text) for name, text in sorted(objects.items()) if "ledger/" in name]
        reserved = {event["run"]: event["dollars"] for event in events if event["kind"] == "reserved"}
        settled = {event["run"]: event["dollars"] for event in events if event["kind"] == "settled"}
        assert reserved
        assert reserved.keys() == settled.keys()
        assert all(0 <= settled[run] <= reserved[run] for run in reserved), events
