"""Graphs: read from what people write, with every fault named by line; generated ones are what they are said to be."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lit_models.core.data import read_split
from lit_models.forms import load_spec
from lit_models.gnn import GNNConfig, LitGNN
from lit_models.specs.graph import GraphSpec
from pipelines import graph_drawing
from pipelines.augmentations.graphs import GRAPHS as EDGE_DROPOUT
from pipelines.augmentations.graphs import GraphsAugmentConfig
from pipelines.datasets.edge_list import EDGE_LIST, scaled
from pipelines.datasets.graph_classes import GRAPH_CLASSES, MAKERS, Dice, make
from pipelines.datasets.graph_classes import read as read_graphs
from pipelines.datasets.karate import KARATE
from pipelines.evaluations.base import Task
from pipelines.evaluations.graph import GRAPH, GRAPHS
from pipelines.evaluations.graph_pictures import principal
from pipelines.faults import Fault
from pipelines.formats.base import Dataset

EDGES = "source,target\n" + "".join(f"n{a},n{(a + step) % 12}\n" for a in range(12) for step in (1, 3))
NODES = "node,x,label,y\n" + "".join(f"n{n},{n / 10},{'ab'[n % 2] if n < 10 else ''},{n * n}\n" for n in range(12))


def prepared(dataset: Dataset[Any, Any], tmp_path: Path, fetch: dict[str, Any], prepare: dict[str, Any]) -> Path:
    """The prepared folder of a dataset."""
    for name in ("raw", "prepared"):
        (tmp_path / name).mkdir()
    dataset.fetch(dataset.FetchConfig(**fetch), tmp_path / "raw", tmp_path)
    words = dataset.prepare(tmp_path / "raw", dataset.PrepareConfig(**prepare), tmp_path / "prepared")
    assert "train" in words
    return tmp_path / "prepared"


def edge_list(tmp_path: Path, edges: str = EDGES, nodes: str = NODES, **prepare: Any) -> Path:
    (tmp_path / "e.csv").write_text(edges, encoding="utf-8")
    (tmp_path / "n.csv").write_text(nodes, encoding="utf-8")
    return prepared(EDGE_LIST, tmp_path, {"edges": "e.csv", "nodes": "n.csv"}, prepare)


def graph_spec(folder: Path) -> GraphSpec:
    spec = load_spec(folder)
    assert isinstance(spec, GraphSpec)
    return spec


def test_an_edge_list_is_read(tmp_path: Path) -> None:
    folder = edge_list(tmp_path)
    spec = graph_spec(folder)
    assert (spec.nodes, spec.features, spec.classes) == (12, 2, 2)
    assert spec.edges.shape == (2, 48)
    assert {(1, 0), (0, 1), (0, 3), (3, 0)} <= set(zip(*spec.edges.tolist(), strict=True))
    assert spec.attributes[4].tolist() == pytest.approx([0.4, 16])
    parts = [read_split(folder / f"{name}.safetensors", spec) for name in ("train", "val", "test")]
    assert sorted(torch.cat([x for x, _ in parts]).tolist()) == list(range(10))  # two have no label
    assert all(torch.equal(y, x % 2) for x, y in parts)
    card = json.loads((folder / "card.json").read_text())
    assert card["names"][3] == "n3"
    assert card["counts"]["train"] == {"a": 2, "b": 2}


def test_edges_may_be_directed_and_count_once(tmp_path: Path) -> None:
    edges = "target,source\nn1,n0\nn1,n0\nn2,n2\n"
    assert graph_spec(edge_list(tmp_path, edges, directed=True)).edges.tolist() == [[0], [1]]


def test_training_nodes_may_be_few_or_named(tmp_path: Path) -> None:
    few = tmp_path / "few"
    named = tmp_path / "named"
    for folder in (few, named):
        folder.mkdir()
    assert len(load_file(edge_list(few, per_class=1) / "train.safetensors")["x"]) == 2
    rows = [line + ("," if number else ",part") for number, line in enumerate(NODES.splitlines())]
    rows[1] += "train"
    rows[2] += "train"
    rows[5] += "test"
    folder = edge_list(named, nodes="\n".join(rows))
    found = {name: load_file(folder / f"{name}.safetensors")["x"].tolist() for name in ("train", "val", "test")}
    assert found["train"] == [0, 1]
    assert found["test"] == [4]
    assert len(found["val"]) == 1


def test_a_graph_without_features_tells_nodes_apart(tmp_path: Path) -> None:
    nodes = "node,label\n" + "".join(f"n{n},{'ab'[n % 2]}\n" for n in range(12))
    assert torch.equal(graph_spec(edge_list(tmp_path, nodes=nodes)).attributes, torch.eye(12))


@pytest.mark.parametrize(
    ("edges", "nodes", "told"),
    [
        (EDGES + "n1,n77\n", NODES, "edges.csv, line 26: there is no node 'n77' in nodes.csv"),
        ("source,target,weight\nn1,n2,3\n", NODES, "edges.csv, line 1: column 'weight' is of no use"),
        ("source,target\nn1\n", NODES, "edges.csv, line 2: 1 instead of 2 columns"),
        ("from,to\nn1,n2\n", NODES, "edges.csv, line 1: there is no column 'source'"),
        (EDGES, NODES + "n3,1,a,1\n", "nodes.csv, line 14: node 'n3' stands on line 5 already"),
        (EDGES, NODES + ",1,a,1\n", "nodes.csv, line 14: the node has no name"),
        (EDGES, NODES + "n12,many,a,1\n", "nodes.csv, line 14: x is 'many', not a number"),
        (EDGES, NODES.replace(",b,", ",a,"), "nodes.csv has 1 different labels"),
        (EDGES, "node,label,part\nn0,a,tset\nn1,b,\n", "nodes.csv, line 2: part is 'tset'"),
        (
            EDGES,
            "node,label,part\nn0,a,\nn1,b,\nn2,,train\n",
            "nodes.csv, line 4: the node is meant for train, but has no label",
        ),
        (EDGES, NODES.replace("n9", "n\xe9"), "edges.csv, line 15: there is no node 'n9'"),
    ],
)
def test_faults_are_named_by_file_and_line(tmp_path: Path, edges: str, nodes: str, told: str) -> None:
    with pytest.raises(Fault) as fault:
        edge_list(tmp_path, edges, nodes)
    assert told in str(fault.value)


def test_parts_without_nodes_are_told(tmp_path: Path) -> None:
    nodes = "node,label,part\n" + "".join(f"n{n},{'ab'[n % 2]},train\n" for n in range(12))
    with pytest.raises(Fault, match="no labelled nodes for val and test"):
        edge_list(tmp_path, nodes=nodes)


def test_too_many_nodes_without_features_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.formats.graphs.MOST_IDENTITY", 11)
    nodes = "node,label\n" + "".join(f"n{n},{'ab'[n % 2]}\n" for n in range(12))
    with pytest.raises(Fault, match="gives no features"):
        edge_list(tmp_path, nodes=nodes)


def test_features_are_scaled() -> None:
    values = np.array([[1, 3], [0, 0], [2, 0]], np.float32)
    assert scaled(values, "rows").tolist() == [[0.25, 0.75], [0, 0], [1, 0]]
    columns = scaled(values, "columns")
    assert np.allclose(columns.mean(0), 0, atol=1e-6)
    assert np.allclose(columns.std(0), 1)
    assert np.array_equal(scaled(values, "none"), values)


@pytest.mark.parametrize(("known", "members"), [("hub", [0, 5, 31, 33]), ("first", [0, 4, 8, 24])])
def test_the_karate_club(tmp_path: Path, known: str, members: list[int]) -> None:
    folder = prepared(KARATE, tmp_path, {"known": known}, {})
    spec = graph_spec(folder)
    assert (spec.nodes, spec.features, spec.classes, spec.edges.shape[1]) == (34, 34, 4, 156)
    assert load_file(folder / "train.safetensors")["x"].tolist() == members
    assert sorted(load_file(folder / "train.safetensors")["y"].tolist()) == [0, 1, 2, 3]
    assert [len(load_file(folder / f"{name}.safetensors")["x"]) for name in ("val", "test")] == [6, 24]
    assert (tmp_path / "raw" / "edges.csv").read_text().startswith("source,target\n1,2\n1,3\n")
    friends = Counter(spec.edges[1].tolist())
    assert (friends[33], friends[0]) == (17, 16)  # the president and the instructor


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("nodes", [8, 17, 32])
def test_generated_graphs_have_as_many_edges_as_one_another(kind: str, nodes: int) -> None:
    for seed in range(5):
        edges = make(kind, nodes, Dice(seed, nodes))
        assert len(edges) == len(set(edges)) == 2 * nodes - 4
        assert all(0 <= a < b < nodes for a, b in edges)


def test_generated_graphs_are_of_their_kind() -> None:
    """Hubs have the largest degrees; rings the most triangles, lattices hardly any but the most squares."""
    found = {}
    for kind in MAKERS:
        largest, triangles, squares = 0.0, 0.0, 0.0
        for seed in range(20):
            joined = np.zeros((30, 30))
            for a, b in make(kind, 30, Dice(seed)):
                joined[a, b] = joined[b, a] = 1
            paths = joined @ joined
            largest += joined.sum(0).max()
            triangles += np.trace(paths @ joined) / 6
            squares += np.triu(paths * (paths - 1) / 2 * (joined == 0), 1).sum()
        found[kind] = (largest, triangles, squares)
    assert max(found, key=lambda kind: found[kind][0]) == "hubs"
    assert max(found, key=lambda kind: found[kind][1]) == "ring"
    assert min(found, key=lambda kind: found[kind][1]) == "lattice"


def test_generated_graphs_are_prepared(tmp_path: Path) -> None:
    folder = prepared(GRAPH_CLASSES, tmp_path, {"graphs": 40, "most": 20}, {"most_degree": 6})
    card = json.loads((folder / "card.json").read_text())
    assert (card["nodes"], card["edges"], card["features"]) == (20, 72, 7)
    assert card["classes"] == ["hubs", "lattice", "random", "ring"]
    spec = load_spec(folder)
    x, y = read_split(folder / "train.safetensors", spec)
    raw = list(read_graphs(tmp_path / "raw" / "graphs.jsonl"))
    position = int(load_file(folder / "train.safetensors")["index"][0])
    kinds, edges = graph_drawing.unpack(x[0].numpy(), 20, 72)
    assert card["classes"][int(y[0])] == raw[position][2]
    assert np.array_equal(edges, raw[position][1])
    degrees = np.bincount(edges[1], minlength=raw[position][0])
    assert np.array_equal(kinds, degrees.clip(max=6) + 1)


def test_the_same_seed_gives_the_same_graphs_and_more_of_them(tmp_path: Path) -> None:
    texts = []
    for name, settings in (("a", {"graphs": 12}), ("b", {"graphs": 16}), ("c", {"graphs": 12, "seed": 1})):
        (tmp_path / name).mkdir()
        GRAPH_CLASSES.fetch(GRAPH_CLASSES.FetchConfig(**settings), tmp_path / name, tmp_path)
        texts.append((tmp_path / name / "graphs.jsonl").read_text())
    assert texts[1].startswith(texts[0])
    assert texts[2] != texts[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: no JSON object"),
        ('{"nodes": 3, "class": "a"}', "line 2: no JSON object with nodes, edges and class: 'edges'"),
        ('{"nodes": 3, "edges": [[0, 3]], "class": "a"}', "line 2: edge [0, 3] leads to a node that there is not"),
        ('{"nodes": 3, "edges": [[0]], "class": "a"}', "line 2: [0] is no edge"),
        ('{"nodes": 0, "edges": [], "class": "a"}', "line 2: nodes must be a whole number"),
    ],
)
def test_graphs_that_are_none_are_named_by_line(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "graphs.jsonl"
    path.write_text('{"nodes": 2, "edges": [], "class": "a"}\n' + line + "\n")
    with pytest.raises(Fault) as fault:
        list(read_graphs(path))
    assert told in str(fault.value)


def test_copies_lack_whole_edges(tmp_path: Path) -> None:
    folder = prepared(GRAPH_CLASSES, tmp_path, {"graphs": 40, "most": 20}, {})
    train, card = load_file(folder / "train.safetensors"), json.loads((folder / "card.json").read_text())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        config = GraphsAugmentConfig(copies=2, edges=0.25)
        assert EDGE_DROPOUT.write(train, config, tmp_path / name, card) == 2 * len(train["y"])
    assert (tmp_path / "a" / "preview.png").read_bytes() == (tmp_path / "b" / "preview.png").read_bytes()
    copies = load_file(tmp_path / "a" / "train.safetensors")
    assert np.array_equal(copies["x"], load_file(tmp_path / "b" / "train.safetensors")["x"])
    assert not load_spec(folder).fault(torch.from_numpy(copies["x"]), torch.from_numpy(copies["y"]))
    lost = total = 0
    for before, after in zip(np.tile(train["x"], (2, 1)), copies["x"], strict=True):
        kinds, edges = graph_drawing.unpack(before, card["nodes"], card["edges"])
        same, fewer = graph_drawing.unpack(after, card["nodes"], card["edges"])
        assert np.array_equal(kinds, same)
        left = set(zip(*fewer.tolist(), strict=True))
        assert left == {(b, a) for a, b in left}
        assert left <= set(zip(*edges.tolist(), strict=True))
        lost, total = lost + edges.shape[1] - fewer.shape[1], total + edges.shape[1]
    assert lost / total == pytest.approx(0.25, abs=0.03)
    (tmp_path / "none").mkdir()
    assert EDGE_DROPOUT.write(train, GraphsAugmentConfig(), tmp_path / "none", card) == 0


def task(folder: Path, tmp_path: Path, **settings: Any) -> Task:
    spec = load_spec(folder)
    model = LitGNN(GNNConfig(**settings), spec).eval()  # type: ignore[arg-type]
    x, y = read_split(folder / "test.safetensors", spec)
    plots = tmp_path / "plots"
    made = Task(model, x, y, json.loads((folder / "card.json").read_text()), folder, tmp_path, plots)
    for place in (plots, made.pictures, made.tables, made.confusion):
        place.mkdir()
    (tmp_path / "history.csv").write_text("epoch,train_loss,val_loss,val_accuracy,lr\n1,1.0,1.0,0.5,0.01\n")
    return made


def test_nodes_are_evaluated(tmp_path: Path) -> None:
    made = task(prepared(KARATE, tmp_path, {}, {}), tmp_path, depth=1)
    scores = GRAPH.run(made, GRAPH.Config())
    assert scores["baseline"] == pytest.approx(9 / 24)
    assert 0 <= scores["accuracy"] <= 1
    assert {path.name for path in made.pictures.iterdir()} == {
        "confusion.png", "hidden_states.png", "learning_curves.png", "predicted_nodes.png"}  # fmt: skip
    assert (made.confusion / "confusion.csv").read_text().startswith("actual,predicted\ngroup ")


def test_graphs_are_evaluated(tmp_path: Path) -> None:
    made = task(prepared(GRAPH_CLASSES, tmp_path, {"graphs": 40}, {}), tmp_path, layer="gin")
    scores = GRAPHS.run(made, GRAPHS.Config(examples=3))
    assert scores["baseline"] == 0.25
    assert {path.name for path in made.pictures.iterdir()} == {
        "confusion.png", "example_graphs.png", "learning_curves.png"}  # fmt: skip


def test_a_layout_keeps_neighbours_near() -> None:
    ring = np.array([[n, (n + 1) % 12] for n in range(12)]).T[:, np.random.default_rng(0).permutation(12)]
    order = np.random.default_rng(1).permutation(12)
    place = graph_drawing.layout(12, order[ring])
    assert place.min() >= 0
    assert place.max() <= 1
    apart = np.linalg.norm(place[:, None] - place[None], axis=-1)
    assert apart[order[ring][0], order[ring][1]].max() < 0.5 * apart.max()
    assert np.array_equal(place, graph_drawing.layout(12, order[ring]))


def test_principal_components() -> None:
    states = np.outer(np.arange(5.0), [3, 4])
    place, shares = principal(states)
    assert np.allclose(place[:, 0], [-10, -5, 0, 5, 10])
    assert shares[0] == pytest.approx(1)
    assert principal(states[:, :1])[0].shape == (5, 2)
