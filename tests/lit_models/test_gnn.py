"""Graph networks: layers are torch_geometric's, padding changes nothing, fused equals lone, the karate club parts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.export import Dim, export

from lit_models.cohort.data import CohortData
from lit_models.cohort.engine import Setting
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lanes import Lane
from lit_models.cohort.lone import LoneEngine
from lit_models.core.noise import Noise, drawing
from lit_models.forms import load_spec
from lit_models.gnn import GNNConfig, LitGNN, convolutions
from lit_models.parts.graph import EdgeDropout, read_out
from lit_models.specs.graph import GraphSpec, GraphsSpec
from tests.lit_models.cohorts import difference

LAYERS = ("gcn", "sage", "gat", "gin")
layers = pytest.mark.parametrize("layer", LAYERS)


def graph(nodes: int = 12, features: int = 5, seed: int = 0) -> GraphSpec:
    """A random graph whose last node has no edge."""
    generator = torch.Generator().manual_seed(seed)
    joined = torch.rand(nodes - 1, nodes - 1, generator=generator).triu(1) > 0.7
    one_way = joined.nonzero().T
    attributes = torch.rand(nodes, features, generator=generator)
    return GraphSpec(nodes, features, 3, torch.cat([one_way, one_way.flip(0)], dim=1), attributes)


def rows(spec: GraphsSpec, count: int, seed: int = 0) -> Tensor:
    """Random graphs of different sizes in rows, the least of them a single node."""
    generator = torch.Generator().manual_seed(seed)
    x, _ = spec.blank(count)
    kinds, sources, targets = spec.parts(x)
    for number in range(1, count):
        size = int(torch.randint(2, 7, (), generator=generator))
        kinds[number, :size] = torch.randint(1, spec.features + 1, (size,), generator=generator, dtype=torch.int32)
        edges = torch.randint(0, size, (2, 10), generator=generator, dtype=torch.int32)
        edges = edges[:, edges[0] != edges[1]][:, :5]
        both = torch.cat([edges, edges.flip(0)], dim=1)
        sources[number, : both.shape[1]], targets[number, : both.shape[1]] = both
    return x


GRAPHS = GraphsSpec(nodes=6, edges=10, features=4, classes=3)


def make(spec: GraphSpec | GraphsSpec, seed: int = 0, **settings: Any) -> LitGNN:
    return LitGNN(GNNConfig(**settings), spec, seed).double()


def reference(model: LitGNN, layer: str, inputs: int, outputs: int) -> nn.Module:
    """torch_geometric's own module as it comes, with the weights of the model's first layer."""
    conv = convolutions()
    made: nn.Module = {
        "gcn": lambda: conv.GCNConv(inputs, outputs),
        "sage": lambda: conv.SAGEConv(inputs, outputs),
        "gat": lambda: conv.GATConv(inputs, outputs),
        "gin": lambda: conv.GINConv(model.network.layers[0].nn, train_eps=True),
    }[layer]()
    made = made.double()
    made.load_state_dict(model.network.layers[0].state_dict())
    return made


@layers
def test_a_layer_is_torch_geometrics(layer: str) -> None:
    spec = graph()
    model = make(spec, layer=layer, depth=1)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    own = reference(model, layer, spec.features, spec.classes)
    nodes = torch.arange(spec.nodes)
    torch.testing.assert_close(model(nodes), own(spec.attributes.double(), spec.edges), rtol=1e-12, atol=1e-12)


def test_heads_lie_side_by_side_but_in_the_last_layer() -> None:
    spec = graph()
    model = make(spec, layer="gat", depth=2, width=6, heads=3)
    attributes = spec.attributes.double()
    first = convolutions().GATConv(spec.features, 2, 3).double()
    first.load_state_dict(model.network.layers[0].state_dict())
    last = convolutions().GATConv(6, spec.classes, 3, concat=False).double()
    last.load_state_dict(model.network.layers[1].state_dict())
    torch.testing.assert_close(
        model(torch.arange(12)), last(first(attributes, spec.edges).relu(), spec.edges), rtol=1e-12, atol=1e-12
    )


@layers
@pytest.mark.parametrize("readout", ["mean", "sum", "max"])
def test_padding_changes_no_output(layer: str, readout: str) -> None:
    small, large = GRAPHS, GraphsSpec(nodes=9, edges=25, features=4, classes=3)
    x = rows(small, 8)
    wide, _ = large.blank(8)
    for own, theirs in zip(large.parts(wide), small.parts(x), strict=True):
        own[:, : theirs.shape[1]] = theirs
    nowhere = large.parts(wide)[2]
    nowhere[nowhere == small.nodes] = large.nodes
    model, padded = (make(spec, layer=layer, depth=3, width=4, readout=readout) for spec in (small, large))
    assert not large.fault(wide, torch.zeros(8, dtype=torch.int64))
    torch.testing.assert_close(padded(wide), model(x), rtol=1e-12, atol=1e-12)
    gradients = []
    for network, data in ((model, x), (padded, wide)):
        loss = network.sample_losses(network(data), torch.arange(8) % 3).sum()
        gradients.append(torch.autograd.grad(loss, network.parameters()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12)


@layers
def test_a_graph_does_not_depend_on_its_batch_nor_on_the_order_of_its_nodes(layer: str) -> None:
    model = make(GRAPHS, layer=layer, depth=2, width=4)
    x = rows(GRAPHS, 8)
    together = model(x)
    torch.testing.assert_close(torch.cat([model(row[None]) for row in x]), together, rtol=1e-12, atol=1e-12)
    order = torch.tensor([3, 1, 5, 0, 2, 4, 6])
    kinds, sources, targets = (part.clone() for part in GRAPHS.parts(x))
    moved = torch.zeros_like(kinds)
    moved[:, order[:6]] = kinds
    shuffled = torch.cat([moved, order[sources.long()].int(), order[targets.long()].int()], dim=1)
    torch.testing.assert_close(model(shuffled), together, rtol=1e-12, atol=1e-12)


def test_means_cannot_tell_graphs_of_like_nodes_apart_but_sums_can() -> None:
    """Xu et al. 2019: where nodes are alike, so are the means of their neighbours."""
    spec = GraphsSpec(nodes=4, edges=6, features=1, classes=3)
    x, _ = spec.blank(3)
    kinds, sources, targets = spec.parts(x)
    kinds[:] = 1
    for number, edges in enumerate([[(0, 1), (2, 3)], [(0, 1), (1, 2), (2, 3)], [(0, 1), (0, 2), (0, 3)]]):
        ends = torch.tensor([*edges, *((b, a) for a, b in edges)], dtype=torch.int32).T
        sources[number, : ends.shape[1]], targets[number, : ends.shape[1]] = ends
    for layer in ("sage", "gat"):
        logits = make(spec, layer=layer, depth=2, readout="mean")(x)
        torch.testing.assert_close(logits, logits[:1].expand_as(logits), rtol=1e-12, atol=1e-12)
    logits = make(spec, layer="gin", depth=2, readout="mean")(x)
    assert torch.pdist(logits).min() > 0.01


@pytest.mark.parametrize("readout", ["mean", "sum", "max"])
def test_readouts_look_at_nodes_alone(readout: str) -> None:
    states = torch.tensor([[[1.0], [4.0], [9.0]], [[7.0], [7.0], [7.0]]])
    present = torch.tensor([[True, True, False], [False, False, False]])
    expected = {"mean": 2.5, "sum": 5.0, "max": 4.0}[readout]
    assert read_out(states, present, readout).flatten().tolist() == [expected, 0.0]


def test_dropped_edges_are_as_if_they_had_never_been() -> None:
    spec = graph(nodes=30)
    model = make(spec, layer="gcn", depth=1, edge_dropout=0.4).train()
    edges = EdgeDropout(0.4)
    with drawing(Noise(5)):
        kept = edges(spec.edges, 30)
    kept = kept[:, kept[1] < 30]
    assert 0.45 < kept.shape[1] / spec.edges.shape[1] < 0.75
    with drawing(Noise(5)):
        logits = model.states()[:-1]
    own = reference(model, "gcn", spec.features, spec.classes)
    torch.testing.assert_close(logits, own(spec.attributes.double(), kept), rtol=1e-12, atol=1e-12)
    assert torch.equal(model.eval().states(), model.states())


def test_edge_dropout_drops_its_share_with_and_without_a_key() -> None:
    edges = torch.zeros(2, 20_000, dtype=torch.int64)
    layer = EdgeDropout(0.3)
    with drawing(Noise(1)):
        keyed = layer(edges, 1)[1]
    assert keyed.double().mean() == pytest.approx(0.3, abs=0.02)
    assert layer(edges, 1)[1].double().mean() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(layer.eval()(edges, 1), edges)


def node_data() -> CohortData:
    spec = graph(nodes=30)
    x = torch.arange(30)
    return CohortData(x[:20], x[:20] % 3, x[20:], x[20:] % 3, spec)


def graph_data() -> CohortData:
    x, y = rows(GRAPHS, 30), torch.arange(30) % 3
    return CohortData(x[:20], y[:20], x[20:], y[20:], GRAPHS)


@layers
@pytest.mark.parametrize("task", ["full", "sampled", "graphs"])
def test_fused_equals_lone(layer: str, task: str) -> None:
    data = graph_data() if task == "graphs" else node_data()
    shared = {"layer": layer, "width": 4, "batch_size": 8}
    cohort = []
    for n, rate in enumerate((0.4, 0.2, 0.0)):
        edges = {"neighbours": 3} if task == "sampled" else {"edge_dropout": rate / 2}
        cohort.append(Lane(n, GNNConfig(**shared, **edges, lr=0.01 * (n + 1), dropout=rate), 100 + n))
    setting = Setting(LitGNN, data, 3, dtype=torch.float64)
    fused, lone = FusedEngine(cohort, setting), LoneEngine(cohort, setting)
    for epoch in range(3):
        ours, theirs = fused.run_epoch(epoch), lone.run_epoch(epoch)
        for trial, figures in theirs.items():
            assert ours[trial].val_loss == pytest.approx(figures.val_loss, rel=1e-8)
    assert max(difference(fused, lone, lane.trial) for lane in cohort) <= 1e-8


@pytest.mark.parametrize("spec", [graph(), GRAPHS], ids=["graph", "graphs"])
@layers
def test_exports_with_any_batch(layer: str, spec: GraphSpec | GraphsSpec) -> None:
    model = make(spec, layer=layer, width=4).float().eval()
    program = export(model, (spec.example(4),), dynamic_shapes={"x": {0: Dim("batch")}}, strict=False)
    x = rows(spec, 7) if isinstance(spec, GraphsSpec) else torch.arange(7)
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("spec", [graph(), GRAPHS], ids=["graph", "graphs"])
@layers
def test_trains_in_bfloat16(layer: str, spec: GraphSpec | GraphsSpec) -> None:
    model = make(spec, layer=layer, width=4, precision="bf16").float().train()
    x = rows(spec, 7) if isinstance(spec, GraphsSpec) else torch.arange(7)
    losses = model.training_losses(x, torch.arange(7) % 3, 1, None)
    assert losses.dtype == torch.float32
    assert losses.isfinite().all()


def test_separates_the_karate_club() -> None:
    """One known member of each group suffices (Kipf & Welling 2017), whatever the weights begin with."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.datasets import KarateClub

        club = KarateClub()[0]
    known = torch.tensor([33, 0, 31, 5])  # who has most friends in each group
    others = torch.tensor([member for member in range(34) if member not in known])
    spec = GraphSpec(34, 34, 4, club.edge_index, club.x)
    data = CohortData(known, club.y[known], others, club.y[others], spec)
    config = GNNConfig(width=64, batch_size=4, lr=0.02)
    engine = FusedEngine([Lane(n, config, n) for n in range(8)], Setting(LitGNN, data, 60))
    for epoch in range(60):
        figures = engine.run_epoch(epoch)
    accuracies = [reached.val_accuracy for reached in figures.values()]
    assert min(accuracies) >= 0.8
    assert sum(accuracies) / 8 >= 0.87  # most frequent group: 0.4
    model = LitGNN(config, spec)
    model.load_state_dict(engine.export_lane(0))
    assert set(model.eval()(others).argmax(1).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"layer": "gat", "width": 16, "heads": 3}, "cannot be shared by 3 heads"),
        ({"neighbours": 5, "edge_dropout": 0.1}, "leaves out edges already"),
        ({"neighbours": 1000, "depth": 4}, "choose fewer"),
        ({"layer": "gtn"}, "layer"),
    ],
    ids=str,
)
def test_refuses_what_does_not_fit_together(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        GNNConfig(**wrong)


def test_refuses_to_sample_in_many_small_graphs() -> None:
    with pytest.raises(ValueError, match="set it to 0"):
        LitGNN(GNNConfig(neighbours=3), GRAPHS)


def test_specs_name_what_is_wrong(tmp_path: Path) -> None:
    spec = graph()
    with pytest.raises(ValueError, match="edges must lead"):
        GraphSpec(5, 5, 3, spec.edges, spec.attributes[:5])
    with pytest.raises(ValueError, match="attributes"):
        GraphSpec(12, 6, 3, spec.edges, spec.attributes)
    assert "nodes from 0 to 11" in spec.fault(torch.tensor([12]), torch.tensor([0]))
    assert "int64" in spec.fault(torch.tensor([1], dtype=torch.int32), torch.tensor([0]))
    x = rows(GRAPHS, 2)
    x[0, -1] = 7
    assert "edges between places" in GRAPHS.fault(x, torch.zeros(2, dtype=torch.int64))
    assert "(N, 26)" in GRAPHS.fault(x[:, 1:], torch.zeros(2, dtype=torch.int64))
    card = '{"form": "graph", "nodes": 12, "features": 5, "classes": ["a", "b"]}'
    (tmp_path / "card.json").write_text(card, encoding="utf-8")
    with pytest.raises(ValueError, match=r"graph\.safetensors is missing"):
        load_spec(tmp_path)
