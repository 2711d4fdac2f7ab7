"""The little that a node asks of its cloud: the cluster's deadline, its workers, and to end them."""

from __future__ import annotations  # for Python 3.9

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from infra.node.facts import Facts


@dataclass(frozen=True)
class Worker:
    """A worker of this cluster as the cloud tells of it.

    Attributes:
        costs: it costs money: it is in any state but terminated or about to be.
        status: what Ray's launcher last wrote on it, as `setting-up`, `up-to-date`, `update-failed`.
        launched: when.
    """

    id: str
    costs: bool
    status: str
    launched: datetime


class Cloud(Protocol):
    """Every method raises OSError when the cloud cannot be asked, and ValueError or KeyError for an odd answer."""

    def deadline(self) -> tuple[int, float] | None:
        """Return the cluster's deadline and the cloud's own time, in seconds; None where the platform keeps it."""

    def workers(self) -> list[Worker]:
        """Return the workers, ended ones too while the cloud tells of them."""

    def terminate(self, ids: list[str]) -> None:
        """Ask that machines be ended for good."""

    def end_self(self) -> None:
        """Ask that this machine be ended, where powering off does not; at most a few seconds."""


def connect(facts: Facts) -> Cloud:
    """Return the cloud that this node is in."""
    if facts.cloud == "gcp":
        from infra.node.gcp_state import Gcp

        return Gcp(facts)
    from infra.node.aws_state import Aws

    return Aws(facts)
