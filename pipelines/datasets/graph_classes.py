"""Generated graphs of four kinds with as many edges as one another: how they hang together tells them apart, not how
much.

`random`: any edges are as likely as any others (P. Erdős, A. Rényi: On Random Graphs, 1959). `hubs`: who has many
friends finds more (A.-L. Barabási, R. Albert: Emergence of Scaling in Random Networks, 1999). `ring`: neighbours on a
ring, and some shortcuts (D. Watts, S. Strogatz: Collective Dynamics of Small-World Networks, 1998). `lattice`: a square
grid, and some shortcuts. A graph of n nodes has 2 n - 4 edges, whatever its kind.

The raw file has a line of JSON for each graph: `{"nodes": 5, "edges": [[0, 1], [1, 2]], "class": "ring"}`.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pipelines.faults import Fault
from pipelines.formats import tables
from pipelines.formats.base import Dataset, SplitConfig, unknown
from pipelines.formats.graphs import LabelledGraph, both_ways, write_graphs
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

FILE = "graphs.jsonl"
REWIRED = 0.1
"""Share of a ring's edges that become shortcuts."""

Edge = tuple[int, int]


class GraphClassesFetch(Section):
    """Graphs of four kinds, generated."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the graphs")
    graphs: int = Field(default=800, ge=12, le=10**6, description="graphs to generate, as many of each kind")
    least: int = Field(default=16, ge=8, le=1000, description="nodes of the smallest graphs")
    most: int = Field(default=32, ge=8, le=1000, description="nodes of the largest graphs")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least is {self.least}, more than most, {self.most}")
        return self


class GraphClassesPrepare(SplitConfig):
    """The section `datasets.<key>.prepare` of graphs that are classified as wholes."""

    kinds: Literal["degree", "same"] = Field(
        default="degree", description="what tells nodes apart: how many neighbours they have, or nothing"
    )
    most_degree: int = Field(default=10, ge=1, le=1000, description="from so many neighbours on, nodes are of one kind")


class Dice:
    """Draws from PCG64's raw output, which NumPy keeps as it is, unlike what is drawn from it."""

    def __init__(self, *keys: int) -> None:
        self._words = np.random.PCG64(np.random.SeedSequence(keys))

    def below(self, count: int) -> int:
        """Draw a whole number from 0 to count - 1."""
        return int(self._words.random_raw()) % count

    def chance(self, share: float) -> bool:
        """Say yes with that probability."""
        return int(self._words.random_raw()) < share * 2.0**64

    def other(self, nodes: int, edges: set[Edge], node: int | None = None) -> Edge:
        """Draw an edge that there is not yet, from `node` if one is given."""
        while True:
            edge = pair(self.below(nodes) if node is None else node, self.below(nodes))
            if edge[0] != edge[1] and edge not in edges:
                return edge


def pair(one: int, other: int) -> Edge:
    """An edge as it is written: the smaller end first."""
    return min(one, other), max(one, other)


def _random(nodes: int, dice: Dice) -> set[Edge]:
    return set()


def _hubs(nodes: int, dice: Dice) -> set[Edge]:
    """Every newcomer links to two, each as likely as it has edges; the first one to the two that were there before."""
    edges = {(0, 2), (1, 2)}
    ends = [0, 2, 1, 2]
    for node in range(3, nodes):
        chosen: set[int] = set()
        while len(chosen) < 2:
            chosen.add(ends[dice.below(len(ends))])
        for other in sorted(chosen):
            edges.add(pair(node, other))
            ends += [node, other]
    return edges


def _ring(nodes: int, dice: Dice) -> set[Edge]:
    """Every node and the next two; some edges lead elsewhere instead, and four are missing."""
    edges = {pair(node, (node + step) % nodes) for node in range(nodes) for step in (1, 2)}
    for edge in sorted(edges):
        if dice.chance(REWIRED):
            edges.remove(edge)
            edges.add(dice.other(nodes, edges, edge[0]))
    for _ in range(4):
        edges.remove(sorted(edges)[dice.below(len(edges))])
    return edges


