"""MNIST: 70,000 handwritten digits of 28x28 pixels, 10,000 of them for testing.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition (1998).
The format is IDX: two zero bytes, the type (8: unsigned bytes), the number of dimensions, each dimension as
a big-endian 32-bit number, then the values, last dimension fastest. Fashion-MNIST and KMNIST come as the
same four files, so other mirrors and checksums fetch those.
"""

import zlib
from gzip import GzipFile
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.faults import Fault
from pipelines.formats.base import Checksum
from pipelines.formats.images import Examples, ImagePrepareConfig, always, image_dataset, same_length
from pipelines.formats.pixels import finish
from pipelines.section import Section
from pipelines.transport.download import download
from pipelines.transport.raw import CHUNK, verified, write_manifest

IMAGES, LABELS = 3, 1
"""Dimensions of the two kinds of file."""


class IdxFile(Section):
    """One of the four files: its name on the mirrors and its checksum."""

    name: str = Field(min_length=1, description="file name, appended to each mirror; gzipped or plain")
    checksum: Checksum = Field(description="`sha256:` or `md5:` and the digest of the file as it comes")


def _file(name: str, sha256: str) -> IdxFile:
    return IdxFile(name=name, checksum=f"sha256:{sha256}")


class MnistFetch(Section):
    """MNIST, or any dataset that comes as four IDX files."""

    mirrors: list[str] = Field(
        default=[
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ],
        min_length=1,
        description="folders to fetch from, tried in order: http(s)://, s3://, gs:// or a local path",
    )
    train_images: IdxFile = Field(
        default=_file("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        description="images to train on",
    )
    train_labels: IdxFile = Field(
        default=_file("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        description="their labels",
    )
    test_images: IdxFile = Field(
        default=_file("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        description="images of the official test set",
    )
    test_labels: IdxFile = Field(
        default=_file("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        description="their labels",
    )
    timeout: float = Field(default=30, gt=0, le=3600, description="seconds without a byte before a try is given up")
    retries: int = Field(default=4, ge=0, le=100, description="tries again after a lost connection, per mirror")


ROLES = ("train_images", "train_labels", "test_images", "test_labels")


def fetch(config: MnistFetch, folder: Path, base: Path) -> None:
    """Download the four files as they come, each under the name of its role.

    Raises:
        Fault: a file cannot be had from any mirror, or has another checksum.
    """
    for role in ROLES:
        file: IdxFile = getattr(config, role)
        urls = [f"{mirror.rstrip('/')}/{file.name}" for mirror in config.mirrors]
        target = folder / f"{role}.idx"
        download(urls, file.checksum, target, base=base, timeout=config.timeout, retries=config.retries)
    write_manifest(folder)


def read(raw: Path, config: ImagePrepareConfig) -> Examples:
    """60,000 + 10,000 gray images of 28x28 pixels, scale 255, with an official test set.

    Raises:
        Fault: a file changed since it was fetched or is no IDX file; file and byte offset are named.
    """
    verified(raw)
    images = [read_idx(raw / f"{part}_images.idx", IMAGES) for part in ("train", "test")]
    labels = [read_idx(raw / f"{part}_labels.idx", LABELS) for part in ("train", "test")]
    for part, of_part, known in zip(("train", "test"), images, labels, strict=True):
        same_length(len(of_part), len(known), f"{raw} ({part})")
    if images[0].shape[1:] != images[1].shape[1:]:
        raise Fault(f"{raw}: images to train on are {images[0].shape[1:]} pixels, to test on {images[1].shape[1:]}")
    y: NDArray[np.int64] = np.concatenate(labels).astype(np.int64)
    examples = Examples(
        x=np.concatenate(images)[:, None],
        y=y,
        classes=tuple(str(label) for label in range(int(y.max()) + 1)),
        scale=255,
        index=np.arange(len(y)),
        official_test=np.repeat([False, True], [len(labels[0]), len(labels[1])]),
    )
    return finish(examples, config)


class Readable(Protocol):
    """What a plain file and a gzipped one have in common."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The unsigned bytes of an IDX file with that many dimensions, gzipped or plain.

    Raises:
        Fault: it is no such file, is cut off or goes on too long; the byte offset (once decompressed) is
            named.
    """
    content = bytearray()
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            shape, surplus = _parse(GzipFile(fileobj=file) if zipped else file, content, dimensions, path)
        except (OSError, EOFError, zlib.error) as error:
            after = f"the gzip stream breaks off after byte offset {len(content)}"
            raise Fault(f"{path}: {after}: {error}") from error
    if surplus:
        raise Fault(f"{path} goes on after byte offset {len(content)}, where its header says it ends")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _parse(file: Readable, content: bytearray, dimensions: int, path: Path) -> tuple[tuple[int, ...], bool]:
    """Fill `content`; return the shape that the header gives and whether there is more than that."""
    whole = _fill(file, content, 4 + 4 * dimensions)
    expected = bytes((0, 0, 8, dimensions))
    if len(content) >= 4 and content[:4] != expected:
        what = f"an IDX file of unsigned bytes in {dimensions} dimensions begins with 0x{expected.hex()}"
        raise Fault(f"{path}, byte offset 0: {what}, not with 0x{content[:4].hex()}")
    if not whole:
        raise Fault(f"{path} is cut off at byte offset {len(content)}: its header is not whole")
    shape = tuple(int(size) for size in np.frombuffer(bytes(content), ">u4", offset=4))
    if not _fill(file, content, len(content) + prod(shape)):
        raise Fault(f"{path} is cut off at byte offset {len(content)}: its header promises {prod(shape)} values")
    return shape, bool(file.read(1))


def _fill(file: Readable, content: bytearray, size: int) -> bool:
    """Read until `content` has `size` bytes, in chunks: a corrupt header must not ask for terabytes."""
    while len(content) < size and (chunk := file.read(min(CHUNK, size - len(content)))):
        content += chunk
    return len(content) == size


MNIST = image_dataset("mnist", MnistFetch, fetch, read, always(1, 28))
