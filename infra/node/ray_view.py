"""What Ray says of the cluster: whether a driver is connected, whether anything runs, whether anything waits.

Asked of the dashboard on loopback, which answers in milliseconds; where that is dead, of the command `ray status`.
"""

from __future__ import annotations  # for Python 3.9

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from infra.node.processes import Process, homes

TIMEOUT = 5  # seconds
SUPERVISOR = "JobSupervisor"  # the actor that watches a submitted job; the job itself is a driver
USED = re.compile(r"^\s*([\d.]+)/[\d.]+ (?:CPU|GPU)$", re.MULTILINE)
DEMANDS = re.compile(r"Pending Demands:\s*\n(.*)", re.DOTALL)


@dataclass(frozen=True)
class Activity:
    """See `infra.node.rules.View`; None where Ray did not say."""

    driver: bool | None
    busy: bool
    waiting: bool


def ask(monitor: Process | None) -> Activity | None:
    """Ask the dashboard, or else the command; None if neither answers."""
    try:
        return _dashboard()
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"fifty: the dashboard does not answer: {error}")
    try:
        return _status(monitor) if monitor else None
    except (OSError, subprocess.SubprocessError) as error:
        print(f"fifty: `ray status` does not answer: {error}")
        return None


def _dashboard() -> Activity:
    activity = _get("/api/component_activities?timeout=4")["driver"]["is_active"]
    if activity == "ERROR":
        raise ValueError("it cannot reach the GCS")
    busy = _some("actors", "ALIVE") or _some("tasks", "RUNNING")
    waiting = not busy and (
        _some("placement_groups", "PENDING")
        or _some("tasks", "PENDING_NODE_ASSIGNMENT")
        or any(_some("actors", state) for state in ("PENDING_CREATION", "DEPENDENCIES_UNREADY", "RESTARTING"))
    )
    return Activity(activity == "ACTIVE", busy, waiting)


def _some(kind: str, state: str) -> bool:
    """Whether there is a task, actor or placement group in that state."""
    query = [("limit", "1"), ("timeout", "4")]
    for key, predicate, value in [("state", "=", state), *([("class_name", "!=", SUPERVISOR)] * (kind == "actors"))]:
        query += [("filter_keys", key), ("filter_predicates", predicate), ("filter_values", value)]
    answer = _get(f"/api/v0/{kind}?{urlencode(query)}")
    return bool(answer["data"]["result"]["result"])


def _get(path: str) -> Any:
    address = os.environ.get("FIFTY_DASHBOARD", "127.0.0.1:8265")
    headers = {"Authorization": f"Bearer {_token()}"}
    request = Request(f"http://{address}{path}", headers=headers)
    with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT) as reply:
        return json.load(reply)


def _token() -> str:
    path = token_file()
    return path.read_text().strip() if path else ""


def token_file() -> Path | None:
    """The file with the cluster's token, in the home of whoever launched Ray."""
    found = [path for home in homes() if (path := home / ".ray" / "auth_token").is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _status(monitor: Process) -> Activity:
    address = next((word.partition("=")[2] for word in monitor.command if word.startswith("--gcs-address=")), "")
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file() or "")}
    command = [str(Path(monitor.command[0]).with_name("ray")), "status", "--address", address]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    return parse_status(done.stdout)


def parse_status(text: str) -> Activity:
    """Read what `ray status` prints; of drivers it says nothing."""
    demands = DEMANDS.search(text)
    waiting = demands is not None and "(no resource demands)" not in demands[1]
    return Activity(None, any(float(used) > 0 for used in USED.findall(text)), waiting)
