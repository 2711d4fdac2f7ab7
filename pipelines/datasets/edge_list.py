"""A person's own graph as two CSV files: edges, and nodes with their features and labels.

`edges.csv` has the columns source and target. `nodes.csv` has the column node, and may have label (empty where it is
not known) and part (train, val, test, or empty); every other column is a feature, a number. Without any, a node is
described by nothing but which it is.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.datasets.parts import own
from pipelines.faults import Fault
from pipelines.formats import tables
from pipelines.formats.base import Dataset, unknown
from pipelines.formats.graphs import (
    NAMED_PARTS,
    UNLABELLED,
    LabelledNodes,
    NodeSplitConfig,
    both_ways,
    identity,
    split_nodes,
    write_graph,
)
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

EDGES, NODES = "edges.csv", "nodes.csv"
NODE, LABEL, PART = "node", "label", "part"
Scale = Literal["none", "rows", "columns"]


class EdgeListFetch(Section):
    """A graph of your own: a CSV file of edges and one of nodes."""

    edges: str = Field(min_length=1, description="CSV with the columns source and target; a path or a URL")
    nodes: str = Field(
        min_length=1, description="CSV with the columns node, label (may be empty), part (optional), and features"
    )


class EdgeListPrepare(NodeSplitConfig):
    """The section `datasets.<key>.prepare` of a graph given by an edge list."""

    directed: bool = Field(default=False, description="edges go from source to target only, instead of both ways")
    scale: Scale = Field(
        default="none",
        description="features as they are, as shares of their row's sum, or with mean 0 and deviation 1 per column",
    )


def fetch(config: EdgeListFetch, folder: Path, base: Path) -> None:
    """Copy both files.

    Raises:
        Fault: one does not exist or cannot be read.
    """
    own.copy(config.edges, base, folder / EDGES)
    own.copy(config.nodes, base, folder / NODES)
    write_manifest(folder)


def prepare(raw: Path, config: EdgeListPrepare, folder: Path) -> str:
    """Write the graph and its parts.

    Raises:
        Fault: a raw file changed or is not as it should be; file and line are named.
    """
    verified(raw)
    nodes = read(raw / EDGES, raw / NODES, config.directed, config.scale)
    return write_graph(folder, nodes, split_nodes(nodes, config, raw / NODES), config.seed)


def read(edges: Path, nodes: Path, directed: bool = False, scale: Scale = "none") -> LabelledNodes:
    """Read both files.

    Raises:
        Fault: a node stands twice, has no name or an unknown part; a feature is no number; an edge leads to a node
            that there is not; there are less than two classes. File and line are named.
    """
    header, rows = tables.read(nodes, columns=(NODE, LABEL))
    place = {name: column for column, name in enumerate(header)}
    features = [name for name in header if name not in (NODE, LABEL, PART)]
    first_line: dict[str, int] = {}
    attributes = np.zeros((len(rows), len(features)), np.float32)
    for position, row in enumerate(rows):
        name = row.cells[place[NODE]].strip()
        if not name:
            raise Fault(f"{tables.place(nodes, row.line)}: the node has no name")
        if name in first_line:
            raise Fault(f"{tables.place(nodes, row.line)}: node {name!r} stands on line {first_line[name]} already")
        first_line[name] = row.line
        attributes[position] = [tables.number(nodes, row.line, f, row.cells[place[f]]) for f in features]
    names = tuple(first_line)
    labels, classes = _labels(nodes, rows, place[LABEL])
    part = _parts(nodes, rows, place.get(PART), labels)
    ends = _edges(edges, nodes, {name: number for number, name in enumerate(names)})
    return LabelledNodes(
        names=names,
        edges=both_ways(ends, directed),
        attributes=scaled(attributes, scale) if features else identity(len(names), nodes),
        labels=labels,
        classes=classes,
        part=part,
    )


def _labels(path: Path, rows: list[tables.Row], column: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    cells = [row.cells[column].strip() for row in rows]
    classes = tuple(sorted({cell for cell in cells if cell}))
    if len(classes) < 2:
        raise Fault(f"{path} has {len(classes)} different labels; there must be two at least")
    number = {"": UNLABELLED, **{name: label for label, name in enumerate(classes)}}
    return np.array([number[cell] for cell in cells], np.int64), classes


def _parts(path: Path, rows: list[tables.Row], column: int | None, labels: NDArray[np.int64]) -> tuple[str, ...]:
    if column is None:
        return ("",) * len(rows)
    for row, label in zip(rows, labels, strict=True):
        part = row.cells[column].strip()
        if part not in ("", *NAMED_PARTS):
            raise Fault(f"{tables.place(path, row.line)}: part is {part!r}, not train, val, test or empty")
        if part and label == UNLABELLED:
            raise Fault(f"{tables.place(path, row.line)}: the node is meant for {part}, but has no label")
    return tuple(row.cells[column].strip() for row in rows)


def _edges(path: Path, nodes: Path, number: dict[str, int]) -> NDArray[np.int64]:
    header, rows = tables.read(path, columns=("source", "target"))
    if extra := [name for name in header if name not in ("source", "target")]:
        raise Fault(f"{tables.place(path, 1)}: column {extra[0]!r} is of no use here; keep source and target")
    ends = [header.index("source"), header.index("target")]
    found = np.empty((2, len(rows)), np.int64)
    for position, row in enumerate(rows):
        for end, column in enumerate(ends):
            name = row.cells[column].strip()
            if name not in number:
                raise Fault(f"{tables.place(path, row.line)}: there is no node {name!r} in {nodes.name}")
            found[end, position] = number[name]
    return found


def scaled(attributes: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
    """Scale features (V, F): by rows to a sum of 1 (of absolute values), by columns to mean 0 and deviation 1.

    All nodes count, for all of them are seen in training; only their labels are not.
    """
    wide = attributes.astype(np.float64)
    if scale == "rows":
        wide = wide / _or_one(np.abs(wide).sum(1, keepdims=True))
    if scale == "columns":
        wide = (wide - wide.mean(0)) / _or_one(wide.std(0))
    return wide.astype(np.float32)


def _or_one(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What can be divided by."""
    return np.where(values > 0, values, 1.0)


EDGE_LIST = Dataset(
    name="edge_list",
    form="graph",
    augmentation="none",
    FetchConfig=EdgeListFetch,
    PrepareConfig=EdgeListPrepare,
    fetch=fetch,
    prepare=prepare,
    sketch=unknown,
)
