"""Google's cloud: `infra/provider.py` by google-api-python-client. Nothing else of `infra` imports Google's libraries.

clients.py     the clients of Google's services    errors.py     what they raise, as our faults
machines.py quotas.py prices.py                    what there is, may be had, and costs
network.py accounts.py rights.py                   the steps before the first machine
config.py                                          the Ray cluster config
inventory.py removal.py                            what is ours, and its end
store.py                                           the ledger in a bucket
names.py                                           names and labels
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.cluster import Inventory, Leftover, Machine, Node, Offer, Rates, Run
from infra.faults import Refused
from infra.gcp import accounts, config, identity, inventory, machines, names, network, prices, quotas, removal
from infra.gcp.bucket import Bucket
from infra.gcp.clients import Clients
from infra.gcp.errors import at_the_door
from infra.ledger_bucket import BucketStore
from infra.provider import Identity, Step
from infra.settings import CloudConfig


class Gcp:
    """See infra/provider.py. Asks Google nothing before it must."""

    name = "gcp"

    def __init__(self, settings: CloudConfig) -> None:
        self.settings = settings
        self.zone = settings.gcp.zone
        self.clients = Clients(settings.gcp.project_id)

    @cached_property
    def _identity(self) -> Identity:
        with at_the_door():
            return identity.ask(self.clients)

    def whoami(self) -> Identity:
        """Check the credentials, and that the project is there."""
        return self._identity

    def offers(self) -> tuple[list[Offer], Rates, str]:
        """Return the live prices in the zone."""
        with at_the_door():
            return prices.offers(self.clients, self.zone)

    def machine(self, name: str) -> Machine:
        """Look up a type of machine."""
        with at_the_door():
            return machines.machine(self.clients, self.zone, name)

    def check(self, run: Run) -> None:
        """See that Google takes the names, has the machines and lets the project run them."""
        names.check_names(run)
        with at_the_door():
            machines.check_zone(self.clients, run.region)
            for offer in (run.shape.head, run.shape.worker):
                machines.machine(self.clients, run.region, offer.machine.name)
            quotas.check(self.clients, run)

    def image(self, machine: Machine) -> str:
        """Look up the newest image with a driver for the machine's GPU."""
        with at_the_door():
            return machines.image(self.clients, machine)

    def steps(self, run: Run, public_key: str) -> Sequence[Step]:
        """Return what must be there before the first machine, in order.

        The accounts come first: it takes a while until all of Google knows of them, and the rest passes the time.
        """
        return [
            Step("key", lambda: public_key),
            *accounts.steps(self.clients, run),
            *network.steps(self.clients, run, run.region),
        ]

    def cluster_config(self, run: Run, made: Mapping[str, str], key: Path) -> dict[str, Any]:
        """Render the Ray cluster config; pure."""
        return config.render(run, self.settings, made, key)

    def launched(self, run: Run, node: Node) -> None:
        """Nothing: the platform knew of the head's end before there was a head."""

    def inventory(self, *, everywhere: bool = False) -> Inventory:
        """Return all that is ours."""
        return inventory.take(self.clients, self.settings.project, self.zone, everywhere=everywhere)

    def terminate(self, nodes: Iterable[Node]) -> None:
        """Ask Google to delete machines."""
        removal.terminate(self.clients, nodes)

    def remove(self, leftover: Leftover) -> None:
        """Delete what is no machine."""
        removal.remove(self.clients, leftover)

    def set_deadline(self, run: Run, deadline: datetime) -> None:
        """Cannot be done.

        Raises:
            Refused: always.
        """
        raise Refused(
            f"Google Cloud fixes when a machine ends at its launch: cluster {run.cluster} ends as planned; then "
            "`fifty up` with more `cloud.hours`"
        )

    def store(self) -> BucketStore:
        """Return the ledger's events in the project's bucket."""
        with at_the_door():
            name = names.bucket(self.settings.gcp.bucket, self.settings.project, self.clients.project)
        return BucketStore(Bucket(self.clients, name, self.settings.project, names.region(self.zone)))
