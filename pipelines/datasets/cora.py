"""Cora: 2708 papers on machine learning in seven fields, the words they use, and who cites whom.

Q. Lu, L. Getoor: Link-based Classification (2003). The archive holds two text files: `cora.content`, a line for each
paper (its number, 1433 zeros and ones, its field), and `cora.cites`, a line for each citation (cited, citing). Parts
have the sizes of Planetoid's (Z. Yang, W. Cohen, R. Salakhutdinov: Revisiting Semi-Supervised Learning with Graph
Embeddings, 2016): 20 papers of each field to train on, 500 for validation, 1000 for testing. Which papers those were,
the text files do not say, so they are drawn by seed.
"""

import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.datasets.edge_list import scaled
from pipelines.faults import Fault
from pipelines.formats import tables
from pipelines.formats.base import Checksum, Dataset, unknown
from pipelines.formats.graphs import LabelledNodes, both_ways, shuffled, some_of_each, write_graph
from pipelines.section import Section
from pipelines.transport.download import download
from pipelines.transport.raw import verified, write_manifest

ARCHIVE = "cora.tgz"
CONTENT, CITES = "cora.content", "cora.cites"
LARGEST = 1 << 28
"""No member is read beyond this many bytes: the real ones have 8 MB."""


class CoraFetch(Section):
    """Cora in its raw text form."""

    urls: list[str] = Field(
        default=["https://linqs-data.soe.ucsc.edu/public/lbc/cora.tgz"],
        min_length=1,
        description="where the archive is, tried in order: http(s)://, s3://, gs:// or a local path",
    )
    checksum: Checksum = Field(description="`sha256:` or `md5:` and the digest of the archive")
    timeout: float = Field(default=30, gt=0, le=3600, description="seconds without a byte before a try is given up")
    retries: int = Field(default=4, ge=0, le=100, description="tries again after a lost connection, per URL")


class CoraPrepare(Section):
    """The section `datasets.<key>.prepare` of Cora: Planetoid's numbers (Yang et al. 2016)."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the split")
    per_class: int = Field(default=20, ge=1, description="papers of each field to train on")
    val: int = Field(default=500, ge=1, description="papers for validation")
    test: int = Field(default=1000, ge=1, description="papers for testing")
    normalize: bool = Field(default=True, description="divide a paper's words by their number (Kipf & Welling 2017)")


def fetch(config: CoraFetch, folder: Path, base: Path) -> None:
    """Download the archive and take the two text files out of it.

    Raises:
        Fault: it cannot be had from any URL, has another checksum, or lacks a file.
    """
    target = folder / ARCHIVE
    download(config.urls, config.checksum, target, base=base, timeout=config.timeout, retries=config.retries)
    for name, content in _members(target).items():
        (folder / name).write_bytes(content)
    target.unlink()
    write_manifest(folder)


def _members(archive: Path) -> dict[str, bytes]:
    """The content of the two files, wherever in the archive they are."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                file = tar.extractfile(member) if name in (CONTENT, CITES) and member.isreg() else None
                if file is None:
                    continue
                if member.size > LARGEST:
                    raise Fault(f"{archive}: {name} has {member.size} bytes, which no file of Cora has")
                found[name] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise Fault(f"{archive} is no whole tar archive: {error}") from None
    if missing := [name for name in (CONTENT, CITES) if name not in found]:
        raise Fault(f"{archive} holds no {' and no '.join(missing)}")
    return found


def prepare(raw: Path, config: CoraPrepare, folder: Path) -> str:
    """Write the graph and its parts.

    Raises:
        Fault: a raw file changed or is not as it should be; file and line are named.
    """
    verified(raw)
    nodes = read(raw / CONTENT, raw / CITES, config.normalize)
    return write_graph(folder, nodes, planetoid(nodes.labels, config), config.seed)


def read(content: Path, cites: Path, normalize: bool) -> LabelledNodes:
    """Read both files; a citation goes both ways (Kipf & Welling 2017).

    Raises:
        Fault: a line is malformed, a paper stands twice, or one is cited that there is not; file and line are named.
    """
    first_line: dict[str, int] = {}
    words: list[NDArray[np.float32]] = []
    fields: list[str] = []
    for line, cells in _lines(content):
        where = tables.place(content, line)
        if len(cells) < 3:
            raise Fault(f"{where}: {len(cells)} columns; there must be a paper, its words and its field")
        if words and len(cells) - 2 != len(words[0]):
            raise Fault(f"{where}: {len(cells) - 2} words instead of {len(words[0])}")
        if wrong := set(cells[1:-1]) - {"0", "1"}:
            raise Fault(f"{where}: a word is {min(wrong)!r}, neither 0 nor 1")
        if cells[0] in first_line:
            raise Fault(f"{where}: paper {cells[0]!r} stands on line {first_line[cells[0]]} already")
        first_line[cells[0]] = line
        words.append(np.array(cells[1:-1], np.float32))
        fields.append(cells[-1])
    if len(classes := tuple(sorted(set(fields)))) < 2:
        raise Fault(f"{content} has {len(classes)} different fields; there must be two at least")
    attributes = np.stack(words)
    return LabelledNodes(
        names=tuple(first_line),
        edges=both_ways(_citations(cites, content, {name: number for number, name in enumerate(first_line)})),
        attributes=scaled(attributes, "rows") if normalize else attributes,
        labels=np.array([classes.index(field) for field in fields], np.int64),
        classes=classes,
        part=("",) * len(fields),
    )


def _citations(path: Path, content: Path, number: dict[str, int]) -> NDArray[np.int64]:
    found: list[tuple[int, int]] = []
    for line, cells in _lines(path):
        if len(cells) != 2:
            raise Fault(f"{tables.place(path, line)}: {len(cells)} instead of 2 columns")
        for name in cells:
            if name not in number:
                raise Fault(f"{tables.place(path, line)}: there is no paper {name!r} in {content.name}")
        found.append((number[cells[0]], number[cells[1]]))
    return np.array(found, np.int64).reshape(-1, 2).T


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not blank, with their numbers, split at tabs."""
    lines = tables.text(path).split("\n")
    return [(number, line.strip().split("\t")) for number, line in enumerate(lines, 1) if line.strip()]


def planetoid(labels: NDArray[np.int64], config: CoraPrepare) -> dict[str, NDArray[np.int64]]:
    """Draw so many papers of each field to train on, and of the others some for validation and some for testing.

    Raises:
        Fault: there are too few papers.
    """
    every = np.arange(len(labels), dtype=np.int64)
    train = some_of_each(labels, every, config.per_class, config.seed)
    others = np.setdiff1d(every, train)
    needed = config.val + config.test
    if len(others) < needed:
        raise Fault(f"{len(others)} papers are left when {len(train)} are trained on; val and test ask for {needed}")
    others = others[shuffled(len(others), config.seed)]
    val, test = others[: config.val], others[config.val : needed]
    return {"train": train, "val": np.sort(val), "test": np.sort(test)}


CORA = Dataset(
    name="cora",
    form="graph",
    augmentation="none",
    FetchConfig=CoraFetch,
    PrepareConfig=CoraPrepare,
    fetch=fetch,
    prepare=prepare,
    sketch=unknown,
)
