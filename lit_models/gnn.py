"""Graph networks over the layers of torch_geometric: node classification, and classification of whole graphs.

Layers: GCN (Kipf & Welling 2017), GraphSAGE (Hamilton et al. 2017), GAT (Veličković et al. 2018), GIN (Xu et al. 2019).
"""

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from lit_models.core.base import FamilyConfig, LitModel
from lit_models.core.config import InitName
from lit_models.core.layers import Dropout
from lit_models.parts.graph import EdgeDropout, Links, flatten, read_out, symmetric_weights, with_loops
from lit_models.parts.neighbours import by_target, sample, sampled_links
from lit_models.specs.graph import GraphSpec, GraphsSpec

MOST_SAMPLED = 1 << 22


class GNNConfig(FamilyConfig):
    """Hyperparameters of graph networks."""

    init: InitName = Field("xavier_uniform", description="how weights begin; `default` is torch_geometric's own")
    layer: Literal["gcn", "sage", "gat", "gin"] = Field("gcn", description="how a node takes up its neighbours")
    width: int = Field(16, ge=1, le=4096, description="numbers in a node's state")
    depth: int = Field(2, ge=1, le=32, description="layers: how many edges away a node sees")
    heads: int = Field(1, ge=1, le=64, description="attention heads of `gat`, which share the width")
    edge_dropout: float = Field(0.0, ge=0, lt=1, description="probability that an edge is left out in training")
    readout: Literal["mean", "sum", "max"] = Field("sum", description="what a whole graph is classified by")
    neighbours: int = Field(0, ge=0, le=1000, description="neighbours that each node of a batch samples; 0 takes all")

    @model_validator(mode="after")
    def _fits_together(self) -> "GNNConfig":
        if self.layer == "gat" and self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared by {self.heads} heads")
        if self.neighbours and self.edge_dropout:
            raise ValueError("neighbours leaves out edges already; set edge_dropout or neighbours to 0")
        if self.batch_size * self.neighbours**self.depth > MOST_SAMPLED:
            raise ValueError(
                f"batch_size {self.batch_size} with {self.neighbours} neighbours in {self.depth} layers samples "
                f"more than {MOST_SAMPLED} nodes a step; choose fewer"
            )
        return self

    def problem(self, spec: Any) -> str | None:
        """Refuse to sample neighbours where graphs are small and many."""
        if isinstance(spec, GraphsSpec) and self.neighbours:
            return "neighbours samples in one large graph, and these are many small ones; set it to 0"
        return super().problem(spec)


def convolutions() -> ModuleType:
    """Import torch_geometric's layers: it takes a second or more, for which no other family should wait."""
    with warnings.catch_warnings():
        # It calls torch.jit.script, of whose end torch warns.
        warnings.simplefilter("ignore")
        from torch_geometric.nn import conv
    module: ModuleType = conv
    return module


def build_layer(config: GNNConfig, inputs: int, outputs: int, last: bool) -> nn.Module:
    """Build a layer of torch_geometric that maps states of `inputs` numbers to states of `outputs`.

    Heads of GAT lie side by side, but in a last layer their mean is taken, as in the paper.
    """
    conv = convolutions()
    layer: nn.Module
    if config.layer == "gcn":
        layer = conv.GCNConv(inputs, outputs, normalize=False)
    elif config.layer == "sage":
        layer = conv.SAGEConv(inputs, outputs)
    elif config.layer == "gin":
        hidden = nn.Sequential(nn.Linear(inputs, config.width), nn.ReLU(), nn.Linear(config.width, outputs))
        layer = conv.GINConv(hidden, train_eps=True)
    elif config.layer == "gat":
        each = outputs if last else outputs // config.heads
        layer = conv.GATConv(inputs, each, config.heads, concat=not last, add_self_loops=False)
    return layer


def full_links(kind: str, edges: Tensor, nodes: int, like: Tensor) -> Links:
    """Say what a layer of that kind passes along edges (2, E) between all nodes, the place for no node among them."""
    if kind == "gcn":
        edges = with_loops(edges, nodes)
        return Links(edges, nodes, weight=symmetric_weights(edges, nodes, like))
    return Links(with_loops(edges, nodes) if kind == "gat" else edges, nodes)


