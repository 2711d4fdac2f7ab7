"""What the commands talk about: machines and what hangs on them, whichever cloud they are in."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Role = Literal["head", "worker"]
# "ending": shutting down or being deleted, "stopped": off but its disk is kept and billed.
State = Literal["pending", "running", "ending", "stopped", "terminated"]

# Tags (labels on GCP) that every machine, disk, group and key of ours bears, set in the creating call itself. Values
# are lower-case letters, digits, `-` and `_`, at most 63, for that is what GCP takes; moments are seconds since 1970.
PROJECT, CLUSTER, RUN, DEADLINE, OWNER = (
    f"fifty-{name}" for name in ("project", "cluster", "run", "deadline", "owner")
)
ROLE, PRICE = "fifty-role", "fifty-price"  # the price per hour in millionths of a dollar


@dataclass(frozen=True)
class Machine:
    """A kind of machine that a cloud rents out.

    Attributes:
        name: the cloud's own, as `g4dn.xlarge`.
        cores: virtual processors.
        memory_gb: main memory.
        gpu: the GPU's name, empty for none.
        gpus: how many of them.
        gpu_memory_gb: of each.
    """

    name: str
    cores: int
    memory_gb: float
    gpu: str = ""
    gpus: int = 0
    gpu_memory_gb: float = 0.0


@dataclass(frozen=True)
class Offer:
    """A machine with its price in one region, dollars per hour; `spot` is None where there is none to be had."""

    machine: Machine
    region: str
    on_demand: float
    spot: float | None = None


@dataclass(frozen=True)
class Rates:
    """What else costs money in a region, in dollars: disks and storage per GB and month, an address per hour."""

    disk_gb_month: float
    address_hour: float
    storage_gb_month: float


@dataclass(frozen=True)
class Shape:
    """How large a cluster may get: one head and at most `workers` workers, each with a disk and a public address."""

    head: Offer
    worker: Offer
    workers: int
    spot: bool
    head_disk_gb: int
    worker_disk_gb: int
    storage_gb: float = 0.0


@dataclass(frozen=True)
class Run:
    """One cluster from its reservation to its settlement: what is fixed before the first machine is asked for.

    Attributes:
        id: unique, as `fifty-20261126-165503-1a2b`; also the tag RUN.
        cluster: the name that a person gives, and the tag CLUSTER.
        cloud: a key of `infra.providers.PROVIDERS`.
        region: as the cloud names it; zone is part of it on GCP (`us-central1-a`).
        shape: see `Shape`.
        start: when it was reserved.
        deadline: when every machine is off, whatever happens.
        owner: who launched it, as a tag's value.
        image: the machine image, pinned; empty until looked up.
        ssh_from: the one address that SSH is open to, as `203.0.113.7/32`.
    """

    id: str
    cluster: str
    project: str
    cloud: str
    region: str
    shape: Shape
    start: datetime
    deadline: datetime
    owner: str
    image: str = ""
    ssh_from: str = ""

    def tags(self) -> dict[str, str]:
        """The tags of everything that belongs to this run."""
        return {
            PROJECT: self.project,
            CLUSTER: self.cluster,
            RUN: self.id,
            DEADLINE: str(int(self.deadline.timestamp())),
            OWNER: self.owner,
        }


@dataclass(frozen=True)
class Node:
    """A machine of ours as the cloud itself tells of it.

    Attributes:
        launched: when it began to cost money.
        ended: when it ceased to, if it has and the cloud still knows.
        price: dollars per hour as its tag has it; None if it has none.
    """

    id: str
    cluster: str
    run: str
    role: Role | None
    state: State
    machine: str
    region: str
    spot: bool
    launched: datetime
    deadline: datetime | None
    price: float | None
    ended: datetime | None = None
    address: str = ""
    owner: str = ""

    @property
    def costs(self) -> bool:
        """Whether it costs money: anything but terminated, for a stopped machine's disk is billed too."""
        return self.state != "terminated"


@dataclass(frozen=True)
class Leftover:
    """What is ours and is no machine: a disk, an address, a security group or firewall, a key, a role, a schedule,
    a parameter."""

    kind: Literal["disk", "address", "group", "key", "profile", "schedule", "parameter", "account"]
    id: str
    cluster: str
    region: str
    deadline: datetime | None
    run: str = ""


@dataclass(frozen=True)
class Inventory:
    """Everything of ours that a cloud has, and when it was asked.

    Attributes:
        unreachable: regions that could not be asked, each with the reason.
        memory: how long the cloud goes on telling of a machine that has ended.
    """

    at: datetime
    nodes: tuple[Node, ...]
    leftovers: tuple[Leftover, ...] = ()
    unreachable: dict[str, str] = field(default_factory=dict)
    memory: timedelta = timedelta(0)
