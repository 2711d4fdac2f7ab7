"""What head and workers may do, and where: data for a person to read, and for IAM to hold them to. Pure."""

from typing import Any

from infra.cluster import Run

LAUNCH, END, USE = "fiftyLaunch", "fiftyEnd", "roles/iam.serviceAccountUser"
# By role: what Ray's autoscaler asks for on the head, and what ends a machine.
ROLES = {
    LAUNCH: (
        "compute.disks.create",
        "compute.disks.setLabels",
        "compute.images.useReadOnly",
        "compute.instances.create",
        "compute.instances.setLabels",
        "compute.instances.setMetadata",
        "compute.instances.setServiceAccount",
        "compute.instances.setTags",
        "compute.subnetworks.use",
        "compute.subnetworks.useExternalIp",
    ),
    END: (
        "compute.instances.delete",
        "compute.instances.get",
        "compute.instances.list",
        "compute.projects.get",
        "compute.zoneOperations.get",
    ),
}


def within(project_id: str, run: Run) -> str:
    """A condition: machines and disks only of this cluster, by the names that Ray gives them."""
    place, own = f"projects/{project_id}/zones/{run.region}", f"ray-{run.cluster}-"
    kinds = [("compute.googleapis.com/Instance", "instances"), ("compute.googleapis.com/Disk", "disks")]
    other = " && ".join(f'resource.type != "{kind}"' for kind, _ in kinds)
    ours = " || ".join(f'resource.name.startsWith("{place}/{folder}/{own}")' for _, folder in kinds)
    return f"({other}) || {ours}"


def bindings(project_id: str, head: str, worker: str, prefix: str, until: str) -> list[dict[str, Any]]:
    """What is added to the project's policy."""
    role = f"projects/{project_id}/roles"
    return [
        {
            "role": f"{role}/{LAUNCH}",
            "members": [head],
            "condition": {"title": "fifty: this cluster, until its deadline", "expression": f"({prefix}) && {until}"},
        },
        {
            "role": f"{role}/{END}",
            "members": [head, worker],
            "condition": {"title": "fifty: this cluster", "expression": prefix},
        },
    ]
