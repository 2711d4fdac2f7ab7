"""The Ray cluster config for Ray's own, unmodified AWS provider. Pure.

What stands in `node_config` goes whole to RunInstances, so everything that ends a machine, closes it or says whose it
is stands there, and takes effect in the very call that creates it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra import ray_config
from infra.aws.images import SSH_USER
from infra.aws.names import base, tag_list
from infra.budget import spot_ceiling
from infra.cluster import PRICE, ROLE, Machine, Offer, Role, Run
from infra.settings import CloudConfig
from infra.userdata import NodeFacts, userdata

HEAD, SPOT, ON_DEMAND = "head", f"worker-{ray_config.SPOT}", "worker"
# FIFTY_SERVICE tells the watchdog that this is no work of anybody's. Where it runs already, it ends at once.
FALLBACK = (
    f"cd {ray_config.PROJECT} && FIFTY_SERVICE=1 setsid nohup .venv/bin/python -m infra.node.fallback "
    ">>~/fallback.log 2>&1 </dev/null &"
)


def render(run: Run, settings: CloudConfig, made: Mapping[str, str], key: Path) -> dict[str, Any]:
    """Render the config.

    Args:
        run: with image and deadline.
        settings: the section `cloud`.
        made: the id that each of `Aws.steps` returned, by its name.
        key: file of the private key.
    """
    common = ray_config.common(run, settings, {})
    types = worker_types(run, settings)
    return {
        **common,
        # Ray goes by this name alone: another project of the account may well have a cluster `main`, too.
        "cluster_name": base(run.project, run.cluster),
        "head_start_ray_commands": [*common["head_start_ray_commands"], *([FALLBACK] if len(types) > 1 else [])],
        "provider": {
            "type": "aws",
            "region": run.region,
            # Else Ray stops machines instead of terminating them, and their disks are billed.
            "cache_stopped_nodes": False,
        },
        "auth": {"ssh_user": SSH_USER, "ssh_private_key": str(key)},
        "head_node_type": HEAD,
        "available_node_types": {
            HEAD: {
                "resources": {"CPU": 0},
                "max_workers": 0,
                "node_config": _node(run, settings, made, "head", run.shape.head, spot=False),
            },
            **{
                name: {
                    "resources": _resources(run.shape.worker.machine),
                    "min_workers": 0,
                    "max_workers": run.shape.workers,
                    "priority": priority,
                    "node_config": _node(run, settings, made, "worker", run.shape.worker, spot=name == SPOT),
                }
                for name, priority in types.items()
            },
        },
    }


def worker_types(run: Run, settings: CloudConfig) -> dict[str, int]:
    """The kinds of workers with the order in which Ray prefers them: spot first, if at all."""
    if not run.shape.spot:
        return {ON_DEMAND: 0}
    return {SPOT: 1, ON_DEMAND: 0} if settings.fallback else {SPOT: 1}


def _resources(machine: Machine) -> dict[str, int]:
    return {"CPU": machine.cores, **({"GPU": machine.gpus} if machine.gpus else {})}


def price(offer: Offer, *, spot: bool) -> float:
    """What a machine costs per hour, as far as it is known when it is launched."""
    return offer.spot if spot and offer.spot is not None else offer.on_demand


def _node(
    run: Run, settings: CloudConfig, made: Mapping[str, str], role: Role, offer: Offer, *, spot: bool
) -> dict[str, Any]:
    """What RunInstances is asked for."""
    facts = NodeFacts(
        cloud="aws",
        region=run.region,
        project=run.project,
        cluster=run.cluster,
        run=run.id,
        role=role,
        deadline=run.deadline,
        idle_minutes=settings.idle_minutes,
        relative_seconds=None,
    )
    tags = {**run.tags(), ROLE: role, PRICE: str(round(price(offer, spot=spot) * 1e6))}
    disk_gb = run.shape.head_disk_gb if role == "head" else run.shape.worker_disk_gb
    node: dict[str, Any] = {
        "InstanceType": offer.machine.name,
        "ImageId": run.image,
        "KeyName": made["key"],
        "SubnetIds": made[f"{role}-subnets"].split(","),
        "SecurityGroupIds": [made["group"]],
        "IamInstanceProfile": {"Name": made[f"{role}-profile"]},
        "UserData": userdata(facts),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": [
            {
                "DeviceName": made["root"],
                "Ebs": {"VolumeSize": disk_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True},
            }
        ],
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": tag_list(tags)},
            {"ResourceType": "volume", "Tags": tag_list(run.tags(), base(run.project, run.cluster))},
        ],
    }
    if spot:
        # The ledger books a spot machine as if its price had risen to this; AWS ends it before it rises above.
        most = spot_ceiling(price(offer, spot=True), offer.on_demand)
        node["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {
                "MaxPrice": f"{most:.6f}",
                "SpotInstanceType": "one-time",
                "InstanceInterruptionBehavior": "terminate",
            },
        }
    return node
