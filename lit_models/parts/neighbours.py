"""Neighbour sampling (Hamilton et al., GraphSAGE, 2017): a step looks at some neighbours of some nodes, not at all.

Every node asks the same number of its neighbours, drawn with replacement, so that shapes never change and a node with
few of them fits as well as one with thousands. What is asked stands in one row, hop after hop: child `j` of the node at
place `i` stands at place `roots + i * fan_out + j`.
"""

import torch
from torch import Tensor

from lit_models.parts.graph import Links, degrees, with_loops, words


def by_target(edges: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Sort edges (2, E) by where they lead.

    Returns:
        Where each node's edges begin (nodes + 1,) int64, and where the edges come from (E,) int64.
    """
    order = torch.argsort(edges[1], stable=True)
    counts = degrees(edges[1], nodes, edges)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]), edges[0][order]


def sample(roots: Tensor, begins: Tensor, sources: Tensor, fan_out: int, hops: int) -> Tensor:
    """Draw neighbours of nodes, neighbours of those, and so on; a node without any draws itself.

    Args:
        roots: (B,) int64 nodes.
        begins: (V + 1,) where each node's neighbours begin in `sources`.
        sources: (E,) neighbours.
        fan_out: neighbours that each node draws.
        hops: how often.

    Returns:
        (B (1 + fan_out + ... + fan_out^hops),) int64 nodes, the roots first.
    """
    rows, last = [roots], roots
    # One more, for graphs whose last nodes, or all, have no neighbours.
    sources = torch.cat([sources, sources.new_zeros(1)])
    for _ in range(hops):
        parents = last.repeat_interleave(fan_out)
        begin, count = begins[parents], begins[parents + 1] - begins[parents]
        drawn = words((len(parents),), parents.device) % count.clamp_min(1)
        last = torch.where(count > 0, sources[begin + drawn], parents)
        rows.append(last)
    return torch.cat(rows)


def sampled_links(
    kind: str, nodes: Tensor, begins: Tensor, roots: int, fan_out: int, hops: int, like: Tensor
) -> list[Links]:
    """Say what each layer passes along between sampled nodes.

    What a layer sums up has the same expectation as over all neighbours: a mean is one over those that were drawn, and
    in a sum each of them stands for `degree / fan_out`. GAT's softmax over a sample and the node itself has another.

    Args:
        kind: of layer.
        nodes: (T,) what `sample` returned.
        begins: as for `sample`.
        roots: how many of them are roots, B.
        fan_out: as for `sample`.
        hops: as for `sample`, and the number of layers.
        like: what type the weights have.
    """
    degree = (begins[nodes + 1] - begins[nodes]).to(like.dtype)
    root = (degree + 1).rsqrt()
    found = []
    for hop in reversed(range(hops)):
        parents = roots * sum(fan_out**k for k in range(hop + 1))
        target = torch.arange(parents, device=nodes.device).repeat_interleave(fan_out)
        edges = torch.stack([torch.arange(roots, roots + parents * fan_out, device=nodes.device), target])
        asked = degree[:parents].repeat_interleave(fan_out)
        if kind == "gcn":
            loops = root[: roots + parents * fan_out].square()
            weight = asked / fan_out * root[roots : roots + parents * fan_out] * root[target]
            found.append(Links(with_loops(edges, len(loops)), parents, weight=torch.cat([weight, loops])))
        elif kind == "gat":
            found.append(Links(with_loops(edges, roots + parents * fan_out), parents))
        else:
            share = asked / fan_out if kind == "gin" else (asked > 0).to(like.dtype)
            found.append(Links(edges, parents, scale=torch.cat([like.new_ones(roots), share])))
    return found
