"""The machine image: Ubuntu, with NVIDIA's driver where there is a GPU.

Amazon publishes the newest one of each region as a public SSM parameter. Where a region lacks the parameter, the images
themselves are searched. What is found is pinned in the run record, so that a worker launched hours later is the same.
"""

from dataclasses import dataclass
from typing import Any

from infra.aws.clients import Clients
from infra.aws.errors import asking
from infra.cluster import Machine
from infra.faults import NotThere, Refused

SSH_USER = "ubuntu"


@dataclass(frozen=True)
class Published:
    """An image that is published anew every few weeks: the parameter that names the newest, its owner and its name."""

    parameter: str
    owner: str
    name: str


GPU = Published(
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id",
    "amazon",
    "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) *",
)
PLAIN = Published(
    "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id",
    "099720109477",  # Canonical
    "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*",
)


@dataclass(frozen=True)
class Image:
    """What must be known of an image to launch it: the device of its disk, and how large that is at least, GB."""

    id: str
    root: str
    disk_gb: int


def newest(clients: Clients, machine: Machine) -> str:
    """Return the id of the newest image for a machine.

    Raises:
        Refused: the region has none.
    """
    return published(clients, GPU if machine.gpus else PLAIN)


def published(clients: Clients, wanted: Published) -> str:
    """Return the id of the newest one of a published image.

    Raises:
        Refused: the region has none.
    """
    try:
        with asking(f"asking for the image {wanted.parameter}"):
            return clients.ssm().get_parameter(Name=wanted.parameter)["Parameter"]["Value"]
    except NotThere:
        return _searched(clients, wanted)


def look_up(clients: Clients, image: str) -> Image:
    """Describe an image.

    Raises:
        Refused: there is none of that id in the region.
    """
    try:
        with asking(f"looking up the image {image}"):
            found: list[Any] = list(clients.ec2().describe_images(ImageIds=[image])["Images"])
    except NotThere:
        found = []
    if not found:
        raise Refused(f"there is no image {image} in {clients.region}: Amazon withdraws old ones; `fifty up` anew")
    root = str(found[0].get("RootDeviceName") or "/dev/sda1")
    sizes = [
        int(disk["Ebs"].get("VolumeSize", 0))
        for disk in found[0].get("BlockDeviceMappings", [])
        if disk.get("DeviceName") == root and "Ebs" in disk
    ]
    return Image(image, root, max(sizes, default=0))


def _searched(clients: Clients, wanted: Published) -> str:
    with asking(f"searching for an image `{wanted.name}`"):
        pages = (
            clients.ec2()
            .get_paginator("describe_images")
            .paginate(
                Owners=[wanted.owner],
                Filters=[{"Name": "name", "Values": [wanted.name]}, {"Name": "state", "Values": ["available"]}],
            )
        )
        found: list[Any] = [image for page in pages for image in page["Images"]]
    if not found:
        raise Refused(f"{clients.region} has no image `{wanted.name}`: set cloud.aws.region to another")
    return str(max(found, key=lambda image: (image.get("CreationDate", ""), image["ImageId"]))["ImageId"])
