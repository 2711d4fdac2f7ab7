"""Specs of graphs: one whose nodes are classified, and many that are classified each as a whole."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import safe_open
from torch import Tensor

from lit_models.specs.base import DataSpec

GRAPH = "graph.safetensors"


@dataclass(frozen=True)
class GraphSpec(DataSpec):
    """One graph whose nodes have labels. `x` (N,) int64 are nodes, `y` (N,) int64 their labels.

    The graph itself is no example: every example sees all of it, so that it belongs to the spec.

    Attributes:
        nodes: number of nodes, V.
        features: numbers that describe a node, F.
        classes: number of classes.
        edges: (2, E) int64, from the nodes of the first row to those of the second; an edge that goes both ways stands
            here twice, and no node leads to itself.
        attributes: (V, F) float32, what describes each node.
    """

    form: ClassVar[str] = "graph"

    nodes: int
    features: int
    classes: int
    edges: Tensor = field(compare=False, repr=False)
    attributes: Tensor = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a graph that no network could be built on.

        Raises:
            ValueError: naming the field that is wrong.
        """
        if min(self.nodes, self.features, self.classes) < 1:
            raise ValueError("nodes, features and classes must be at least 1")
        if self.attributes.shape != (self.nodes, self.features):
            raise ValueError(f"attributes must be of shape {(self.nodes, self.features)}")
        if self.edges.dtype != torch.int64 or self.edges.dim() != 2 or len(self.edges) != 2:
            raise ValueError("edges must be (2, E) int64")
        if self.edges.numel() and not 0 <= int(self.edges.min()) <= int(self.edges.max()) < self.nodes:
            raise ValueError(f"edges must lead from node to node, 0 to {self.nodes - 1}")

    @classmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take the sizes from the card, and the graph from the file beside it."""
        path = folder / GRAPH
        if not path.is_file():
            raise ValueError(f"{path} is missing")
        with safe_open(path, framework="pt") as file:
            if not {"edges", "attributes"} <= set(file.keys()):
                raise ValueError(f"{path} must hold the tensors edges and attributes")
            edges, attributes = file.get_tensor("edges"), file.get_tensor("attributes")
        return cls(int(card["nodes"]), int(card["features"]), len(card["classes"]), edges, attributes)

    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Name the first node `count` times, with the first class."""
        return torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)

    def fault(self, x: Tensor, y: Tensor) -> str:
        """Want nodes of the graph, and a label each."""
        if x.dtype != torch.int64 or x.dim() != 1 or y.dtype != torch.int64 or y.shape != x.shape:
            return "must hold x (N,) int64 and y (N,) int64"
        inside = not len(x) or 0 <= int(x.min()) <= int(x.max()) < self.nodes
        return "" if inside else f"must hold nodes from 0 to {self.nodes - 1} in x"


@dataclass(frozen=True)
class GraphsSpec(DataSpec):
    """Many graphs with a label each, padded to one size. `x` (N, V + 2 E) int32, `y` (N,) int64.

    A row of `x` holds the kind of each of V places for nodes, from 1 to F, or 0 where there is no node; then where E
    edges come from and where they lead. An edge that is none comes from place 0 and leads to V, beyond the last place.

    Attributes:
        nodes: places for nodes, V.
        edges: places for edges, E; an edge that goes both ways takes two.
        features: kinds of nodes, F (atoms, say; or degrees).
        classes: number of classes.
    """

    form: ClassVar[str] = "graphs"

    nodes: int
    edges: int
    features: int
    classes: int

    def __post_init__(self) -> None:
        """Refuse sizes that no network could be built for.

        Raises:
            ValueError: naming the field that is wrong.
        """
        if min(self.nodes, self.features, self.classes) < 1 or self.edges < 0:
            raise ValueError("nodes, features and classes must be at least 1, and edges at least 0")

    @property
    def width(self) -> int:
        """Numbers in a row of `x`."""
        return self.nodes + 2 * self.edges

    @classmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take the sizes from the card."""
        del folder
        return cls(int(card["nodes"]), int(card["edges"]), int(card["features"]), len(card["classes"]))

    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Make graphs of one node."""
        x = torch.zeros((count, self.width), dtype=torch.int32)
        x[:, 0] = 1
        x[:, self.nodes + self.edges :] = self.nodes
        return x, torch.zeros(count, dtype=torch.int64)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take rows (..., V + 2 E) apart: kinds (..., V), sources (..., E) and targets (..., E)."""
        sizes = [self.nodes, self.edges, self.edges]
        kinds, sources, targets = torch.split(x, sizes, dim=-1)
        return kinds, sources, targets

    def fault(self, x: Tensor, y: Tensor) -> str:
        """Want rows of the right width, kinds and places that exist, and a label each."""
        if (
            x.dtype != torch.int32
            or x.shape != (len(x), self.width)
            or y.dtype != torch.int64
            or y.shape != x.shape[:1]
        ):
            return f"must hold x (N, {self.width}) int32 and y (N,) int64"
        for part, most in zip(self.parts(x), (self.features, self.nodes - 1, self.nodes), strict=True):
            if part.numel() and not 0 <= int(part.min()) <= int(part.max()) <= most:
                return f"must hold kinds from 0 to {self.features} and edges between places 0 to {self.nodes}"
        return ""
