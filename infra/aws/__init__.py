"""Amazon's cloud: `infra/provider.py` by boto3. Nothing else of `infra` imports boto3 or botocore.

clients.py     the clients of AWS's services        errors.py     what they raise, as our faults
machines.py quotas.py images.py prices.py           what there is, may be had, and costs
network.py iam.py deadline.py                       the steps before the first machine
config.py                                           the Ray cluster config
inventory.py removal.py                             what is ours, and its end
store.py                                            the ledger in a bucket
names.py                                            names and tags
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from infra import clocks
from infra.aws import (
    config,
    deadline,
    extension,
    iam,
    images,
    inventory,
    machines,
    names,
    network,
    preflight,
    prices,
    quotas,
    removal,
)
from infra.aws.bucket import Bucket
from infra.aws.clients import Clients
from infra.aws.errors import asking, at_the_door
from infra.cluster import Inventory, Leftover, Machine, Node, Offer, Rates, Run
from infra.ledger_bucket import BucketStore
from infra.provider import Identity, Step
from infra.settings import CloudConfig


class Aws:
    """See infra/provider.py. Asks AWS nothing before it must."""

    name = "aws"

    def __init__(self, settings: CloudConfig) -> None:
        self.settings = settings
        self.clients = Clients(settings.aws.region)

    @cached_property
    def _identity(self) -> Identity:
        self.clients.know_region()
        with at_the_door(), asking("asking AWS who we are"):
            me = self.clients.sts().get_caller_identity()
        date = me["ResponseMetadata"]["HTTPHeaders"].get("date")
        return Identity(me["Account"], _owner(me["Arn"]), clocks.ahead(date))

    def whoami(self) -> Identity:
        """Check the credentials."""
        return self._identity

    def offers(self) -> tuple[list[Offer], Rates, str]:
        """Return the live prices in the region."""
        with at_the_door():
            return prices.live(self.clients)

    def machine(self, name: str) -> Machine:
        """Look up a type of instance."""
        with at_the_door():
            return machines.machine(self.clients, name)

    def check(self, run: Run) -> None:
        """See that AWS takes the names, has the machines and lets the account run them."""
        names.check_names(run, self.settings.aws.bucket)
        with at_the_door():
            network.subnets(self.clients, run.shape.head.machine.name)
            network.subnets(self.clients, run.shape.worker.machine.name)
            quotas.check_quotas(self.clients, run, fallback=self.settings.fallback)
            preflight.check_disks(self.clients, run)
            preflight.check_rights(self.clients, run)

    def image(self, machine: Machine) -> str:
        """Look up the newest image with a driver for the machine's GPU."""
        with at_the_door():
            return images.newest(self.clients, machine)

    def steps(self, run: Run, public_key: str) -> Sequence[Step]:
        """Return what must be there before the first machine, in order.

        The roles come first: it takes seconds until all of AWS knows of them, and the rest passes the time.
        """
        clients, account = self.clients, self._identity.account
        head, worker = run.shape.head.machine.name, run.shape.worker.machine.name
        steps = [
            Step("worker-profile", lambda: iam.ensure_profile(clients, run, account, "worker")),
            Step("head-profile", lambda: iam.ensure_profile(clients, run, account, "head")),
            Step("deadline", lambda: deadline.write(clients, run, run.deadline)),
            Step("root", lambda: images.look_up(clients, run.image).root),
            Step("head-subnets", lambda: ",".join(network.subnets(clients, head))),
            Step("worker-subnets", lambda: ",".join(network.subnets(clients, worker))),
            Step("key", lambda: network.ensure_key(clients, run, public_key)),
            Step("group", lambda: network.ensure_group(clients, run)),
        ]
        if run.shape.spot:
            steps.append(Step("spot", lambda: iam.ensure_spot(clients)))
        if self.settings.aws.schedule:
            steps.append(Step("schedule-role", lambda: iam.ensure_role(clients, run, account, "schedule")))
        return [*steps, Step("known", lambda: iam.wait_until_known(clients, run))]

    def cluster_config(self, run: Run, made: Mapping[str, str], key: Path) -> dict[str, Any]:
        """Render the Ray cluster config; pure."""
        return config.render(run, self.settings, made, key)

    def launched(self, run: Run, node: Node) -> None:
        """By choice, schedule the head's end with EventBridge."""
        if self.settings.aws.schedule:
            role = iam.role_arn(run, self._identity.account, "schedule")
            deadline.schedule(self.clients, run, node, role, run.deadline)

    def inventory(self, *, everywhere: bool = False) -> Inventory:
        """Return all that is ours."""
        return inventory.take(self.clients, self.settings.project, everywhere=everywhere)

    def terminate(self, nodes: Iterable[Node]) -> None:
        """Ask AWS to end machines for good."""
        removal.terminate(self.clients, nodes)

    def remove(self, leftover: Leftover) -> None:
        """Delete what is no machine."""
        removal.remove(self.clients, leftover)

    def set_deadline(self, run: Run, deadline: datetime) -> None:
        """Move the schedule, the tags, and last the parameter, for it is what the nodes go by."""
        extension.move(self.clients, run, deadline)

    def store(self) -> BucketStore:
        """Return the ledger's events in the project's bucket."""
        name = names.bucket(self.settings.aws.bucket, self.settings.project, self._identity.account)
        return BucketStore(Bucket(self.clients, name, self.settings.project))


def _owner(arn: str) -> str:
    """Who asks, as a tag's value: the last part of an ARN, as `user/alice` or `assumed-role/admin/alice`."""
    return re.sub(r"[^a-z0-9_-]+", "-", arn.split(":")[-1].split("/")[-1].lower()).strip("-")[:63] or "nobody"
