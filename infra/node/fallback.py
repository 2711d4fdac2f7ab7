"""Beside Ray on the head: where there is no spot machine to be had, on-demand ones are launched for a while.

    python -m infra.node.fallback

Ray's autoscaler goes by the `priority` of its node types, and does not lower that of one whose launch is refused: it
would ask for it again for ever. It does read its config anew at every round, so the priorities are changed in there:
a type that was refused for want of capacity comes after all the others for ten minutes, and then first again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG = Path("/tmp/ray/session_latest/logs/monitor.log")  # noqa: S108 (Ray's own place)
CONFIG = Path("~/ray_bootstrap_config.yaml")
EVERY_SECONDS, RECOVERY_SECONDS = 3.0, 600.0
# So far down a type goes; the priorities of a config are small numbers.
DOWN = 1000
REFUSED = re.compile(
    r"Failed to launch \d+ nodes of type ([\w-]+): .*"
    r"\b(?:InsufficientInstanceCapacity|InsufficientHostCapacity|InsufficientCapacity|SpotMaxPriceTooLow|Unsupported|"
    r"MaxSpotInstanceCountExceeded|InstanceLimitExceeded|VcpuLimitExceeded|ZONE_RESOURCE_POOL_EXHAUSTED\w*)"
)


@dataclass
class Seen:
    """What was read of the log, and when each type was last refused."""

    file: int = 0
    offset: int = 0
    refused: dict[str, float] = field(default_factory=dict)


def read(seen: Seen, log: Path, now: float) -> None:
    """Read what was written into the log since the last time."""
    try:
        with log.open("rb") as lines:
            there = os.fstat(lines.fileno())
            if there.st_ino != seen.file or there.st_size < seen.offset:
                seen.file, seen.offset = there.st_ino, 0
            lines.seek(seen.offset)
            written = lines.read()
    except OSError:
        return
    whole = written[: written.rfind(b"\n") + 1]
    seen.offset += len(whole)
    for match in REFUSED.finditer(whole.decode(errors="replace")):
        seen.refused[match[1]] = now


def preferred(config: Mapping[str, Any], refused: Mapping[str, float], now: float) -> dict[str, Any]:
    """The config with the types that were refused a short while ago behind all others; pure."""
    types = {}
    for name, kind in config["available_node_types"].items():
        priority = int(kind.get("priority", 0))
        own = priority + DOWN if priority < -DOWN // 2 else priority
        last = refused.get(name)
        down = last is not None and now - last < RECOVERY_SECONDS
        types[name] = kind if "priority" not in kind else {**kind, "priority": own - DOWN if down else own}
    return {**config, "available_node_types": types}


def look(seen: Seen, log: Path, path: Path, now: float) -> bool:
    """Look once; whether the config was changed."""
    read(seen, log, now)
    try:
        config = json.loads(path.read_text())
        wanted = preferred(config, seen.refused, now)
    except (OSError, ValueError, KeyError):
        return False
    if wanted == config:
        return False
    part = path.with_name(f".{path.name}.fallback")
    part.touch(mode=0o600)
    part.write_text(json.dumps(wanted))
    part.replace(path)
    order = {name: kind["priority"] for name, kind in wanted["available_node_types"].items() if "priority" in kind}
    print(f"fifty: the order of the kinds of workers is now {order}", flush=True)
    return True


def main() -> None:
    """Look again and again; a second one of it ends at once."""
    path = CONFIG.expanduser()
    with path.with_name(".fifty_fallback").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        seen = Seen()
        while True:
            look(seen, LOG, path, time.time())
            time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    main()
