"""Graphs as examples: one whose nodes are classified, or many that are classified as wholes; and how both are written.

Form `graph`: the parts hold nodes and labels, and `graph.safetensors` beside them all edges and what describes the
nodes. Form `graphs`: a row holds one padded graph; lit_models/specs/graph.py says how.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.faults import Fault
from pipelines.formats.base import SplitConfig
from pipelines.formats.prepared import Indices, write_labelled, write_part
from pipelines.formats.splits import split

MOST_NAMED = 1000
"""Nodes whose names the card holds: more of them no picture could show."""

MOST_IDENTITY = 4096
"""Nodes that may do without features: each is a feature then, and the table has the square of their number."""

UNLABELLED = -1
NAMED_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledNodes:
    """One graph and what is known of its nodes.

    Attributes:
        names: of the nodes, V.
        edges: (2, E) int64; an edge that goes both ways stands here twice.
        attributes: (V, F) float32.
        labels: (V,) int64; -1 where there is none.
        classes: a name for each label.
        part: for each node `train`, `val`, `test` or nothing: what its makers meant it for.
    """

    names: tuple[str, ...]
    edges: Indices
    attributes: NDArray[np.float32]
    labels: Indices
    classes: tuple[str, ...]
    part: tuple[str, ...]


@dataclass(frozen=True)
class LabelledGraph:
    """One of many graphs.

    Attributes:
        edges: (2, E) int64, both ways.
        kinds: (V,) int64, from 1.
        label: of the graph.
    """

    edges: Indices
    kinds: Indices
    label: int


class NodeSplitConfig(SplitConfig):
    """The section `datasets.<key>.prepare` of a graph whose nodes are classified."""

    val: float = Field(default=0.2, gt=0, lt=1, description="fraction of the labelled nodes for validation")
    test: float = Field(
        default=0.4, gt=0, lt=1, description="fraction for testing; all that are left where training nodes are named"
    )
    per_class: int | None = Field(
        default=None, ge=1, description="train on that many nodes of each class; null takes all that are left"
    )


def both_ways(edges: Indices, directed: bool = False) -> Indices:
    """Sort edges (2, E), each once and none from a node to itself; unless they are directed, add the way back."""
    if not directed:
        edges = np.concatenate([edges, edges[::-1]], axis=1)
    edges = edges[:, edges[0] != edges[1]]
    return np.unique(edges, axis=1).astype(np.int64) if edges.size else edges.astype(np.int64)


def identity(count: int, source: Path) -> NDArray[np.float32]:
    """Describe each node by nothing but which it is (Kipf & Welling 2017): (V, V).

    Raises:
        Fault: there are too many nodes.
    """
    if count > MOST_IDENTITY:
        raise Fault(f"{source} gives no features, which only a graph of up to {MOST_IDENTITY} nodes can do without")
    return np.eye(count, dtype=np.float32)


def split_nodes(nodes: LabelledNodes, config: NodeSplitConfig, source: Path) -> dict[str, Indices]:
    """Choose nodes for each part: those that are named, or some of each class.

    Where nodes to train on are named, no other is trained on; the others are for validation and testing.

    Raises:
        Fault: a class or a part would have no node.
    """
    labelled = nodes.labels != UNLABELLED
    part = np.array(nodes.part)
    if not (part[labelled] == "train").any():
        return _drawn(nodes, labelled, config)
    free = np.flatnonzero(labelled & (part == ""))
    free = free[shuffled(len(free), config.seed)]
    found = {name: np.flatnonzero(labelled & (part == name)) for name in NAMED_PARTS}
    if not len(found["val"]):
        count = max(1, round(config.val * len(free)))
        found["val"], free = free[:count], free[count:]
    if not len(found["test"]):
        found["test"] = free
    if empty := [name for name in NAMED_PARTS if not len(found[name])]:
        raise Fault(f"{source} leaves no labelled nodes for {' and '.join(empty)}")
    return {name: np.sort(rows).astype(np.int64) for name, rows in found.items()}


def _drawn(nodes: LabelledNodes, labelled: NDArray[np.bool_], config: NodeSplitConfig) -> dict[str, Indices]:
    known = np.flatnonzero(labelled)
    parts = {name: known[rows] for name, rows in split(nodes.labels[known], None, config, list(nodes.classes)).items()}
    if config.per_class is not None:
        parts["train"] = some_of_each(nodes.labels, parts["train"], config.per_class, config.seed)
    return parts


def some_of_each(labels: Indices, rows: Indices, count: int, seed: int) -> Indices:
    """Draw `count` of each class among the nodes `rows`, or all of a class that has fewer; ascending."""
    kept = []
    for label in np.unique(labels[rows]):
        of_class = rows[labels[rows] == label]
        kept.append(of_class[shuffled(len(of_class), seed, int(label))[:count]])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def shuffled(count: int, *keys: int) -> Indices:
    """A permutation from PCG64's raw output: NumPy keeps that as it is, unlike what is drawn from it."""
    return np.argsort(np.random.PCG64(np.random.SeedSequence(keys)).random_raw(count), kind="stable").astype(np.int64)


def write_graph(folder: Path, nodes: LabelledNodes, parts: Mapping[str, Indices], seed: int) -> str:
    """Write the graph, the parts and the card; return what there is in words."""
    count = len(nodes.names)
    tensors: dict[str, NDArray[Any]] = {"edges": nodes.edges, "attributes": nodes.attributes}
    card = {
        "form": "graph",
        "nodes": count,
        "features": int(nodes.attributes.shape[1]),
        "edges": int(nodes.edges.shape[1]),
        "classes": list(nodes.classes),
        "names": list(nodes.names) if count <= MOST_NAMED else [],
        "graph_sha256": write_part(folder, "graph", tensors),
    }
    sizes = write_labelled(folder, np.arange(count), nodes.labels, parts, card, seed)
    unlabelled = int((nodes.labels == UNLABELLED).sum())
    rest = f", {unlabelled} without a label" if unlabelled else ""
    return f"{sizes}; {len(nodes.classes)} classes, {count} nodes{rest}, {nodes.edges.shape[1]} edges"


def pack(graphs: Sequence[LabelledGraph], nodes: int, edges: int) -> NDArray[np.int32]:
    """Write graphs into rows (N, nodes + 2 edges) of the form `graphs`, padded."""
    rows = np.zeros((len(graphs), nodes + 2 * edges), np.int32)
    rows[:, nodes + edges :] = nodes
    for row, graph in zip(rows, graphs, strict=True):
        count = graph.edges.shape[1]
        row[: len(graph.kinds)] = graph.kinds
        row[nodes : nodes + count] = graph.edges[0]
        row[nodes + edges : nodes + edges + count] = graph.edges[1]
    return rows


def write_graphs(folder: Path, graphs: Sequence[LabelledGraph], classes: Sequence[str], config: SplitConfig) -> str:
    """Split graphs and write the parts and the card; return what there is in words.

    Raises:
        Fault: a class has too few graphs.
    """
    labels = np.array([graph.label for graph in graphs], np.int64)
    nodes = max(len(graph.kinds) for graph in graphs)
    edges = max(graph.edges.shape[1] for graph in graphs)
    card = {
        "form": "graphs",
        "nodes": nodes,
        "edges": edges,
        "features": max(int(graph.kinds.max()) for graph in graphs),
        "classes": list(classes),
    }
    parts = split(labels, None, config, list(classes))
    sizes = write_labelled(folder, pack(graphs, nodes, edges), labels, parts, card, config.seed)
    return f"{sizes}; {len(classes)} classes, graphs of up to {nodes} nodes and {edges // 2} edges"
