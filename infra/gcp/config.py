"""The Ray cluster config for Ray's own, unmodified GCP provider. Pure.

What stands in `node_config` goes whole into the call that creates a machine, so everything that ends it, closes it or
says whose it is stands there. The platform itself deletes each machine at `terminationTime`: an absolute time, for
`maxRunDuration` would begin anew with every replacement.
"""

from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from infra import node_types
from infra.cluster import PRICE, ROLE, Machine, Offer, Role, Run
from infra.gcp.machines import DRIVERS, PLAIN, accelerator_of, parts
from infra.gcp.names import base, region
from infra.settings import CloudConfig
from infra.userdata import NodeFacts, userdata

SSH_USER = "ubuntu"
# Ray's own default is `cloud-platform`: everything that the account may do anywhere. Ours may only do things in
# Compute Engine, whatever rights somebody gives their accounts.
SCOPES = ["https://www.googleapis.com/auth/compute"]

Json = dict[str, Any]


def render(run: Run, settings: CloudConfig, made: Mapping[str, str], key: Path) -> Json:
    """Render the config.

    Args:
        run: with image and deadline.
        settings: the section `cloud`.
        made: the id that each of `Gcp.steps` returned, by its name.
        key: file of the private key.
    """

    def made_for(role: Role, offer: Offer, spot: bool) -> Json:
        return node(run, settings, made, role, offer, spot=spot)

    return {
        **node_types.config(run, settings, made_for),
        # Ray takes for its own whatever bears this name, of another `cloud.project` in Google's same one as well.
        "cluster_name": base(run),
        "provider": {
            "type": "gcp",
            "region": region(run.region),
            "availability_zone": run.region,
            "project_id": made["subnetwork"].split("/")[1],
            # Else Ray stops machines instead of deleting them, and their disks are billed.
            "cache_stopped_nodes": False,
        },
        # With a key of its own Ray puts none into the metadata of the whole project.
        "auth": {"ssh_user": SSH_USER, "ssh_private_key": str(key)},
    }


def node(run: Run, settings: CloudConfig, made: Mapping[str, str], role: Role, offer: Offer, *, spot: bool) -> Json:
    """What Compute Engine is asked for."""
    disk_gb = run.shape.head_disk_gb if role == "head" else run.shape.worker_disk_gb
    facts = NodeFacts(
        cloud="gcp",
        region=run.region,
        project=run.project,
        cluster=run.cluster,
        run=run.id,
        role=role,
        deadline=run.deadline,
        idle_minutes=settings.idle_minutes,
        relative_seconds=None,
    )
    return {
        "machineType": parts(offer.machine.name)[0],
        **accelerators(offer.machine),
        "scheduling": scheduling(run, spot=spot),
        "labels": {**run.tags(), ROLE: role, PRICE: str(round(node_types.price(offer, spot=spot) * 1e6))},
        # A machine may reach others, and only those that bear the tag, as the rules of the network have it.
        "tags": {"items": [made["subnetwork"].rsplit("/")[-1]]},
        "networkInterfaces": [
            {"subnetwork": made["subnetwork"], "accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]}
        ],
        "disks": [disk(run, disk_gb)],
        "serviceAccounts": [{"email": made[f"{role}-account"], "scopes": SCOPES}],
        "shieldedInstanceConfig": {
            # An image by others may have drivers that nobody has signed, and then the GPU would not be seen.
            "enableSecureBoot": run.image.split("/")[1] in (DRIVERS[0], PLAIN[0]),
            "enableVtpm": True,
            "enableIntegrityMonitoring": True,
        },
        "metadata": {"items": metadata(made["key"], userdata(facts))},
    }


def accelerators(machine: Machine) -> Json:
    """The GPUs that are no part of the machine's type."""
    if "+" not in machine.name:
        return {}
    return {"guestAccelerators": [{"acceleratorType": accelerator_of(machine), "acceleratorCount": machine.gpus}]}


def scheduling(run: Run, *, spot: bool) -> Json:
    """When the platform ends a machine, and that it is then deleted and not kept."""
    until = run.deadline.astimezone(UTC).replace(microsecond=0)
    return {
        "provisioningModel": "SPOT" if spot else "STANDARD",
        "instanceTerminationAction": "DELETE",
        "terminationTime": until.isoformat().replace("+00:00", "Z"),
        # A machine with a GPU cannot be moved; one that was restarted would be none that Ray knows.
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": False,
    }


def disk(run: Run, gigabytes: int) -> Json:
    """The one disk, which goes with the machine. Google encrypts all disks."""
    return {
        "boot": True,
        "autoDelete": True,
        "type": "PERSISTENT",
        "initializeParams": {
            "sourceImage": run.image,
            "diskSizeGb": gigabytes,
            "diskType": f"zones/{run.region}/diskTypes/pd-balanced",
            "labels": run.tags(),
        },
    }


def metadata(public_key: str, script: str) -> list[dict[str, str]]:
    """What a machine reads at its start; just one key opens it, even where OS login is the project's rule."""
    items = {
        "startup-script": script,
        "ssh-keys": f"{SSH_USER}:{public_key.strip()}",
        "block-project-ssh-keys": "TRUE",
        "enable-oslogin": "FALSE",
        "serial-port-enable": "FALSE",
    }
    return [{"key": key, "value": value} for key, value in items.items()]