class GraphNetwork(nn.Module):
    """Layers with ReLU between them and dropout before each (Kipf & Welling 2017).

    Args:
        config: of the family.
        features: numbers that describe a node.
        outputs: numbers in a state after the last layer.
        classes: of whole graphs, under a linear classifier; 0 classifies nodes, and `outputs` are their logits.
    """

    def __init__(self, config: GNNConfig, features: int, outputs: int, classes: int = 0) -> None:
        super().__init__()
        self.kind, self.classes = config.layer, classes
        sizes = [features, *(config.width for _ in range(config.depth - 1)), outputs]
        last = 0 if classes else config.depth
        self.layers = nn.ModuleList(
            build_layer(config, sizes[n], sizes[n + 1], last=n + 1 == last) for n in range(config.depth)
        )
        self.dropout = Dropout(config.dropout)
        self.edge_dropout = EdgeDropout(config.edge_dropout)
        if classes:
            self.classifier = nn.Linear(outputs, classes)

    def forward(self, states: Tensor, links: Sequence[Links], layers: int | None = None) -> Tensor:
        """Map what describes nodes (V, F) to their states after the last layer, or after the first `layers`.

        Args:
            states: (V, F).
            links: for each layer.
            layers: how many layers to go through; after less than all the states have been through ReLU.
        """
        steps = list(zip(self.layers, links, strict=True))[:layers]
        for place, (layer, link) in enumerate(steps):
            states = self._pass(layer, self.dropout(states), link)
            if self.classes or place + 1 < len(self.layers):
                states = states.relu()
        return states

    def _pass(self, layer: nn.Module, states: Tensor, links: Links) -> Tensor:
        """Let the nodes take up their neighbours once."""
        result: Tensor
        if self.kind == "gcn":
            result = layer(states, links.edges, links.weight)[: links.outputs]
        elif self.kind == "gat":
            result = layer(states, links.edges)[: links.outputs]
        else:
            told = states if links.scale is None else states * links.scale.unsqueeze(-1)
            result = layer((told, states[: links.outputs]), links.edges)
        return result


class LitGNN(LitModel):
    """Graph network; takes one graph whose nodes have labels, or many graphs that have."""

    Config: ClassVar[type[FamilyConfig]] = GNNConfig
    FORMS: ClassVar[tuple[str, ...]] = ("graph", "graphs")
    config: GNNConfig
    spec: GraphSpec | GraphsSpec
    network: GraphNetwork

    def __init__(self, config: GNNConfig, spec: GraphSpec | GraphsSpec, seed: int = 0) -> None:
        super().__init__(config, spec, seed)
        if isinstance(spec, GraphSpec):
            # One more, where edges lead that are left out. Lanes of a cohort share all of it.
            attributes = torch.cat([spec.attributes, spec.attributes.new_zeros(1, spec.features)])
            begins, sources = by_target(spec.edges, spec.nodes)
            graph = {"attributes": attributes, "edges": spec.edges, "begins": begins, "sources": sources}
            for name, tensor in graph.items():
                self.register_buffer(name, tensor.clone(), persistent=False)
        self.attributes: Tensor
        self.edges: Tensor
        self.begins: Tensor
        self.sources: Tensor

    def build(self) -> nn.Module:
        """Build the network."""
        if isinstance(self.spec, GraphSpec):
            return GraphNetwork(self.config, self.spec.features, self.spec.classes)
        return GraphNetwork(self.config, self.spec.features, self.config.width, self.spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map nodes (B,) of the graph, or rows (B, V + 2 E) of graphs, to logits (B, classes)."""
        if isinstance(self.spec, GraphsSpec):
            logits: Tensor = self.network.classifier(self.network.dropout(self.read(x)))
            return logits
        if self.training and self.config.neighbours:
            return self._sampled(x)
        return self.states()[x]

    def states(self, layers: int | None = None) -> Tensor:
        """Return the states of all nodes (V + 1, outputs) after the last layer, or after the first `layers`.

        The last row belongs to no node.
        """
        network, count = self.network, self.attributes.shape[0]
        edges = network.edge_dropout(self.edges, count - 1)
        links = full_links(self.config.layer, edges, count, self.attributes)
        states: Tensor = network(self.attributes, [links] * self.config.depth, layers)
        return states

    def _sampled(self, roots: Tensor) -> Tensor:
        """Map nodes (B,) to logits (B, classes) by what they see of a sample of their neighbours."""
        config, like = self.config, self.attributes
        nodes = sample(roots, self.begins, self.sources, config.neighbours, config.depth)
        shape = (len(roots), config.neighbours, config.depth)
        logits: Tensor = self.network(like[nodes], sampled_links(config.layer, nodes, self.begins, *shape, like))
        return logits

    def read(self, x: Tensor) -> Tensor:
        """Map rows (B, V + 2 E) to what each graph is classified by (B, width)."""
        spec, network = cast("GraphsSpec", self.spec), self.network
        kinds, sources, targets = spec.parts(x.long())
        every = torch.arange(1, spec.features + 1, device=x.device)
        states = (kinds.reshape(-1, 1) == every).to(self.anchor.dtype)
        states = torch.cat([states, states.new_zeros(1, spec.features)])
        count = states.shape[0]
        edges = flatten(torch.stack([sources, targets]), spec.nodes)
        edges = network.edge_dropout(edges, count - 1)
        links = full_links(self.config.layer, edges, count, states)
        states = network(states, [links] * self.config.depth)[:-1]
        return read_out(states.view(-1, spec.nodes, states.shape[1]), kinds > 0, self.config.readout)