def _lattice(nodes: int, dice: Dice) -> set[Edge]:
    side = int(np.ceil(np.sqrt(nodes)))
    across = {(node, node + 1) for node in range(nodes - 1) if (node + 1) % side}
    return across | {(node, node + side) for node in range(nodes - side)}


MAKERS: dict[str, Callable[[int, Dice], set[Edge]]] = {
    "random": _random,
    "hubs": _hubs,
    "ring": _ring,
    "lattice": _lattice,
}


def make(kind: str, nodes: int, dice: Dice) -> list[Edge]:
    """Make a graph of that kind: 2 * nodes - 4 edges, sorted, of nodes in no particular order."""
    edges = MAKERS[kind](nodes, dice)
    while len(edges) < 2 * nodes - 4:
        edges.add(dice.other(nodes, edges))
    names = list(range(nodes))
    for last in range(nodes - 1, 0, -1):  # Fisher & Yates
        chosen = dice.below(last + 1)
        names[last], names[chosen] = names[chosen], names[last]
    return sorted(pair(names[a], names[b]) for a, b in edges)


def fetch(config: GraphClassesFetch, folder: Path, base: Path) -> None:
    """Write the graphs; graph i depends on (seed, i) and on its sizes alone."""
    del base
    with (folder / FILE).open("w", encoding="utf-8", newline="\n") as file:
        for number in range(config.graphs):
            dice = Dice(config.seed, number)
            kind = list(MAKERS)[number % len(MAKERS)]
            nodes = config.least + dice.below(config.most - config.least + 1)
            graph = {"nodes": nodes, "edges": make(kind, nodes, dice), "class": kind}
            file.write(json.dumps(graph) + "\n")
    write_manifest(folder)


def prepare(raw: Path, config: GraphClassesPrepare, folder: Path) -> str:
    """Write the graphs as padded rows.

    Raises:
        Fault: a raw file changed or a graph is malformed; the line is named.
    """
    verified(raw)
    found = list(read(raw / FILE))
    classes = sorted({label for _, _, label in found})
    graphs = []
    for nodes, edges, label in found:
        degree = np.bincount(edges[1], minlength=nodes).clip(max=config.most_degree)
        kinds = degree + 1 if config.kinds == "degree" else np.ones(nodes, np.int64)
        graphs.append(LabelledGraph(edges, kinds.astype(np.int64), classes.index(label)))
    return write_graphs(folder, graphs, classes, config)


def read(path: Path) -> Iterator[tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.int64]], str]]:
    """Yield for each graph its number of nodes, its edges both ways (2, E), and its class.

    Raises:
        Fault: a line is no such JSON, or an edge leads to a node that there is not; the line is named.
    """
    for line, text in enumerate(tables.text(path).split("\n"), 1):
        if not text.strip():
            continue
        where = tables.place(path, line)
        try:
            graph: Any = json.loads(text)
            nodes, edges, label = graph["nodes"], graph["edges"], graph["class"]
        except (ValueError, TypeError, KeyError) as error:
            raise Fault(f"{where}: no JSON object with nodes, edges and class: {error}") from None
        if not isinstance(nodes, int) or nodes < 1 or not isinstance(edges, list) or not isinstance(label, str):
            raise Fault(f"{where}: nodes must be a whole number from 1, edges a list, class a text")
        for edge in edges:
            if not isinstance(edge, list) or len(edge) != 2 or not all(isinstance(end, int) for end in edge):
                raise Fault(f"{where}: {edge!r} is no edge, which is two whole numbers")
            if not all(0 <= end < nodes for end in edge):
                raise Fault(f"{where}: edge {edge} leads to a node that there is not; nodes are 0 to {nodes - 1}")
        yield nodes, both_ways(np.array(edges, np.int64).reshape(-1, 2).T), label


GRAPH_CLASSES = Dataset(
    name="graph_classes",
    form="graphs",
    augmentation="graphs",
    FetchConfig=GraphClassesFetch,
    PrepareConfig=GraphClassesPrepare,
    fetch=fetch,
    prepare=prepare,
    sketch=unknown,
)
