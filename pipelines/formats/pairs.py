"""Pairs of sentences, a source and its target: read from TSV, cut into tokens, numbered, split by source."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.faults import Fault
from pipelines.formats import tables
from pipelines.formats.base import SplitConfig
from pipelines.formats.prepared import write_parts
from pipelines.formats.splits import split_rows
from pipelines.transport.raw import verified

TokensName = Literal["words", "characters"]
Tokens = tuple[str, ...]

SPECIAL = ("<pad>", "<begin>", "<end>", "<unknown>")
"""The first entries of both vocabularies."""
BEGIN, END, UNKNOWN = 1, 2, 3

PAIRS, HELD_OUT = "pairs.tsv", "held_out.tsv"
"""Files of the raw folder: what is split, and, if there is any, what is tested on apart."""

WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\S")
"""A run of letters with apostrophes in it, or else a single character: every digit stands by itself."""


class PairsPrepare(SplitConfig):
    """The section `datasets.<key>.prepare` of pairs."""

    tokens: TokensName = Field(
        default="words", description="`words` takes digits and punctuation one by one; `characters` takes all so"
    )
    min_count: int = Field(
        default=1, ge=1, le=1_000_000, description="a token that training has less often is <unknown>"
    )
    longest: int = Field(default=64, ge=1, le=4096, description="most tokens of a side; longer pairs are left out")
    limit: int | None = Field(default=None, ge=3, description="use the first n pairs, for a quick look")


class Pair(NamedTuple):
    """A source and its target, and the line they stand on, counted from 1."""

    line: int
    source: str
    target: str


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a TSV file: on each line a source, a tab, a target. Blank lines are skipped.

    Raises:
        Fault: the file cannot be read, has no pairs or is not UTF-8 all through, a line has not exactly two fields, or
            one of them is empty; the line is named.
    """
    rows = tables.read(path, "\t", ("source", "target"), header=False).rows
    for line, cells in rows:
        for side, cell in zip(("source", "target"), cells, strict=True):
            if not cell.strip():
                raise Fault(f"{tables.place(path, line)}: the {side} is empty")
    return [Pair(line, *cells) for line, cells in rows]


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Write a TSV file of sources and targets, which have no tabs and no line ends."""
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")


def tokenize(text: str, kind: TokensName) -> Tokens:
    """Cut a sentence into tokens; runs of white space are one blank, or none between words."""
    return tuple(WORD.findall(text)) if kind == "words" else tuple(" ".join(text.split()))


def joined(tokens: Sequence[str], kind: TokensName) -> str:
    """Put tokens together as one writes them; not always as they were, for words do not tell where blanks stood."""
    if kind == "characters":
        return "".join(tokens)
    return re.sub(r"(?<=\d) (?=\d)| (?=[,.;:!?])| (?=-)|(?<=-) ", "", " ".join(tokens))


def prepare(raw: Path, config: PairsPrepare, folder: Path) -> str:
    """Split the pairs of a raw folder by source and write the parts, with a part `held_out` if there is such a file.

    Pairs of one source are all in one part, so that no test asks for what training has told.

    Raises:
        Fault: a file is malformed, a source of the held-out file is among the pairs, or there are too few pairs.
    """
    verified(raw)
    pairs = read_pairs(raw / PAIRS)[: config.limit]
    apart = read_pairs(raw / HELD_OUT) if (raw / HELD_OUT).is_file() else []
    known = {pair.source: pair.line for pair in pairs}
    for pair in apart:
        if pair.source in known:
            where = f"{tables.place(raw / HELD_OUT, pair.line)}: {pair.source!r}"
            raise Fault(f"{where} is also in {PAIRS}, line {known[pair.source]}; what is held out must not be")
    sources = [tokenize(pair.source, config.tokens) for pair in (*pairs, *apart)]
    targets = [tokenize(pair.target, config.tokens) for pair in (*pairs, *apart)]
    fits = np.array([max(map(len, both)) <= config.longest for both in zip(sources, targets, strict=True)], np.bool_)
    parts = {name: rows[fits[rows]] for name, rows in _by_source(pairs, config).items()}
    if apart:
        rows = np.arange(len(pairs), len(sources), dtype=np.int64)
        parts["held_out"] = rows[fits[rows]]
    if empty := [name for name, rows in parts.items() if not len(rows)]:
        raise Fault(f"{raw}: the part {empty[0]} has no pair of at most {config.longest} tokens a side; see `longest`")
    return _write(sources, targets, parts, config, folder, int((~fits).sum()))


def _by_source(pairs: Sequence[Pair], config: PairsPrepare) -> dict[str, NDArray[np.int64]]:
    """Positions of each part's pairs: sources are split, and pairs follow theirs."""
    number = {source: position for position, source in enumerate(dict.fromkeys(pair.source for pair in pairs))}
    group = np.array([number[pair.source] for pair in pairs], np.int64)
    chosen = split_rows(len(number), config)
    return {name: np.flatnonzero(np.isin(group, rows)).astype(np.int64) for name, rows in chosen.items()}


def _write(
    sources: Sequence[Tokens],
    targets: Sequence[Tokens],
    parts: dict[str, NDArray[np.int64]],
    config: PairsPrepare,
    folder: Path,
    left_out: int,
) -> str:
    used = np.concatenate(list(parts.values()))
    vocabularies = [vocabulary((side[i] for i in parts["train"]), config.min_count) for side in (sources, targets)]
    lengths = max(len(sources[i]) for i in used), max(len(targets[i]) for i in used) + 2
    x = numbered(sources, vocabularies[0], lengths[0])
    y = numbered(targets, vocabularies[1], lengths[1], framed=True)
    card = {
        "form": "pairs",
        "tokens": config.tokens,
        "source_vocabulary": vocabularies[0],
        "target_vocabulary": vocabularies[1],
        "source_length": lengths[0],
        "target_length": lengths[1],
        "left_out": left_out,
    }
    said = write_parts(folder, x, y, parts, card, config.seed)
    long = f", {left_out} pairs left out as too long" if left_out else ""
    sizes = " and ".join(str(len(entries)) for entries in vocabularies)
    return f"{said}; vocabularies of {sizes} {config.tokens}{long}"


def vocabulary(sentences: Iterable[Tokens], min_count: int) -> list[str]:
    """Name the tokens by id: SPECIAL, then those seen at least `min_count` times, in the order of their letters."""
    counts = Counter(token for tokens in sentences for token in tokens)
    return [*SPECIAL, *sorted(token for token, count in counts.items() if count >= min_count)]


def numbered(
    sentences: Sequence[Tokens], entries: Sequence[str], length: int, framed: bool = False
) -> NDArray[np.int32]:
    """Turn sentences into ids (N, length) int32, padded by 0 on the right; `framed`, between BEGIN and END.

    A sentence that is longer is cut off.
    """
    number = {token: position for position, token in enumerate(entries) if position > UNKNOWN}
    out = np.zeros((len(sentences), length), np.int32)
    for row, tokens in enumerate(sentences):
        ids = [number.get(token, UNKNOWN) for token in tokens]
        ids = [BEGIN, *ids, END] if framed else ids
        out[row, : len(ids)] = ids[:length]
    return out
