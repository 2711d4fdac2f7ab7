"""A pretended machine whose processes see each other and no others, with the watchdog to look at them."""

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.cluster import Role
from infra.userdata import NodeFacts
from tests.infra.node_server import World
from tests.infra.nodes import PYTHON, Site

LOOK = f"{PYTHON} -B -m infra.node.watchdog"
TWICE = f"{LOOK}; sleep 0.3; {LOOK}"
# What the project's processes use of the processor is known at the second look, and missing since then at the third.
THRICE = f"{LOOK}; sleep 0.5; {TWICE}"
# Minutes become milliseconds.
PACE = 1 / 10_000


class Node(Site):
    """A machine of its own: its processes see each other and no others."""

    def __init__(
        self, folder: Path, world: World, role: Role, *, idle_minutes: float = 60.0, hours: float = 1.0
    ) -> None:
        super().__init__(folder)
        self.world = world
        self.variables |= {
            "AWS_ENDPOINT_URL": world.url,
            "FIFTY_DASHBOARD": world.url.removeprefix("http://"),
            "FIFTY_PACE": str(PACE),
        }
        now = time.time()
        deadline = datetime.now(UTC) + timedelta(hours=hours)
        facts = NodeFacts("aws", "eu-west-1", "fifty", "main", "fifty-1", role, deadline, idle_minutes)
        self.born(facts, booted=now - 0.5 * 3600)
        told = {"deadline": int(deadline.timestamp()), "at": int(now), "slow": 0.0}
        (folder / "state/told.json").write_text(json.dumps(told))
        token = folder / "user/.ray/auth_token"
        token.parent.mkdir()
        token.write_text(world.token)
        (folder / "user/fifty").mkdir()
        # The monitor is known by its command: the interpreter of the environment that Ray is in, and Ray's own file.
        monitor = folder / "venv/lib/ray/autoscaler/v2/monitor.py"
        monitor.parent.mkdir(parents=True)
        monitor.write_text("import time\ntime.sleep(600)\n")
        (folder / "venv/bin").mkdir()
        (folder / "venv/bin/python").symlink_to(PYTHON)
        self.config = folder / "user/ray_bootstrap_config.yaml"
        self.config.write_text(json.dumps({"max_workers": 3, "provider": {"type": "aws"}}))

    @property
    def monitor(self) -> str:
        environment = f"{self.folder}/venv"
        return f"{environment}/bin/python {environment}/lib/ray/autoscaler/v2/monitor.py --gcs-address=10.0.0.1:6379 & "

    def inside(self, script: str) -> str:
        if os.geteuid() != 0 or not shutil.which("unshare"):
            pytest.skip(
                "needs root and unshare: the watchdog reads the process table, and must see no others' Ray in it"
            )
        return self.run("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", f"{script}\nexit 0")

    @property
    def most(self) -> int:
        return int(json.loads(self.config.read_text())["max_workers"])

    def alive(self) -> list[str]:
        return [name for name, told in self.world.instances.items() if told["state"] == "running"]
