"""Neighbour sampling: what is drawn are neighbours, and what layers make of them is right on average."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_models.core.noise import Noise, drawing
from lit_models.gnn import GNNConfig, LitGNN
from lit_models.parts.neighbours import by_target, sample, sampled_links
from lit_models.specs.graph import GraphSpec

# 0 and 1 lead to 2, 2 to 0, 3 and 2 to 1; 4 has no edges.
EDGES = torch.tensor([[0, 1, 2, 3, 2], [2, 2, 0, 1, 1]])
layers = pytest.mark.parametrize("layer", ["gcn", "sage", "gat", "gin"])


def model(spec: GraphSpec, **settings: Any) -> LitGNN:
    return LitGNN(GNNConfig(init="small_normal", **settings), spec).double().train()


def complete(nodes: int, alike: bool) -> GraphSpec:
    """Every node leads to every other, but the last one to and from none."""
    edges = torch.cartesian_prod(torch.arange(nodes - 1), torch.arange(nodes - 1)).T
    generator = torch.Generator().manual_seed(0)
    attributes = torch.rand(1 if alike else nodes, 4, generator=generator).expand(nodes, 4)
    return GraphSpec(nodes, 4, 3, edges[:, edges[0] != edges[1]], attributes.clone())


def test_edges_are_sorted_by_where_they_lead() -> None:
    begins, sources = by_target(EDGES, 5)
    assert begins.tolist() == [0, 1, 3, 5, 5, 5]
    found = [sorted(sources[begin:end].tolist()) for begin, end in pairwise(begins.tolist())]
    assert found == [[2], [2, 3], [0, 1], [], []]


def test_draws_neighbours_of_neighbours_and_itself_where_there_are_none() -> None:
    roots = torch.tensor([2, 4, 1])
    nodes = sample(roots, *by_target(EDGES, 5), fan_out=4, hops=2)
    assert len(nodes) == 3 * (1 + 4 + 16)
    assert torch.equal(nodes[:3], roots)
    neighbours = {0: {2}, 1: {2, 3}, 2: {0, 1}, 3: {3}, 4: {4}}
    for place in range(3 + 12):
        children = nodes[3 + 4 * place : 7 + 4 * place]
        assert set(children.tolist()) <= neighbours[int(nodes[place])]


def test_every_neighbour_is_as_likely_and_the_key_says_which() -> None:
    sorted_edges = by_target(torch.stack([torch.arange(1, 7), torch.zeros(6, dtype=torch.int64)]), 7)
    with drawing(Noise(3)):
        drawn = sample(torch.zeros(1, dtype=torch.int64), *sorted_edges, fan_out=60_000, hops=1)[1:]
    shares = drawn.bincount(minlength=7).double() / 60_000
    assert shares[0] == 0
    torch.testing.assert_close(shares[1:], torch.full((6,), 1 / 6).double(), rtol=0.03, atol=0)
    with drawing(Noise(3)):
        again = sample(torch.zeros(1, dtype=torch.int64), *sorted_edges, fan_out=60_000, hops=1)[1:]
    assert torch.equal(again, drawn)


def test_a_graph_without_edges_can_be_sampled() -> None:
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    assert sample(torch.tensor([1, 2]), *by_target(nothing, 3), fan_out=2, hops=1).tolist() == [1, 2, 1, 1, 2, 2]


@layers
def test_children_stand_where_their_parents_look_for_them(layer: str) -> None:
    roots = torch.tensor([0, 1])
    begins, sources = by_target(EDGES, 5)
    nodes = sample(roots, begins, sources, fan_out=3, hops=2)
    for links, parents in zip(sampled_links(layer, nodes, begins, 2, 3, 2, torch.ones(1)), (8, 2), strict=True):
        assert links.outputs == parents
        between = links.edges[:, : 3 * parents]
        assert torch.equal(between[1], torch.arange(parents).repeat_interleave(3))
        assert torch.equal(between[0], torch.arange(2, 2 + 3 * parents))


@layers
@pytest.mark.parametrize("fan_out", [1, 3, 10])
def test_where_neighbours_are_alike_a_sample_is_as_good_as_all(layer: str, fan_out: int) -> None:
    spec = complete(6, alike=True)
    sampled = model(spec, layer=layer, neighbours=fan_out, depth=2, width=8)
    nodes = torch.arange(6)  # with one that has no neighbours
    seen = sampled(nodes)
    torch.testing.assert_close(seen, sampled.eval()(nodes), rtol=1e-10, atol=1e-12)


def mean_and_error(sampled: LitGNN, nodes: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """The mean of the logits over many draws, and its standard error."""
    logits = []
    with torch.no_grad():
        for key in range(draws):
            with drawing(Noise(7919 * key)):
                logits.append(sampled(nodes))
    found = torch.stack(logits)
    return found.mean(0), found.std(0) / draws**0.5


@pytest.mark.parametrize("layer", ["gcn", "sage"])
@pytest.mark.parametrize("fan_out", [2, 8])
def test_a_layer_sees_all_neighbours_on_average(layer: str, fan_out: int) -> None:
    spec = complete(7, alike=False)
    sampled = model(spec, layer=layer, neighbours=fan_out, depth=1)
    nodes = torch.arange(7)
    mean, error = mean_and_error(sampled, nodes, 400)
    assert ((mean - sampled.eval()(nodes)).abs() <= 5 * error + 1e-9).all()


def test_a_sum_sees_all_neighbours_on_average() -> None:
    spec = complete(7, alike=False)
    sampled = model(spec, layer="gin", neighbours=3, depth=1)
    sampled.network.layers[0].nn = torch.nn.Linear(4, 3).double()  # the mean of an MLP's outputs would be another's
    nodes = torch.arange(7)
    mean, error = mean_and_error(sampled, nodes, 400)
    assert ((mean - sampled.eval()(nodes)).abs() <= 5 * error + 1e-9).all()


@layers
def test_more_neighbours_come_closer_to_all(layer: str) -> None:
    spec = complete(12, alike=False)
    nodes = torch.arange(11)
    far = []
    for fan_out in (1, 40):
        sampled = model(spec, layer=layer, neighbours=fan_out, depth=2)
        with torch.no_grad(), drawing(Noise(1)):
            seen = sampled(nodes)
        far.append((seen - sampled.eval()(nodes)).detach().abs().mean())
    assert far[1] < 0.6 * far[0]
