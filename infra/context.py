"""What every command works with: the settings, a cloud, the ledger, and the few things it asks the world for."""

import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from infra import record
from infra.cluster import Node
from infra.events import EventStore
from infra.faults import Refused
from infra.launcher import Launch, Say
from infra.provider import Provider
from infra.record import Record
from infra.settings import CloudConfig, one_address

WHERE_FROM = "https://checkip.amazonaws.com"
ASK_SECONDS = 5.0


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def own_address() -> str:
    """Ask a public service from which address this machine is seen.

    Raises:
        Refused: it cannot be asked, or answers nonsense; says what to fill in instead.
    """
    try:
        with urllib.request.urlopen(WHERE_FROM, timeout=ASK_SECONDS) as answer:
            return one_address(answer.read(64).decode("ascii", "replace"))
    except (OSError, ValueError) as error:
        raise Refused(
            f"cannot find out this machine's address from {WHERE_FROM} ({error}); set `cloud.ssh_from` in params.yaml"
        ) from None


def nothing_known(kept: Record, head: Node) -> str:
    """Ask nobody what machines do."""
    return ""


@dataclass(frozen=True)
class Context:
    """One command's world.

    Attributes:
        region: where the provider launches and looks, as the cloud names it.
        launch: `ray up`, or what stands in for it.
        clock: tells the time in UTC.
        sleep: waits for so many seconds.
        say: tells the person how it goes, a line at a time.
        warn: tells the person what should not be.
        address: this machine's own, as a network of one.
        activity: what a cluster does, asked of its head; empty where that does not say.
        patience: how long to wait for a cloud to end machines, and to let go of what hung on them.
    """

    settings: CloudConfig
    provider: Provider
    region: str
    launch: Launch
    say: Say
    warn: Say
    clock: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    address: Callable[[], str] = own_address
    activity: Callable[[Record, Node], str] = nothing_known
    patience: timedelta = timedelta(minutes=10)

    @cached_property
    def store(self) -> EventStore:
        """The ledger's events: this machine's file, or the bucket that all who use the project share."""
        from infra.ledger_file import LocalStore

        if self.settings.ledger == "local":
            return LocalStore(record.ledger_file())
        return self.provider.store()

    @property
    def margin(self) -> timedelta:
        """What is paid for beyond a deadline in the worst case."""
        return timedelta(minutes=self.settings.margin_minutes)
