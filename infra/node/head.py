"""The head's part of the watchdog: what the cluster is doing, how its workers are ended, how replacing them stops."""

from __future__ import annotations  # for Python 3.9

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.node import facts as here
from infra.node import processes, ray_view, setups
from infra.node.cloud import connect
from infra.node.facts import Facts
from infra.node.processes import Process
from infra.node.rules import View

CONFIG = "ray_bootstrap_config.yaml"  # the autoscaler reads it anew at every round
MAXIMUM = "max_workers"  # what the config allowed before replacing was stopped
WORKS = 0.2  # a process of the project that uses so much of a core is at work
PATIENCE = 45.0  # seconds for the cloud to confirm that workers are ending


def look(facts: Facts, view: View) -> View:
    """Fill in what a head sees."""
    table = list(processes.running())
    monitor = processes.monitor(table)
    ours = processes.project(table)
    counted = setups.count(facts, view.now)
    activity = ray_view.ask(monitor) if view.ready_at else None
    return replace(
        view,
        monitor_alive=monitor is not None,
        driver_alive=bool(ours) or bool(activity and activity.driver),
        busy=_at_work(ours) or bool(activity and activity.busy),
        waiting=bool(activity and activity.waiting),
        workers=counted.workers,
        failed_setups=counted.failed,
    )


def end_workers(facts: Facts) -> None:
    """End all workers by the cloud's API. What cannot be ended so ends itself a few minutes after its head."""
    monitor = processes.monitor(list(processes.running()))
    if monitor:
        # Else it would replace them.
        os.kill(monitor.pid, signal.SIGKILL)
    cloud = connect(facts)
    until, empty = time.monotonic() + max(PATIENCE * facts.pace, 2.0), 0
    # A machine that was launched a moment ago may be missing from the first list.
    while empty < 2:
        try:
            left = [worker.id for worker in cloud.workers() if worker.costs]
            empty = 0 if left else empty + 1
            if left:
                cloud.terminate(left)
        except (OSError, ValueError, KeyError) as error:
            print(f"fifty: the workers cannot be ended just now: {error}", flush=True)
        if time.monotonic() > until:
            return
        time.sleep(3 * facts.pace)


def stop_replacing(why: str) -> None:
    """Let the autoscaler have no more workers than are at its service now, and ever fewer as they end."""
    serving = setups.ready()
    for path in _configs() if serving is not None else []:
        config = json.loads(path.read_text())
        most = min(serving or 0, config["max_workers"])
        if most < config["max_workers"]:
            print(f"fifty: {why}; at most {most} workers from now on", flush=True)
            if here.read(MAXIMUM) is None:
                here.write(MAXIMUM, str(config["max_workers"]))
            _save(path, {**config, "max_workers": most})


def allow_replacing() -> None:
    """Give back what `stop_replacing` took."""
    before = here.read(MAXIMUM)
    if before is None:
        return
    for path in _configs():
        config = json.loads(path.read_text())
        _save(path, {**config, "max_workers": max(int(before), config["max_workers"])})
    (here.STATE / MAXIMUM).unlink(missing_ok=True)
    print(f"fifty: up to {before} workers may be launched again", flush=True)


def _configs() -> list[Path]:
    return [path for home in processes.homes() if (path := home / CONFIG).is_file()]


def _save(path: Path, config: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.new")
    part.write_text(json.dumps(config))
    shutil.copystat(path, part)
    owner = path.stat()
    os.chown(part, owner.st_uid, owner.st_gid)
    part.replace(path)


def _at_work(ours: list[Process]) -> bool:
    """Whether the project's processes have used the processor since the last look."""
    before = json.loads(here.read("ticks.json") or "{}")
    now = time.monotonic()
    here.write("ticks.json", json.dumps({"at": now, "used": {str(process.pid): process.ticks for process in ours}}))
    passed = now - before.get("at", now)
    if passed <= 0:
        return bool(ours)
    used = sum(process.ticks - before["used"].get(str(process.pid), 0) for process in ours)
    return bool(used / os.sysconf("SC_CLK_TCK") / passed > WORKS)
