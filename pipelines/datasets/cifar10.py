"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes, 10,000 of them for testing.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images (2009). The binary version holds no
pickles: a record is one byte of label and 3072 bytes of pixels, red, then green, then blue, each row by row.
"""

import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.faults import Fault
from pipelines.formats.base import Checksum
from pipelines.formats.images import Examples, ImagePrepareConfig, always, image_dataset
from pipelines.formats.pixels import finish
from pipelines.section import Section
from pipelines.transport.download import download
from pipelines.transport.raw import verified, write_manifest

ARCHIVE = "cifar-10-binary.tar.gz"
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
META = "batches.meta.txt"
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
LARGEST = 1 << 30
"""No member is read beyond this many bytes: the real ones have 30 MB."""


class Cifar10Fetch(Section):
    """CIFAR-10, the binary version."""

    urls: list[str] = Field(
        default=[
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        ],
        min_length=1,
        description="where the archive is, tried in order: http(s)://, s3://, gs:// or a local path",
    )
    checksum: Checksum = Field(
        default="sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        description="`sha256:` or `md5:` and the digest of the archive",
    )
    timeout: float = Field(default=30, gt=0, le=3600, description="seconds without a byte before a try is given up")
    retries: int = Field(default=4, ge=0, le=100, description="tries again after a lost connection, per URL")


def fetch(config: Cifar10Fetch, folder: Path, base: Path) -> None:
    """Download the archive as it comes.

    Raises:
        Fault: it cannot be had from any URL, or has another checksum.
    """
    target = folder / ARCHIVE
    download(config.urls, config.checksum, target, base=base, timeout=config.timeout, retries=config.retries)
    write_manifest(folder)


def read(raw: Path, config: ImagePrepareConfig) -> Examples:
    """50,000 + 10,000 colour images of 32x32 pixels, scale 255, with an official test set.

    Raises:
        Fault: the archive changed since it was fetched, is broken, or holds a bad record; member and byte
            offset are named.
    """
    verified(raw)
    archive = raw / ARCHIVE
    members = read_members(archive, (*TRAIN, TEST, META))
    classes = _classes(archive, members[META])
    batches = [parse_batch(members[name], f"{archive}: {name}", len(classes)) for name in (*TRAIN, TEST)]
    y = np.concatenate([labels for _, labels in batches])
    examples = Examples(
        x=np.concatenate([images for images, _ in batches]),
        y=y,
        classes=classes,
        scale=255,
        index=np.arange(len(y)),
        official_test=np.arange(len(y)) >= len(y) - len(batches[-1][1]),
    )
    return finish(examples, config)


def read_members(archive: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The content of the named regular files, wherever in the archive they are. Nothing is written anywhere.

    Raises:
        Fault: the archive is broken or cut off, or lacks one of them.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name not in names or not member.isreg():
                    continue
                if member.size > LARGEST:
                    raise Fault(f"{archive}: {name} has {member.size} bytes, which no batch of CIFAR-10 has")
                file = tar.extractfile(member)
                found[name] = file.read() if file else b""
                if len(found[name]) != member.size:
                    raise Fault(f"{archive}: {name} is cut off at byte offset {len(found[name])}")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        after = f" after {list(found)[-1]}" if found else ""
        raise Fault(f"{archive} is no whole tar.gz archive{after}: {error}") from None
    if missing := [name for name in names if name not in found]:
        raise Fault(f"{archive} holds no {', '.join(missing)}")
    return found


def _classes(archive: Path, content: bytes) -> tuple[str, ...]:
    classes = tuple(line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip())
    if len(classes) != 10 or len(set(classes)) != 10:
        raise Fault(f"{archive}: {META} names {len(set(classes))} classes instead of 10")
    return classes


def parse_batch(content: bytes, source: str, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images, uint8 (N, 3, 32, 32), and labels, int64 (N,), of one batch file.

    Raises:
        Fault: the last record is cut off, a label is too large or there is no record; `source` and byte
            offset are named.
    """
    if not content or len(content) % RECORD:
        whole = len(content) // RECORD
        raise Fault(f"{source} is cut off at byte offset {len(content)}, in record {whole} of {RECORD} bytes each")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].astype(np.int64)
    if (bad := np.flatnonzero(labels >= classes)).size:
        first = int(bad[0])
        raise Fault(f"{source}, byte offset {first * RECORD}: label {labels[first]}, but there are {classes} classes")
    return records[:, 1:].reshape(-1, *SHAPE), labels


CIFAR10 = image_dataset("cifar10", Cifar10Fetch, fetch, read, always(3, 32))
