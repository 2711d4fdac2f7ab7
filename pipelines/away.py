"""A cohort on a machine that shares no disk with the search: its data come in pieces, its checkpoints go home.

Nothing here knows Ray, which carries the pieces and the checkpoints: see ray_cluster.py.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipelines import locks, outs

PIECE = 64 << 20
# Data of so many searches stay on a machine; those that were used last.
KEPT = 4
UNPACKING_SECONDS = 3600.0


@dataclass(frozen=True)
class Parcel:
    """Files on their way to other machines.

    Attributes:
        name: hash of all names and bytes.
        files: path below the folder that they are unpacked in, and the pieces, as whoever carries them knows them.
    """

    name: str
    files: tuple[tuple[str, tuple[Any, ...]], ...]


def pack(files: Mapping[str, Path], send: Callable[[bytes], Any]) -> Parcel:
    """Cut files into pieces and send them off.

    Args:
        files: path below the folder that they are unpacked in, and where they are here.
        send: takes a piece, and returns what it can be had for.
    """
    digest = hashlib.sha256()
    packed = []
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        pieces = []
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                pieces.append(send(piece))
        packed.append((name, tuple(pieces)))
    return Parcel(digest.hexdigest()[:16], tuple(packed))


def unpack(parcel: Parcel, base: Path, receive: Callable[[Any], bytes]) -> Path:
    """Return the folder below `base` that holds the files, put there by the first process that needs them."""
    folder = base / f"data-{parcel.name}"
    with (base / "lock").open("a") as lock:
        if not locks.take(lock, UNPACKING_SECONDS):
            raise TimeoutError(f"another process has been unpacking data in {base} for an hour")
        if folder.is_dir():
            os.utime(folder)
            return folder
        part = base / ".unpacking"
        shutil.rmtree(part, ignore_errors=True)
        for name, pieces in parcel.files:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            with (part / name).open("wb") as file:
                for piece in pieces:
                    file.write(receive(piece))
                file.flush()
                os.fsync(file.fileno())
        part.rename(folder)
        others = sorted(base.glob("data-*"), key=lambda other: other.stat().st_mtime, reverse=True)
        for old in others[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def machine_folder() -> Path:
    """A folder of this machine for what searches bring here, closed to other users.

    Raises:
        PermissionError: somebody else has made it, and could put into it what we would train on.
    """
    base = Path(tempfile.gettempdir()) / f"fifty-node-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{base} is open to other users; delete it")
    return base


class Home:
    """Where checkpoints are kept: the folder of the search's state, on the machine that it was started on."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def give(self, cohort: str) -> tuple[str, bytes] | None:
        """Return name and content of what there is of a cohort: what it ended with, or its last checkpoint."""
        for name in (f"{cohort}.done.safetensors", f"{cohort}.safetensors"):
            try:
                return name, (self._folder / name).read_bytes()
            except FileNotFoundError:
                continue
        return None

    def keep(self, cohort: str, name: str, content: bytes) -> None:
        """Put a file of a cohort on disk, and drop the checkpoint that it makes needless; may be done twice.

        Raises:
            OSError: the disk is full.
        """
        outs.write_atomically(self._folder / name, content)
        if name == f"{cohort}.done.safetensors":
            (self._folder / f"{cohort}.safetensors").unlink(missing_ok=True)


class Keeper(Protocol):
    """What a worker sees of `Home`, however far away it is."""

    def give(self, cohort: str) -> tuple[str, bytes] | None:
        """See `Home.give`."""

    def keep(self, cohort: str, name: str, content: bytes) -> None:
        """See `Home.keep`."""


@dataclass
class Desk:
    """Where a worker trains a cohort: data to read, and a folder of checkpoints.

    Attributes:
        prepared: folder of the prepared data.
        augmented: folder of the augmented data.
        checkpoints: the folder of checkpoints.
        deliver: to be called after each checkpoint, before anybody is told of it.
    """

    prepared: Path
    augmented: Path
    checkpoints: Path
    deliver: Callable[[], None] = field(default=lambda: None)


@contextmanager
def desk(cohort: str, data: Path, base: Path, keeper: Keeper) -> Iterator[Desk]:
    """Yield a desk on this machine that begins with what there is of a cohort at home, and sends home what is new."""
    _sweep(base)
    with tempfile.TemporaryDirectory(prefix=f"work-{os.getpid()}-", dir=base) as name:
        folder = Path(name)
        if (found := keeper.give(cohort)) is not None:
            (folder / found[0]).write_bytes(found[1])
        sent = _stamp(folder, cohort)

        def deliver() -> None:
            nonlocal sent
            now = _stamp(folder, cohort)
            if now is not None and now != sent:
                keeper.keep(cohort, now[0], (folder / now[0]).read_bytes())
                sent = now

        yield Desk(data / "prepared", data / "augmented", folder, deliver)


def _stamp(folder: Path, cohort: str) -> tuple[str, int, int] | None:
    """Name the newest file of a cohort, and tell it from the one that was there before."""
    for name in (f"{cohort}.done.safetensors", f"{cohort}.safetensors"):
        if (path := folder / name).exists():
            found = path.stat()
            return name, found.st_ino, found.st_mtime_ns
    return None


def _sweep(base: Path) -> None:
    """Delete what workers left behind that were killed."""
    for folder in base.glob("work-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
