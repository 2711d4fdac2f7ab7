"""Small data of every form, from which something can be learned; a new form needs a sample here."""

from collections.abc import Callable

import torch
from torch import Tensor

from lit_models import FAMILIES
from lit_models.cohort.data import CohortData
from lit_models.specs.base import DataSpec, ImageSpec
from lit_models.specs.control import ControlSpec
from lit_models.specs.graph import GraphSpec, GraphsSpec
from lit_models.specs.sequence import BEGIN, END, PairSpec, SeriesSpec, TextSpec, TokenSpec

IMAGE = ImageSpec(shape=(1, 8, 8), classes=4, mean=(0.3,), std=(0.4,), scale=255.0)
TOKENS = TokenSpec(vocabulary=11, length=9, classes=4)
SERIES = SeriesSpec(7, 2, 1, (0.5, 0.5), (0.3, 0.3), (0.5,), (0.2,), tolerance=0.1)
TEXT = TextSpec(vocabulary=11, length=8, bytes_per_token=1.0)
PAIRS = PairSpec(source_vocabulary=11, target_vocabulary=9, source_length=6, target_length=5)
NODES = 24
GRAPHS = GraphsSpec(nodes=6, edges=12, features=3, classes=4)
CONTROL = ControlSpec(
    "CartPole-v1", (), 500, False, 4, True, 2, (), (), (0.0,) * 4, (1.0,) * 4, 1.0, threshold=475.0, positions=64
)  # fmt: skip


def ring() -> GraphSpec:
    """A ring of nodes in four stretches of a class each, which their attributes hint at."""
    here = torch.arange(NODES)
    there = (here + 1) % NODES
    edges = torch.stack([torch.cat([here, there]), torch.cat([there, here])])
    generator = torch.Generator().manual_seed(1)
    attributes = torch.nn.functional.one_hot(here * 4 // NODES, 5) + torch.rand(NODES, 5, generator=generator)
    return GraphSpec(NODES, 5, 4, edges, attributes.float())


def spec_of(form: str) -> DataSpec:
    """The spec of the sample."""
    known = {spec.form: spec for spec in (IMAGE, TOKENS, SERIES, TEXT, PAIRS, GRAPHS, CONTROL)}
    return ring() if form == "graph" else known[form]


def _random(*shape: int, low: int, high: int) -> Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(0))


def _image(count: int) -> tuple[Tensor, Tensor]:
    """Images whose brightness tells their class."""
    y = torch.arange(count) % 4
    return (_random(count, 1, 8, 8, low=0, high=80) + 40 * y.view(-1, 1, 1, 1)).to(torch.uint8), y


def _tokens(count: int) -> tuple[Tensor, Tensor]:
    """Sequences of several lengths, whose tokens tell their class."""
    y = torch.arange(count) % 4
    x = 1 + (_random(count, TOKENS.length, low=0, high=4) + 2 * y.unsqueeze(1)) % 10
    lengths = 1 + torch.arange(count) % TOKENS.length
    return torch.where(torch.arange(TOKENS.length) < lengths.unsqueeze(1), x, 0).int(), y


def _series(count: int) -> tuple[Tensor, Tensor]:
    """Numbers whose mean is to be told."""
    x = torch.rand(count, SERIES.length, SERIES.features, generator=torch.Generator().manual_seed(0))
    return x, x.mean(dim=(1, 2)).unsqueeze(1)


def _text(count: int) -> tuple[Tensor, Tensor]:
    """Counting by one or two steps."""
    starts, steps = torch.arange(count) % 11, 1 + torch.arange(count) % 2
    text = (starts.unsqueeze(1) + steps.unsqueeze(1) * torch.arange(TEXT.length + 1)) % 11
    return text[:, :-1].int().contiguous(), text[:, 1:].int().contiguous()


def _pairs(count: int) -> tuple[Tensor, Tensor]:
    """Sequences of three tokens, translated by one step."""
    words = _random(count, 3, low=3, high=8)
    x = torch.cat([words, torch.full((count, 1), END), torch.zeros(count, 2, dtype=torch.int64)], dim=1)
    y = torch.cat([torch.full((count, 1), BEGIN), words + 1, torch.full((count, 1), END)], dim=1)
    return x.int(), y.int()


def _graph(count: int) -> tuple[Tensor, Tensor]:
    nodes = torch.arange(count) % NODES
    return nodes, nodes * 4 // NODES


def _graphs(count: int) -> tuple[Tensor, Tensor]:
    """Rings of three to six nodes, each of its own class."""
    y = torch.arange(count) % 4
    x = GRAPHS.blank(count)[0]
    kinds, sources, targets = GRAPHS.parts(x)
    for row, size in enumerate((y + 3).tolist()):
        here = torch.arange(size)
        there = (here + 1) % size
        kinds[row, :size] = 1 + here % 3
        sources[row, : 2 * size] = torch.cat([here, there])
        targets[row, : 2 * size] = torch.cat([there, here])
    return x, y


def _control(count: int) -> tuple[Tensor, Tensor]:
    return torch.arange(count), torch.zeros(count, dtype=torch.int64)


MAKERS: dict[str, Callable[[int], tuple[Tensor, Tensor]]] = {
    "image": _image,
    "tokens": _tokens,
    "series": _series,
    "text": _text,
    "pairs": _pairs,
    "graph": _graph,
    "graphs": _graphs,
    "control": _control,
}


def examples(form: str, count: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets."""
    return MAKERS[form](count)


def data(form: str, count: int = 46) -> CohortData:
    """A training set, of which the first 16 validate too; batches of 8, the last one of 6."""
    x, y = examples(form, count)
    return CohortData(x, y, x[:16], y[:16], spec_of(form))


# Every family on every form that it takes; the first form goes without saying.
CASES = [
    name if form == family.FORMS[0] else f"{name}:{form}" for name, family in FAMILIES.items() for form in family.FORMS
]
FUSED = [case for case in CASES if not FAMILIES[case.partition(":")[0]].ALONE]


def family_of(case: str) -> str:
    """The family's name."""
    return case.partition(":")[0]


def form_of(case: str) -> str:
    """The form of its data."""
    family, _, form = case.partition(":")
    return form or FAMILIES[family].FORMS[0]
