"""What datasets of labelled token sequences share: their section `prepare`, how they are padded, split and written."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipelines.faults import Fault
from pipelines.formats.base import SplitConfig
from pipelines.formats.images import first_of_each
from pipelines.formats.splits import Indices, split
from pipelines.section import Section

FORM = "tokens"
PADDING = ""
"""The name of token 0 in a vocabulary."""


class OwnOrGenerated(Section):
    """A section `fetch` of data that are generated unless `path` says where a person's own are."""

    path: str | None = None

    @model_validator(mode="after")
    def _either_one(self) -> Self:
        """What shapes generated data says nothing about a person's own."""
        idle = sorted(self.model_fields_set - self.of_own()) if self.path is not None else []
        if idle:
            raise ValueError(f"`path` is given, so nothing is generated: leave out {', '.join(idle)}")
        return self

    @classmethod
    def of_own(cls) -> set[str]:
        """The keys that go with `path`."""
        return {"path"}


class TokensPrepareConfig(SplitConfig):
    """The section `datasets.<key>.prepare` of token sequences."""

    length: int | None = Field(
        default=None, ge=1, le=100_000, description="tokens that are kept of a sequence, from its start; null keeps all"
    )
    limit: int | None = Field(
        default=None, ge=3, description="use the first n examples of each class, for a quick look"
    )


@dataclass(frozen=True)
class Labelled:
    """The labels of sequences, and which of these make which part.

    Attributes:
        classes: the names of the labels, sorted.
        y: labels int64 (N,) of all sequences, in raw order.
        parts: positions in `y` of `train`, `val` and `test`.
    """

    classes: list[str]
    y: Indices
    parts: dict[str, Indices]


def labelled(
    labels: Sequence[str], config: TokensPrepareConfig, path: Path, documents: Sequence[Hashable] | None = None
) -> Labelled:
    """Number the classes and split the sequences by class.

    Args:
        labels: the class of each sequence.
        config: seed, fractions and limit.
        path: the raw data, for messages.
        documents: what each sequence is from. Those of one document have one label and come into one part;
            a class then gets its fraction of documents. By default each is a document of its own.

    Raises:
        Fault: there are fewer than two classes, or one has too few sequences for three parts.
    """
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise Fault(f"{path} has {len(classes)} classes; telling classes apart needs at least 2")
    numbers = {label: number for number, label in enumerate(classes)}
    y = np.array([numbers[label] for label in labels], np.int64)
    kept = np.arange(len(y), dtype=np.int64) if config.limit is None else first_of_each(y, config.limit, None)
    names = [position if documents is None else documents[position] for position in kept.tolist()]
    firsts: dict[Hashable, int] = {}
    of_document = np.array([firsts.setdefault(name, len(firsts)) for name in names], np.int64)
    _, heads = np.unique(of_document, return_index=True)
    by_document = split(y[kept][heads], None, config, classes)
    parts = {part: kept[np.isin(of_document, chosen)] for part, chosen in by_document.items()}
    return Labelled(classes, y, parts)


def padded(sequences: Sequence[Sequence[int]], length: int | None) -> NDArray[np.int32]:
    """Ids (N, T) with zeros after the end of each sequence. T is the longest's length, or `length` if that is less."""
    longest = max(len(sequence) for sequence in sequences)
    x = np.zeros((len(sequences), min(longest, length or longest)), np.int32)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence[: x.shape[1]]
    return x


def write(
    sequences: Sequence[Sequence[int]],
    found: Labelled,
    vocabulary: Sequence[str],
    config: TokensPrepareConfig,
    folder: Path,
    card: Mapping[str, Any],
) -> str:
    """Write the parts and the card; return in words what they are.

    Args:
        sequences: ids of the tokens of each sequence, in raw order; none is empty.
        found: their labels and parts.
        vocabulary: the name of each id; the first is the padding's.
        config: cap of the length, and the seed.
        folder: an empty folder.
        card: what else the card says.
    """
    from pipelines.formats.prepared import write_labelled

    x = padded(sequences, config.length)
    card = {
        "form": FORM,
        "vocabulary": list(vocabulary),
        "length": x.shape[1],
        "classes": found.classes,
        **card,
    }
    done = write_labelled(folder, x, found.y, found.parts, card, config.seed)
    cut = sum(len(sequence) > x.shape[1] for sequence in sequences)
    said = f"; {cut} sequences are cut off there" if cut else ""
    return f"{done}; {len(found.classes)} classes, up to {x.shape[1]} of {len(vocabulary)} tokens{said}"
