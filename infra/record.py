"""What this machine knows of a cluster: one file for each, written before anything is asked of a cloud.

A convenience, not the truth: whatever costs money is found by its tags, and `fifty down` works without any of these
files. They let a killed `fifty up` go on as the same run, with the same deadline and the same reservation.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from infra.cluster import Rates, Run
from infra.faults import Fault, Refused

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# "reserved": nothing that costs money has been asked for; "extending": a later deadline is reserved, and not yet
# everywhere; "ending": a `fifty down` has begun.
Status = Literal["reserved", "launching", "up", "extending", "ending"]


@dataclass(frozen=True)
class Record:
    """One cluster as this machine launched it.

    Attributes:
        run: what was fixed before the first machine was asked for.
        rates: what disks, addresses and storage cost then.
        status: how far it has come.
        key: file of the private key that opens its machines.
        made: the id that each step of the provider returned, by the step's name.
    """

    run: Run
    rates: Rates
    status: Status
    key: Path
    made: dict[str, str] = field(default_factory=dict)


def folder() -> Path:
    """Where these files lie: in the checkout that lasts, which `DVC_ROOT` names when DVC works in a copy."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve() / ".fifty" / "cloud"


def file(cluster: str, suffix: str = ".json") -> Path:
    """The file of a cluster: `.json` the record, `.pem` its private key, `.yaml` Ray's config, `.log` its output."""
    return folder() / f"{cluster}{suffix}"


def ledger_file() -> Path:
    """The ledger of this machine alone, where `cloud.ledger` is `local`."""
    return folder() / "ledger.jsonl"


def load(cluster: str) -> Record | None:
    """Return the record of a cluster, or None.

    Raises:
        Fault: there is one that cannot be read.
    """
    from pydantic import ValidationError

    try:
        return _form().validate_json(file(cluster).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not as `fifty up` writes it"
        raise Fault(f"{file(cluster)} cannot be read ({reason}); `fifty down` needs no such file") from None


def save(record: Record) -> None:
    """Write the record, whole or not at all."""
    write(file(record.run.cluster), _form().dump_json(record, indent=1))


@cache
def _form() -> "TypeAdapter[Record]":
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def write(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read; it is there, whole, after a power cut."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def delete(cluster: str) -> None:
    """Forget a cluster of which nothing is left; the log of its launch stays."""
    for suffix in (".yaml", ".hosts", ".pem", ".launching", ".json"):
        file(cluster, suffix).unlink(missing_ok=True)


def clusters() -> list[str]:
    """The names of all clusters that there is a record of."""
    return sorted(path.stem for path in folder().glob("*.json") if not path.name.startswith("."))


@contextmanager
def lock(cluster: str) -> Iterator[None]:
    """Be the one command that changes the cluster from this machine.

    Raises:
        Refused: another is at work.
    """
    from filelock import FileLock, Timeout

    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    held = FileLock(file(cluster, ".lock"))
    try:
        held.acquire(blocking=False)
    except Timeout:
        raise Refused(f"another `fifty` is at work on cluster {cluster} here; wait for it, or end it") from None
    try:
        yield
    finally:
        held.release()
