"""The Ray cluster config for Ray's own, unmodified AWS provider. Pure.

What stands in `node_config` goes whole to RunInstances, so everything that ends a machine, closes it or says whose it
is stands there, and takes effect in the very call that creates it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra import node_types
from infra.aws.images import SSH_USER
from infra.aws.names import base, tag_list
from infra.budget import spot_ceiling
from infra.cluster import PRICE, ROLE, Offer, Role, Run
from infra.settings import CloudConfig
from infra.userdata import NodeFacts, userdata


def render(run: Run, settings: CloudConfig, made: Mapping[str, str], key: Path) -> dict[str, Any]:
    """Render the config.

    Args:
        run: with image and deadline.
        settings: the section `cloud`.
        made: the id that each of `Aws.steps` returned, by its name.
        key: file of the private key.
    """

    def node(role: Role, offer: Offer, spot: bool) -> dict[str, Any]:
        return _node(run, settings, made, role, offer, spot=spot)

    return {
        **node_types.config(run, settings, node),
        # Ray goes by this name alone: another project of the account may well have a cluster `main`, too.
        "cluster_name": base(run.project, run.cluster),
        "provider": {
            "type": "aws",
            "region": run.region,
            # Else Ray stops machines instead of terminating them, and their disks are billed.
            "cache_stopped_nodes": False,
        },
        "auth": {"ssh_user": SSH_USER, "ssh_private_key": str(key)},
    }


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
    tags = {**run.tags(), ROLE: role, PRICE: str(round(node_types.price(offer, spot=spot) * 1e6))}
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
        most = spot_ceiling(node_types.price(offer, spot=True), offer.on_demand)
        node["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {
                "MaxPrice": f"{most:.6f}",
                "SpotInstanceType": "one-time",
                "InstanceInterruptionBehavior": "terminate",
            },
        }
    return node
