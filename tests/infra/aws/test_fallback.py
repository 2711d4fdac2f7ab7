"""Where no spot machine is to be had, the autoscaler is made to prefer on-demand ones for a while."""

import json
from pathlib import Path
from typing import Any

from infra.aws import config
from infra.cluster import Run
from infra.node.fallback import RECOVERY_SECONDS, Seen, look, preferred
from infra.settings import CloudConfig
from tests.infra.aws.test_config import KEY, MADE

REFUSED = (
    "2026-11-26 17:00:00,000 INFO node_provider.py:465 -- Failed to launch 2 nodes of type worker-spot: "
    "Node Launch Exception (InsufficientInstanceCapacity): We currently do not have sufficient capacity.\n"
)


def _order(rendered: dict[str, Any]) -> list[str]:
    workers = {name: kind for name, kind in rendered["available_node_types"].items() if name != "head"}
    return sorted(workers, key=lambda name: -workers[name]["priority"])


def test_spot_comes_after_on_demand_for_a_while(run: Run) -> None:
    rendered = config.render(run, CloudConfig(), MADE, KEY)
    assert _order(rendered) == ["worker-spot", "worker"]
    assert preferred(rendered, {}, 0.0) == rendered
    turned = preferred(rendered, {"worker-spot": 100.0}, 101.0)
    assert _order(turned) == ["worker", "worker-spot"]
    assert preferred(turned, {"worker-spot": 100.0}, 102.0) == turned
    assert preferred(turned, {"worker-spot": 100.0}, 101.0 + RECOVERY_SECONDS) == rendered
    # What a machine is launched with stays as it is, or Ray would replace those that run.
    for name, kind in rendered["available_node_types"].items():
        assert turned["available_node_types"][name]["node_config"] == kind["node_config"]


def test_both_refused_leaves_the_order(run: Run) -> None:
    rendered = config.render(run, CloudConfig(), MADE, KEY)
    assert _order(preferred(rendered, {"worker-spot": 1.0, "worker": 1.0}, 2.0)) == ["worker-spot", "worker"]


def test_the_log_is_followed(run: Run, tmp_path: Path) -> None:
    path, log, seen = tmp_path / "config.yaml", tmp_path / "monitor.log", Seen()
    rendered = config.render(run, CloudConfig(), MADE, KEY)
    path.write_text(json.dumps(rendered))
    assert not look(seen, log, path, 0.0)
    log.write_text("Launching 2 nodes of type worker-spot.\n" + REFUSED[:-5])
    assert not look(seen, log, path, 1.0)
    log.write_text("Launching 2 nodes of type worker-spot.\n" + REFUSED)
    assert look(seen, log, path, 2.0)
    assert _order(json.loads(path.read_text())) == ["worker", "worker-spot"]
    assert not look(seen, log, path, 3.0)
    # Ray was started anew: another log.
    log.unlink()
    log.write_text("x\n")
    assert look(seen, log, path, 2.0 + RECOVERY_SECONDS)
    assert json.loads(path.read_text()) == rendered


def test_other_failures_change_nothing(run: Run, tmp_path: Path) -> None:
    path, log = tmp_path / "config.yaml", tmp_path / "monitor.log"
    path.write_text(json.dumps(config.render(run, CloudConfig(), MADE, KEY)))
    log.write_text(REFUSED.replace("InsufficientInstanceCapacity", "UnauthorizedOperation"))
    assert not look(Seen(), log, path, 1.0)
    path.write_text("{")
    log.write_text(REFUSED)
    assert not look(Seen(), log, path, 1.0)


def test_it_is_started_where_there_is_something_to_fall_back_on(run: Run) -> None:
    def started(settings: CloudConfig) -> bool:
        commands = config.render(run, settings, MADE, KEY)["head_start_ray_commands"]
        return any("infra.node.fallback" in command and "FIFTY_SERVICE=1" in command for command in commands)

    assert started(CloudConfig())
    assert not started(CloudConfig(fallback=False))
