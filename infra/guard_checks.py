"""What every cluster config must have, whichever cloud it is for. A row is a name, a sentence and a question."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from infra import ray_config
from infra.cluster import Run
from infra.userdata import NodeFacts, userdata

FACTS = re.compile(r"^cat >/opt/fifty/node\.json <<'FIFTY'\n(.*)\nFIFTY$", re.MULTILINE)
SSH_FROM = re.compile(r"^ssh_from=([0-9.]*)(?:/32)?(?:\s|$)", re.MULTILINE)
LONGEST = 168 * 3600  # seconds that a cluster launched by hand may live


@dataclass(frozen=True)
class NodeType:
    """One of `available_node_types`.

    Attributes:
        config: its `node_config`.
        script: what a machine of it runs first.
    """

    name: str
    role: str
    config: Mapping[str, Any]
    script: str

    @property
    def facts(self) -> NodeFacts:
        """What the script tells the machine about itself; ValueError if it tells nothing."""
        found = FACTS.search(self.script)
        if not found:
            raise ValueError(f"{self.name} has no node.json")
        told = json.loads(found[1])
        deadline = told.pop("deadline")
        given = SSH_FROM.search(self.script)
        moment = None if deadline is None else datetime.fromtimestamp(deadline, UTC)
        return NodeFacts(**told, deadline=moment, ssh_from=given[1] if given else "")


@dataclass(frozen=True)
class Config:
    """A config and what it was rendered for, None if it is launched by hand."""

    raw: Mapping[str, Any]
    run: Run | None

    @cached_property
    def types(self) -> list[NodeType]:
        """All node types; ValueError if head or workers are missing."""
        head = self.raw["head_node_type"]
        kinds = self.raw["available_node_types"]
        if head not in kinds or len(kinds) < 2:
            raise ValueError("a cluster has a head and workers")
        return [
            NodeType(name, "head" if name == head else "worker", kind["node_config"], first_script(kind["node_config"]))
            for name, kind in kinds.items()
        ]

    def every(self, holds: Callable[[NodeType], bool]) -> bool:
        """Whether it holds for the node types, each of them."""
        return all(holds(kind) for kind in self.types)

    def starts(self, role: str) -> str:
        """The command that starts Ray."""
        return next(str(line) for line in self.raw[f"{role}_start_ray_commands"] if " start " in line)


@dataclass(frozen=True)
class Check:
    """One safety: `holds` may raise for a config that is not even shaped as it should be, which counts as no."""

    name: str
    sentence: str
    holds: Callable[[Config], bool]


def first_script(node: Mapping[str, Any]) -> str:
    """What a machine runs first: UserData on AWS, the item `startup-script` of the metadata on GCP."""
    if "UserData" in node:
        return str(node["UserData"])
    items = node.get("metadata", {}).get("items", [])
    return next((str(item["value"]) for item in items if item.get("key") == "startup-script"), "")


def _armed(config: Config) -> bool:
    """The script is what `userdata` renders and nothing else: what followed could undo it; set-up is its place."""
    cloud = config.raw["provider"]["type"]

    def whole(kind: NodeType) -> bool:
        # Whoever fills in their address may put a comment beside it.
        script = re.sub(r"^(ssh_from=\S*) +#.*$", r"\1", kind.script, flags=re.MULTILINE)
        return script.split() == userdata(kind.facts).split() and kind.facts.cloud == cloud

    return config.every(whole)


def _deadline(config: Config) -> bool:
    run = config.run
    if run is not None:
        until = int(run.deadline.timestamp())
        return config.every(lambda kind: kind.facts.deadline == datetime.fromtimestamp(until, UTC))
    lives = {kind.facts.relative_seconds for kind in config.types}
    return len(lives) == 1 and all(life is not None and 0 < life <= LONGEST for life in lives)


def _whose(config: Config) -> bool:
    run = config.run

    def ours(kind: NodeType) -> bool:
        facts = kind.facts
        told = (facts.project, facts.cluster, facts.run)
        return facts.role == kind.role and (run is None or told == (run.project, run.cluster, run.id))

    return config.every(ours)


def _starts_with(config: Config, variables: Mapping[str, str]) -> bool:
    return all(
        re.search(rf"\bexport {name}={value};.* start ", config.starts(role))
        for role in ("head", "worker")
        for name, value in variables.items()
    )


def _token(config: Config) -> bool:
    text = json.dumps({key: value for key, value in config.raw.items() if key.endswith("_commands")})
    sent = ray_config.TOKEN in config.raw["cluster_synced_files"]
    return sent and "RAY_AUTH_TOKEN=" not in text and _starts_with(config, {"RAY_AUTH_MODE": "token"})


def _loopback(config: Config) -> bool:
    start = config.starts("head")
    return re.findall(r"--dashboard-host[= ](\S+)", start) == ["127.0.0.1"]


def _idle(config: Config) -> bool:
    minutes = config.raw["idle_timeout_minutes"]
    kept = [kind.get("min_workers", 0) for kind in config.raw["available_node_types"].values()]
    return bool(0 < minutes <= 60 and not any(kept))


def _workers(config: Config) -> bool:
    most: int = config.raw["max_workers"]
    return bool(0 <= most <= (config.run.shape.workers if config.run else 100))


def _patience(config: Config) -> bool:
    start = config.starts("head")
    return all(f"export {name}=" in start for name in ray_config.PATIENCE)


def _set_up(config: Config) -> bool:
    commands = config.raw["initialization_commands"] + config.raw["setup_commands"]
    first = commands[0] if commands else ""
    watched = all(
        any(
            "infra/node/setup.sh" in line
            for line in config.raw["setup_commands"] + config.raw[f"{role}_setup_commands"]
        )
        for role in ("head", "worker")
    )
    ready = all(
        any("marks/ready" in line for line in config.raw[f"{role}_start_ray_commands"]) for role in ("head", "worker")
    )
    return bool(first == ray_config.ARMED and watched and ready)


CHECKS = (
    Check("armed", "the script that a machine runs first must be the one that arms the switch that ends it", _armed),
    Check("deadline", "head and workers must end at the one deadline that was reserved", _deadline),
    Check(
        "whose", "each machine must be told its own role, cluster and run, or its watchdog acts on another's", _whose
    ),
    Check(
        "terminate",
        "`provider.cache_stopped_nodes` must be false, else machines are stopped and their disks kept and billed",
        lambda config: config.raw["provider"]["cache_stopped_nodes"] is False,
    ),
    Check(
        "keepalive",
        "Ray must start with its keepalive variables, else a vanished worker is noticed after seven minutes",
        lambda config: _starts_with(
            config, {name: value for name, value in ray_config.ENVIRONMENT.items() if "keepalive" in name}
        ),
    ),
    Check(
        "token",
        "Ray must start with RAY_AUTH_MODE=token and be sent the token's file, and no command may name it",
        _token,
    ),
    Check("loopback", "the dashboard must listen on 127.0.0.1 alone", _loopback),
    Check(
        "idle", "workers must end when they have been idle for at most an hour, and none may be kept for ever", _idle
    ),
    Check("workers", "there may be no more workers than were reserved for", _workers),
    Check("patience", "the autoscaler must not wait an hour for a set-up that hangs", _patience),
    Check("set-up", "set-up must see that the switch is armed, install the watchdog and say when it is done", _set_up),
)
