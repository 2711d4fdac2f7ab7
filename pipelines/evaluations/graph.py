"""Tests classifiers of nodes and of whole graphs: scores, confusion, and pictures of the graphs."""

from typing import TYPE_CHECKING, cast

from pydantic import Field

from pipelines.evaluations import classification
from pipelines.evaluations.base import Evaluation, Task
from pipelines.evaluations.curves import learning_curves
from pipelines.evaluations.speed import predict
from pipelines.section import Section

if TYPE_CHECKING:
    from torch import Tensor

    from lit_models.gnn import LitGNN


class GraphEvaluateConfig(Section):
    """The section `experiments.<key>.evaluate` of classifiers of nodes."""

    calibration_bins: int = Field(default=15, ge=2, le=1000, description="bins of the calibration error")
    most_drawn: int = Field(default=200, ge=1, le=2000, description="nodes of the largest graph that is drawn")


class GraphsEvaluateConfig(Section):
    """The section `experiments.<key>.evaluate` of classifiers of whole graphs."""

    calibration_bins: int = Field(default=15, ge=2, le=1000, description="bins of the calibration error")
    examples: int = Field(default=5, ge=1, le=20, description="graphs of each class to picture")


def _score(task: Task, bins: int) -> "tuple[dict[str, float], Tensor]":
    """Return scores, and logits (N, classes); draw what all classifiers draw."""
    logits, speed = predict(task.model, task.x)
    table, picture = task.confusion / "confusion.csv", task.pictures / "confusion.png"
    classification.confusion(task.y, logits.argmax(1), task.card["classes"], table, picture)
    learning_curves(task.trained / "history.csv", task.learning, task.pictures / "learning_curves.png")
    scores = classification.scores(logits, task.y, task.card, bins)
    return {**scores, "examples_per_second": speed}, logits


def run_graph(task: Task, config: GraphEvaluateConfig) -> dict[str, float]:
    """Score a classifier of nodes, and draw the graph and what the network makes of it."""
    from pipelines.evaluations import graph_pictures

    scores, _ = _score(task, config.calibration_bins)
    view = graph_pictures.view(task, cast("LitGNN", task.model))
    graph_pictures.hidden_states(view, task.pictures / "hidden_states.png")
    if task.card["nodes"] <= config.most_drawn:
        graph_pictures.predicted_nodes(view, task.pictures / "predicted_nodes.png")
    return scores


def run_graphs(task: Task, config: GraphsEvaluateConfig) -> dict[str, float]:
    """Score a classifier of whole graphs, and draw some graphs of each class."""
    from pipelines.evaluations import graph_pictures

    scores, logits = _score(task, config.calibration_bins)
    graph_pictures.example_graphs(task, logits.argmax(1), config.examples, task.pictures / "example_graphs.png")
    return scores


GRAPH = Evaluation(GraphEvaluateConfig, run_graph)
GRAPHS = Evaluation(GraphsEvaluateConfig, run_graphs)
