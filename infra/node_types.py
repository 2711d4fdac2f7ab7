"""Which kinds of machines a cluster has, whatever the cloud: a head that computes nothing, and workers, spot first."""

from collections.abc import Callable
from typing import Any

from infra import ray_config
from infra.cluster import Offer, Role, Run
from infra.settings import CloudConfig

HEAD, SPOT, ON_DEMAND = "head", f"worker-{ray_config.SPOT}", "worker"
# FIFTY_SERVICE tells the watchdog that this is no work of anybody's. Where it runs already, it ends at once.
FALLBACK = (
    f"cd {ray_config.PROJECT} && FIFTY_SERVICE=1 setsid nohup .venv/bin/python -m infra.node.fallback "
    ">>~/fallback.log 2>&1 </dev/null &"
)

NodeConfig = Callable[[Role, Offer, bool], dict[str, Any]]
"""What a cloud is asked for: a machine for a role, spot or not."""


def config(run: Run, settings: CloudConfig, node: NodeConfig) -> dict[str, Any]:
    """Return what of a Ray config is the same on every cloud, with its kinds of machines; pure."""
    shape, kinds = run.shape, worker_types(run, settings)
    common = ray_config.common(run, settings, {})
    worker = shape.worker.machine
    return {
        **common,
        "head_start_ray_commands": [*common["head_start_ray_commands"], *([FALLBACK] if len(kinds) > 1 else [])],
        "head_node_type": HEAD,
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0}, "max_workers": 0, "node_config": node("head", shape.head, False)},
            **{
                name: {
                    "resources": {"CPU": worker.cores, **({"GPU": worker.gpus} if worker.gpus else {})},
                    "min_workers": 0,
                    "max_workers": shape.workers,
                    "priority": priority,
                    "node_config": node("worker", shape.worker, name == SPOT),
                }
                for name, priority in kinds.items()
            },
        },
    }


def worker_types(run: Run, settings: CloudConfig) -> dict[str, int]:
    """The kinds of workers with the order in which Ray prefers them: spot first, if at all."""
    if not run.shape.spot:
        return {ON_DEMAND: 0}
    return {SPOT: 1, ON_DEMAND: 0} if settings.fallback else {SPOT: 1}


def price(offer: Offer, *, spot: bool) -> float:
    """What a machine costs per hour, as far as it is known when it is launched."""
    return offer.spot if spot and offer.spot is not None else offer.on_demand
