"""Kinds of machines: what they are made of, where they are to be had, and which will do at all."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from infra.aws.clients import Clients
from infra.aws.errors import asking, code_of
from infra.cluster import Machine
from infra.faults import CloudFault, Refused

ARCHITECTURE = "x86_64"
# Values that a filter may have; AWS takes 200.
BATCH = 100
# Asked where a type that the region lacks might exist after all.
LARGEST_REGION = "us-east-1"
# Older than Turing: the open driver that the image comes with does not know them.
TOO_OLD = {"K80", "K520", "M60", "V100"}


def machine(clients: Clients, name: str) -> Machine:
    """Look up a type of instance in the region.

    Raises:
        Refused: there is none, or it has no GPU of NVIDIA's or no processor that the image is for.
    """
    try:
        with asking(f"looking up the instance type {name}"):
            answer = clients.ec2().describe_instance_types(InstanceTypes=[name])  # type: ignore[list-item]
    except CloudFault as fault:
        if code_of(fault) not in ("InvalidInstanceType", "InvalidParameterValue"):
            raise
        raise Refused(_no_such(clients, name)) from fault
    infos: list[Any] = list(answer["InstanceTypes"])
    if not infos or not any(zones(clients, [name]).values()):
        raise Refused(_no_such(clients, name))
    if wrong := unfit(infos[0]):
        raise Refused(f"the instance type `{name}` will not do: {wrong}")
    return described(infos[0])


def known(clients: Clients, names: Iterable[str]) -> list[Machine]:
    """Those of the types that the region has and that would do."""
    wanted = sorted(set(names))
    infos: list[Any] = []
    with asking("looking up the instance types"):
        for start in range(0, len(wanted), BATCH):
            pages = (
                clients.ec2()
                .get_paginator("describe_instance_types")
                .paginate(Filters=[{"Name": "instance-type", "Values": wanted[start : start + BATCH]}])
            )
            infos += [info for page in pages for info in page["InstanceTypes"]]
    return [described(info) for info in infos if not unfit(info)]


def described(info: Mapping[str, Any]) -> Machine:
    """A type of instance as DescribeInstanceTypes tells of it."""
    gpus = info.get("GpuInfo", {}).get("Gpus", [])
    gpu = gpus[0] if gpus else {}
    return Machine(
        name=info["InstanceType"],
        cores=int(info.get("VCpuInfo", {}).get("DefaultVCpus", 0)),
        memory_gb=round(info.get("MemoryInfo", {}).get("SizeInMiB", 0) / 1024, 2),
        gpu=str(gpu.get("Name", "")),
        gpus=int(gpu.get("Count", 0)),
        gpu_memory_gb=round(gpu.get("MemoryInfo", {}).get("SizeInMiB", 0) / 1024, 2),
    )


def unfit(info: Mapping[str, Any]) -> str:
    """Why a type of instance will not do; empty if it will."""
    architectures = info.get("ProcessorInfo", {}).get("SupportedArchitectures", [ARCHITECTURE])
    gpus = info.get("GpuInfo", {}).get("Gpus", [])
    if ARCHITECTURE not in architectures:
        return f"its processor is {', '.join(architectures)}, and the images are for {ARCHITECTURE}"
    if any(gpu.get("Manufacturer", "NVIDIA").upper() != "NVIDIA" for gpu in gpus):
        return f"its GPU is {gpus[0]['Manufacturer']}'s, and the image's driver is NVIDIA's"
    if any(gpu.get("Name") in TOO_OLD for gpu in gpus):
        return f"the image's driver does not know a GPU as old as {gpus[0]['Name']}"
    if any(gpu.get("Count", 0) < 1 for gpu in gpus):
        return "it has but a part of a GPU"
    return ""


def zones(clients: Clients, names: Iterable[str]) -> dict[str, set[str]]:
    """In which availability zones of the region each type is to be had."""
    wanted = sorted(set(names))
    with asking("asking where the instance types are offered"):
        pages = (
            clients.ec2()
            .get_paginator("describe_instance_type_offerings")
            .paginate(LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": wanted}])
        )
        found: dict[str, set[str]] = {name: set() for name in wanted}
        for page in pages:
            for offering in page["InstanceTypeOfferings"]:
                found[offering["InstanceType"]].add(offering["Location"])
    return found


def _names(clients: Clients, region: str) -> list[str]:
    with asking(f"listing the instance types of {region}"):
        pages = clients.ec2(region).get_paginator("describe_instance_type_offerings").paginate(LocationType="region")
        return [offering["InstanceType"] for page in pages for offering in page["InstanceTypeOfferings"]]


def _no_such(clients: Clients, name: str) -> str:
    """Whether the name is misspelled, or the region has no such machine."""
    here = _names(clients, clients.region)
    if clients.region != LARGEST_REGION and name in _names(clients, LARGEST_REGION):
        return (
            f"`{name}` is not to be had in {clients.region}, though it is in {LARGEST_REGION}: "
            "set cloud.aws.region or take another type"
        )
    near = difflib.get_close_matches(name, here, 3, 0.6)
    family = sorted(other for other in here if other.split(".")[0] == name.split(".")[0])
    hint = list(dict.fromkeys([*near, *family]))[:5]
    return f"AWS has no instance type `{name}` in {clients.region}" + (f"; it has {', '.join(hint)}" if hint else "")
