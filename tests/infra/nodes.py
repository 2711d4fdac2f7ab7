"""A pretended machine for the scripts that every node runs: its own folders, and a `shutdown` that only takes note."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from infra.userdata import NodeFacts, facts_json

CHECKOUT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
NOTHING_THERE = "http://127.0.0.1:9"  # the discard port: refused at once


@dataclass
class Site:
    """Where a pretended machine keeps its things.

    Attributes:
        variables: of its processes, besides those that say where its things are.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=lambda: {"AWS_ENDPOINT_URL": NOTHING_THERE, **KEYS})

    def __post_init__(self) -> None:
        for name in ("home", "state/marks", "bin", "user"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.stand_in("shutdown", f'echo "$*" >>{self.folder}/off')

    def stand_in(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def born(self, facts: NodeFacts, booted: float | None = None) -> None:
        """Write what UserData writes."""
        (self.folder / "home/node.json").write_text(facts_json(facts))
        (self.folder / "state/booted").write_text(f"{int(time.time() if booted is None else booted)}\n")

    def mark(self, name: str, text: str = "", ago: float = 0.0) -> None:
        path = self.folder / "state/marks" / name
        path.write_text(text)
        os.utime(path, (time.time() - ago, time.time() - ago))

    def remembers(self, name: str) -> str:
        return (self.folder / "state" / name).read_text()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "FIFTY_HOME": str(self.folder / "home"),
            "FIFTY_STATE": str(self.folder / "state"),
            "FIFTY_USER_HOME": str(self.folder / "user"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": NOTHING_THERE,
            **self.variables,
        }

    def run(self, *command: str) -> str:
        """Run a command on the machine to its end; returns all it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def deadman(self, *arguments: str) -> str:
        return self.run(PYTHON, "-B", "-m", "infra.node.deadman", *arguments)

    @property
    def off(self) -> bool:
        """Whether it has been told to power off."""
        return (self.folder / "off").exists()
