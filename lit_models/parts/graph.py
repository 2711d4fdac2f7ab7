"""What layers of graph networks are given: edges, their weights, and edges left out; all of shapes that never change.

An edge that is left out or that only fills a row is led to a place beyond the last node, where nobody looks: shapes
stay as they are, and the layers of torch_geometric need no changes. It still comes from a real node, for a place that
fed itself could grow without bound.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_models.core import noise


@dataclass(frozen=True)
class Links:
    """What one layer passes messages along.

    Attributes:
        edges: (2, E) int64, from row 0 to row 1.
        outputs: how many of the nodes, the first ones, get a new state.
        weight: (E,) what messages are multiplied by, in layers that can.
        scale: (V,) what a node's message is multiplied by, whomever it goes to; in layers that cannot weigh edges.
    """

    edges: Tensor
    outputs: int
    weight: Tensor | None = None
    scale: Tensor | None = None


class EdgeDropout(nn.Module):
    """Leave out edges in training, each with probability `p` (Rong et al., DropEdge, 2020), in all layers the same.

    Draws from the step's `Noise`, or from torch's global generator where none is active. In a cohort `p` may be a
    tensor, a lane's scalar.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p: float | Tensor = p

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"

    def forward(self, edges: Tensor, nowhere: int) -> Tensor:
        """Map edges (2, E) to edges (2, E), of which some lead to the place `nowhere`."""
        if not self.training:
            return edges
        source, count = noise.active(), edges.shape[1]
        if not isinstance(self.p, Tensor) and self.p == 0:
            if source is not None:
                source.skip(count)
            return edges
        if source is None:
            kept = torch.rand(count, device=edges.device) >= self.p
        else:
            kept = source.keep((count,), self.p, edges.device)
        return torch.stack([edges[0], torch.where(kept, edges[1], nowhere)])


def with_loops(edges: Tensor, nodes: int) -> Tensor:
    """Add to edges (2, E) one from each of the nodes to itself: (2, E + nodes)."""
    every = torch.arange(nodes, device=edges.device)
    return torch.cat([edges, torch.stack([every, every])], dim=1)


def degrees(targets: Tensor, nodes: int, like: Tensor) -> Tensor:
    """Count the edges that lead to each node (nodes,), in the type of `like`."""
    return like.new_zeros(nodes).scatter_add(0, targets, like.new_ones(targets.shape))


def symmetric_weights(edges: Tensor, nodes: int, like: Tensor) -> Tensor:
    """Weigh edges (2, E), loops among them, by 1 / sqrt(d_i d_j) (Kipf & Welling 2017): (E,) of `like`'s type.

    The degree d of a node counts its loop, so that none is 0. An edge that leads nowhere does not count for the node
    that it comes from: a degree is that of edges that arrive.
    """
    root = degrees(edges[1], nodes, like).rsqrt()
    return root[edges[0]] * root[edges[1]]


def flatten(edges: Tensor, nodes: int) -> Tensor:
    """Make of many graphs one that falls into as many parts.

    Args:
        edges: (2, B, E) int64, places in each graph; where one leads to `nodes`, there is no edge.
        nodes: places for nodes in each graph.

    Returns:
        (2, B E): graph b has the places from b * nodes on; edges that are none lead to B * nodes.
    """
    count = edges.shape[1]
    first = (torch.arange(count, device=edges.device) * nodes).view(-1, 1)
    targets = torch.where(edges[1] < nodes, edges[1] + first, count * nodes)
    return torch.stack([(edges[0] + first).reshape(-1), targets.reshape(-1)])


def read_out(states: Tensor, present: Tensor, how: str) -> Tensor:
    """Make one vector of the states of a graph's nodes.

    Args:
        states: (B, V, W), none below 0.
        present: (B, V) bool, where there is a node.
        how: `mean`, `sum` or `max`.

    Returns:
        (B, W); 0 for a graph without nodes.
    """
    mask = present.unsqueeze(-1).to(states.dtype)
    if how == "max":
        return (states * mask).amax(dim=1)  # no state is below the 0 that stands where there is no node
    total = (states * mask).sum(dim=1)
    return total if how == "sum" else total / mask.sum(dim=1).clamp_min(1)


def words(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw int64 of that shape, uniform from 0 to 2^31 - 1, from the step's noise or from torch's global generator."""
    source = noise.active()
    if source is None:
        return torch.randint(0, 1 << 31, shape, device=device)
    return (source.words(shape, device) & 0x7FFFFFFF).long()
