"""Labelled texts as words: passages of Python's own documentation, or a person's own CSV file or folder.

The embedded task is to tell which package of the standard library a passage is about. Passages of one docstring
stay together: all of them are learnt from, or none. The vocabulary is that of the training part, as it must be.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from pipelines.datasets.parts import own
from pipelines.faults import Fault
from pipelines.formats import tables, tokens
from pipelines.formats.base import Dataset, unknown
from pipelines.formats.tokens import OwnOrGenerated, TokensPrepareConfig
from pipelines.transport.raw import verified, write_manifest

TABLE, FOLDER = "texts.csv", "texts"
COLUMNS = ("text", "label", "document")
UNKNOWN = 1
"""The id of every word that is not in the vocabulary."""

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
"""Letters and digits of any script that has spaces; punctuation is no word, nor is an underscore part of one."""


class TextsFetch(OwnOrGenerated):
    """Texts: passages of Python's own documentation, or a CSV file or a folder of your own."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="your own: a CSV file with the columns text, label and, if texts belong together, document;"
        " or a folder with a subfolder of .txt files for each class; null takes Python's docstrings",
    )
    words: int = Field(default=50, ge=20, le=1000, description="words of a passage, about, of docstrings")


class TextsPrepareConfig(TokensPrepareConfig):
    """The section `datasets.<key>.prepare` of texts."""

    length: int | None = Field(
        default=128, ge=1, le=100_000, description="words that are kept of a text, from its start; null keeps all"
    )
    vocabulary: int = Field(default=4000, ge=1, le=1_000_000, description="words to know at most, the most frequent")
    min_count: int = Field(default=2, ge=1, le=1000, description="times that a word to know is in the training part")


class Text(NamedTuple):
    """One text, its label, and the document that it is from."""

    text: str
    label: str
    document: str


def fetch(config: TextsFetch, folder: Path, base: Path) -> None:
    """Copy a person's own texts, or write the passages as CSV.

    Raises:
        Fault: a person's own file or folder cannot be had, or a file is no .txt; or this Python has no sources.
    """
    if config.path is not None:
        own.copy(config.path, base, folder / FOLDER, (".txt",))
        if (folder / FOLDER).is_file():
            (folder / FOLDER).rename(folder / TABLE)
    else:
        from pipelines.datasets.parts.docstrings import passages

        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerows([COLUMNS, *passages(config.words)])
        (folder / TABLE).write_text(lines.getvalue(), encoding="utf-8")
    write_manifest(folder)


def read(raw: Path) -> list[Text]:
    """The texts of a raw folder, in the order of the table, or sorted by path.

    Raises:
        Fault: a text is empty or has no label, or a file is not UTF-8; file and line are named.
    """
    names = verified(raw)
    return _of_table(raw / TABLE) if TABLE in names else _of_folder(raw, names)


def _of_table(path: Path) -> list[Text]:
    header, rows = tables.read(path, columns=COLUMNS[:2])
    found = []
    for row in rows:
        cells = dict(zip(header, row.cells, strict=True))
        for column in COLUMNS[:2]:
            if not cells[column].strip():
                raise Fault(f"{tables.place(path, row.line)}: the {column} is empty")
        document = cells.get("document", "").strip() or f"line {row.line}"
        found.append(Text(cells["text"], cells["label"].strip(), document))
    labels: dict[str, str] = {}
    for row, text in zip(rows, found, strict=True):
        first = labels.setdefault(text.document, text.label)
        if first != text.label:
            raise Fault(
                f"{tables.place(path, row.line)}: the document {text.document} has the label {text.label!r} here,"
                f" but {first!r} before"
            )
    return found


def _of_folder(raw: Path, names: Iterable[str]) -> list[Text]:
    found = []
    for name in names:
        path = raw / name
        _, *inner = Path(name).parts
        if len(inner) < 2:
            raise Fault(f"{path} is in no class folder; each text belongs in one, named after its class")
        text = tables.text(path)
        if not text.strip():
            raise Fault(f"{path} is empty")
        found.append(Text(text, inner[0], name))
    return found


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return WORD.findall(text.lower())


def vocabulary(texts: Iterable[Sequence[str]], config: TextsPrepareConfig) -> list[str]:
    """The words to know, after padding and the unknown one: the most frequent first, then by the alphabet."""
    counts = Counter(word for text in texts for word in text)
    ranked = sorted((-count, word) for word, count in counts.items() if count >= config.min_count)
    return [tokens.PADDING, "<unknown>", *(word for _, word in ranked[: config.vocabulary])]


def prepare(raw: Path, config: TextsPrepareConfig, folder: Path) -> str:
    """Write words as tokens.

    Raises:
        Fault: a raw file changed, or holds a bad text; file and line are named.
    """
    found = read(raw)
    documents = [text.document for text in found]
    split = tokens.labelled([text.label for text in found], config, raw, documents)
    split_words = [words(text.text) for text in found]
    known = vocabulary((split_words[row] for row in split.parts["train"]), config)
    ids = {word: number for number, word in enumerate(known)}
    # A text of punctuation alone is one unknown word: a network needs something to look at.
    sequences = [[ids.get(word, UNKNOWN) for word in text] or [UNKNOWN] for text in split_words]
    return tokens.write(sequences, split, known, config, folder, {"unknown": UNKNOWN})


TEXTS = Dataset("texts", tokens.FORM, "tokens", TextsFetch, TextsPrepareConfig, fetch, prepare, unknown)
