"""The seam between the commands and a cloud: what a provider must be able to do, and nothing else.

A cloud is one package beside this file (`aws/`, `gcp/`), one Ray yaml, and one row in `providers.py`. A fake ships in
`fake.py`; tests/infra/conformance.py holds all of them to what is written here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from infra.cluster import Inventory, Leftover, Machine, Node, Offer, Rates, Run
from infra.ledger import EventStore


@dataclass(frozen=True)
class Step:
    """One thing that a cluster needs before its first machine: a key pair, a group, a profile, a schedule.

    Attributes:
        name: of the step, unique within a run.
        ensure: creates it, or finds what an earlier, killed attempt has created, and returns its id; safe to repeat.
    """

    name: str
    ensure: Callable[[], str]


@dataclass(frozen=True)
class Identity:
    """Whose credentials these are.

    Attributes:
        account: the cloud's (the project on GCP).
        owner: the user, as a tag's value.
        ahead: seconds that this machine's clock is ahead of the cloud's.
    """

    account: str
    owner: str
    ahead: float = 0.0


class Provider(Protocol):
    """A cloud. Every method raises `CloudFault` when the API fails, and `Refused` for what a person must mend."""

    name: str

    def whoami(self) -> Identity:
        """Check the credentials.

        Raises:
            Refused: there are none, or they have expired; says how to get some.
        """

    def offers(self) -> tuple[list[Offer], Rates, str]:
        """Return the live prices in the region, and in words where they come from."""

    def machine(self, name: str) -> Machine:
        """Look up a kind of machine.

        Raises:
            Refused: there is none of that name in the region; names some that there are.
        """

    def check(self, run: Run) -> None:
        """See that the account may launch what the run's shape asks for.

        Raises:
            Refused: the quota is too small (says which, and how to ask for more), or the name will not do.
        """

    def image(self, machine: Machine) -> str:
        """Look up the newest image with a driver for the machine's GPU; it is pinned in the run record."""

    def steps(self, run: Run, public_key: str) -> Sequence[Step]:
        """Return what must be there before the first machine, in order."""

    def cluster_config(self, run: Run, made: Mapping[str, str], key: Path) -> dict[str, Any]:
        """Render the Ray cluster config; pure.

        Args:
            run: with image and deadline.
            made: the id that each step returned, by its name.
            key: file of the private key.
        """

    def launched(self, run: Run, node: Node) -> None:
        """Do what can only be done with a head that is there: on AWS, by choice, the schedule that terminates it."""

    def inventory(self, *, everywhere: bool = False) -> Inventory:
        """Return all that is ours, ended machines too while the cloud tells of them.

        Args:
            everywhere: ask every region, not the configured one alone.
        """

    def terminate(self, nodes: Iterable[Node]) -> None:
        """Ask the cloud to end machines for good; those that have ended, or never were, are no fault."""

    def remove(self, leftover: Leftover) -> None:
        """Delete what is no machine; what is not there is no fault.

        Raises:
            CloudFault: it cannot be deleted yet, as when a group still has a machine in it.
        """

    def set_deadline(self, run: Run, deadline: datetime) -> None:
        """Move the deadline in the state outside the nodes that they read, and in every tag and schedule.

        Raises:
            Refused: the platform fixes the time at launch.
        """

    def store(self) -> EventStore:
        """Return the ledger's events in the project's bucket, which is made if there is none."""
