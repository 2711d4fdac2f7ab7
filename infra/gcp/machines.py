"""Kinds of machines, their GPUs and their images.

A machine's name is Compute Engine's type; where the GPU is no part of the type it follows after a plus sign, as in
`n1-standard-4+nvidia-tesla-t4`.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from infra.cluster import Machine
from infra.faults import NotThere, Refused
from infra.gcp.clients import Clients, Json

# Compute Engine's name of a GPU: the name that people use, and its memory in GB.
GPUS = {
    "nvidia-tesla-p4": ("P4", 8.0),
    "nvidia-tesla-t4": ("T4", 16.0),
    "nvidia-tesla-p100": ("P100", 16.0),
    "nvidia-tesla-v100": ("V100", 16.0),
    "nvidia-l4": ("L4", 24.0),
    "nvidia-tesla-a100": ("A100", 40.0),
    "nvidia-a100-80gb": ("A100", 80.0),
    "nvidia-h100-80gb": ("H100", 80.0),
    "nvidia-h100-mega-80gb": ("H100", 80.0),
    "nvidia-h200-141gb": ("H200", 141.0),
}
# Where images are, and the families that will do, the best first. Canonical signs the drivers in its images, so that
# they run with secure boot.
DRIVERS = (
    "ubuntu-os-accelerator-images",
    tuple(f"ubuntu-accelerator-{system}-amd64-with-nvidia-{d}" for d in (580, 570, 550) for system in (2404, 2204)),
)
PLAIN = ("ubuntu-os-cloud", ("ubuntu-2404-lts-amd64", "ubuntu-2204-lts"))
SHOWN = 5


def parts(name: str) -> tuple[str, str]:
    """The type, and the GPU that is attached to it, empty for none."""
    kind, _, accelerator = name.partition("+")
    return kind, accelerator


def machine(clients: Clients, zone: str, name: str) -> Machine:
    """Look a machine up.

    Raises:
        Refused: the zone has no such type or GPU; names some that it has.
    """
    kind, accelerator = parts(name)
    try:
        request = clients.compute.machineTypes().get(project=clients.project, zone=zone, machineType=kind)
        found = clients.call(request, f"looking up {kind}")
    except NotThere:
        raise Refused(f"there is no machine {kind!r} in {zone}; {_near(kind, types(clients, zone))}") from None
    if accelerator:
        there = [one["name"] for one in accelerators(clients, zone)]
        if accelerator not in there:
            raise Refused(f"there is no GPU {accelerator!r} in {zone}; {_near(accelerator, there)}")
    return described(found, accelerator)


def described(found: Json, accelerator: str = "") -> Machine:
    """A machine as Compute Engine describes its type, with a GPU attached to it or its own."""
    own = found.get("accelerators") or [{"guestAcceleratorType": accelerator, "guestAcceleratorCount": 1}]
    gpu, count = own[0]["guestAcceleratorType"], int(own[0]["guestAcceleratorCount"])
    name = f"{found['name']}+{accelerator}" if accelerator else found["name"]
    cores, memory = int(found["guestCpus"]), found["memoryMb"] / 1024
    if not gpu or gpu.startswith("ct"):  # a TPU
        return Machine(name, cores, memory)
    model, size = GPUS.get(gpu, (gpu.removeprefix("nvidia-"), 0.0))
    return Machine(name, cores, memory, model, count, size)


def accelerator_of(machine: Machine) -> str:
    """Compute Engine's name of a machine's GPU, empty for none."""
    if not machine.gpus:
        return ""
    known = (name for name, row in GPUS.items() if row == (machine.gpu, machine.gpu_memory_gb))
    return parts(machine.name)[1] or next(known, f"nvidia-{machine.gpu.lower()}")


def types(clients: Clients, zone: str) -> list[str]:
    """The names of all types in a zone."""
    return [found["name"] for found in listed(clients, zone)]


def listed(clients: Clients, zone: str) -> list[Json]:
    """All types in a zone."""
    of = clients.compute.machineTypes()
    return _all(clients, of, of.list(project=clients.project, zone=zone), f"listing the machines in {zone}")


def accelerators(clients: Clients, zone: str) -> list[Json]:
    """All GPUs in a zone."""
    of = clients.compute.acceleratorTypes()
    return _all(clients, of, of.list(project=clients.project, zone=zone), f"listing the GPUs in {zone}")


def _all(clients: Clients, of: Any, request: Any, doing: str) -> list[Json]:
    return [item for page in clients.pages(of, request, doing) for item in page.get("items", [])]


def image(clients: Clients, machine: Machine) -> str:
    """Look up the newest image of the first family that there is, as a partial URL.

    Raises:
        Refused: there is none of those families any more.
    """
    project, families = DRIVERS if machine.gpus else PLAIN
    for family in families:
        request = clients.compute.images().getFromFamily(project=project, family=family)
        try:
            found = clients.call(request, f"looking up the image family {family}")
        except NotThere:
            continue
        return f"projects/{project}/global/images/{found['name']}"
    raise Refused(f"Google's project {project} has none of the image families {', '.join(families)} any more")


def check_zone(clients: Clients, zone: str) -> None:
    """See that there is such a zone.

    Raises:
        Refused: there is not; names near ones.
    """
    try:
        clients.call(clients.compute.zones().get(project=clients.project, zone=zone), f"looking up {zone}")
    except NotThere:
        of = clients.compute.zones()
        known = [found["name"] for found in _all(clients, of, of.list(project=clients.project), "listing zones")]
        raise Refused(f"cloud.gcp.zone: there is no zone {zone!r}; {_near(zone, known)}") from None


def _near(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, SHOWN, 0.5) or names[:SHOWN]
    return f"there are, for one, {', '.join(near)}" if near else "there are none"
