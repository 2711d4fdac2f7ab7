"""What datasets of running text share: documents become windows of tokens, parts of whole documents."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from pipelines.faults import Fault
from pipelines.formats.base import SplitConfig
from pipelines.formats.ngrams import bigram_bits, unigram, unigram_bits
from pipelines.formats.prepared import write_parts
from pipelines.formats.tokenization import (
    FILE,
    SMALLEST,
    TokenizerName,
    Tokens,
    encode,
    token_bytes,
    train_tokenizer,
)

if TYPE_CHECKING:
    from lit_models.specs.sequence import TextSpec

PARTS = ("train", "val", "test")
LONG = 40
"""Letters of a paragraph from which on it is no accident that two documents have it."""


class TextPrepareConfig(SplitConfig):
    """The section `datasets.<key>.prepare` of running text; val and test are fractions of its letters."""

    tokenizer: TokenizerName = Field(default="bpe", description="`bpe` learns pairs from training text; `byte`: none")
    vocabulary: int = Field(
        default=512, ge=SMALLEST, le=2**16, description="tokens of `bpe` at most: 256 bytes, an end, learned pairs"
    )
    length: int = Field(default=128, ge=2, le=2**16, description="tokens of a window, which is one example")
    repeats: bool = Field(default=False, description="keep paragraphs that another document has too")


class Document(NamedTuple):
    """A text and the name it goes by."""

    name: str
    text: str


Parts = dict[str, list[Document]]


def sketch(fetch: BaseModel, prepare: TextPrepareConfig) -> "TextSpec":
    """What is known before there is text; how many bytes a token stands for is not, and 1 takes its place."""
    del fetch
    from lit_models.specs.sequence import TextSpec

    return TextSpec(SMALLEST if prepare.tokenizer == "byte" else prepare.vocabulary, prepare.length, 1.0)


def prepare_text(documents: Sequence[Document], config: TextPrepareConfig, folder: Path) -> str:
    """Split documents, learn a tokenizer from those to train on, and write windows, card and tokenizer.

    A part's documents make one row of tokens, cut into windows side by side; the few tokens after the last whole window
    are left out. The card has for each part its bytes per token, and what models that count the training part's tokens
    and pairs of tokens need for it, in bits per byte.

    Raises:
        Fault: there is no text, or too little for a window in each part.
    """
    parts = divide(documents, config)
    tokenizer = train_tokenizer(config.tokenizer, [one.text for one in parts["train"]], config.vocabulary)
    tokenizer.save(str(folder / FILE))
    windows = {part: _windows(part, encode(tokenizer, [one.text for one in parts[part]]), config) for part in PARTS}
    bounds = np.cumsum([0, *(len(x) for x, _ in windows.values())])
    rows = {part: np.arange(bounds[place], bounds[place + 1]) for place, part in enumerate(PARTS)}
    sizes = token_bytes(tokenizer)
    card = {
        "form": "text",
        "vocabulary": len(sizes),
        "length": config.length,
        "tokenizer": config.tokenizer,
        **_described(parts, windows, sizes),
    }
    x, y = (np.concatenate([pair[place] for pair in windows.values()]) for place in (0, 1))
    told = write_parts(folder, x, y, rows, card, config.seed)
    names = ", ".join(f"{len(parts[part])} {part}" for part in PARTS)
    return (
        f"{told} windows of {config.length} tokens, from {names} documents; "
        f"{len(sizes)} tokens of {card['bytes_per_token']:.2f} bytes on average"
    )


def divide(documents: Sequence[Document], config: TextPrepareConfig) -> Parts:
    """Give each document to one part; fewer than three are cut at line ends into a beginning, a middle and an end.

    No long paragraph is in two documents unless `repeats` says so: what is tested on must not have been trained on.

    Raises:
        Fault: there is no text, or not enough for three parts.
    """
    kept = list(documents) if config.repeats else without_repeats(documents)
    kept = [one for one in kept if one.text.strip()]
    if not kept:
        raise Fault("there is no text to prepare")
    if len(kept) < len(PARTS):
        return _cut(kept, config)
    rows = held_out([len(one.text) for one in kept], config)
    return {part: [kept[row] for row in rows[part]] for part in PARTS}


def without_repeats(documents: Sequence[Document]) -> list[Document]:
    """Take out of each document the long paragraphs that a longer one has too; spaces do not count.

    A document of which less than half is left is taken out whole: its short paragraphs are repeats as well.
    """
    owner: dict[str, str] = {}
    kept = {}
    for one in sorted(documents, key=lambda one: (-len(one.text), one.name)):
        paragraphs = []
        for paragraph in one.text.split("\n\n"):
            folded = " ".join(paragraph.split())
            if len(folded) < LONG or owner.setdefault(folded, one.name) == one.name:
                paragraphs.append(paragraph)
        left = "\n\n".join(paragraphs)
        if 2 * len(left) >= len(one.text):
            kept[one.name] = left
    return [Document(one.name, kept[one.name]) for one in documents if one.name in kept]


def held_out(sizes: Sequence[int], config: SplitConfig) -> dict[str, list[int]]:
    """Positions of the documents of each part, ascending: those that fit, in an order that `seed` gives.

    Test and validation part get the fraction of letters that they shall have, or a little less; or the smallest
    document that is left, where none fits.

    Args:
        sizes: letters of each document, at least three documents.
        config: seed and fractions.
    """
    # PCG64's raw output: NumPy keeps that as it is, unlike what is drawn from it.
    keys = np.random.PCG64(np.random.SeedSequence(config.seed)).random_raw(len(sizes))
    left = np.argsort(keys, kind="stable").tolist()
    parts: dict[str, list[int]] = {}
    for part, share in (("test", config.test), ("val", config.val)):
        room = share * sum(sizes)
        taken = []
        for row in left:
            if sizes[row] <= room:
                taken.append(row)
                room -= sizes[row]
        # A document at least must be left for each part that comes after.
        spare = len(PARTS) - 1 - len(parts)
        taken = taken[: max(1, len(left) - spare)] or [min(left, key=lambda row: (sizes[row], row))]
        left = [row for row in left if row not in taken]
        parts[part] = sorted(taken)
    return {"train": sorted(left), "val": parts["val"], "test": parts["test"]}


def _cut(documents: Sequence[Document], config: SplitConfig) -> Parts:
    text = "\n\n".join(one.text for one in documents)
    name = " and ".join(one.name for one in documents)
    wanted = (int(len(text) * (1 - config.val - config.test)), int(len(text) * (1 - config.test)))
    first, second = (text.find("\n", at) + 1 for at in wanted)
    if not 0 < first < second < len(text):
        raise Fault(f"{name} has too few lines to be cut into a training, a validation and a test part")
    pieces = (text[:first], text[first:second], text[second:])
    return {part: [Document(name, piece)] for part, piece in zip(PARTS, pieces, strict=True)}


def _windows(part: str, tokens: Tokens, config: TextPrepareConfig) -> tuple[Tokens, Tokens]:
    """Windows x (N, length), and y, the same one token on."""
    count = (len(tokens) - 1) // config.length
    if not count:
        raise Fault(
            f"the {part} part has {len(tokens)} tokens, too few for a window of {config.length}: "
            f"give more text, or a smaller `length`"
        )
    end = count * config.length
    x, y = (row.reshape(count, config.length) for row in (tokens[:end], tokens[1 : end + 1]))
    return x, y


def _described(parts: Parts, windows: Mapping[str, tuple[Tokens, Tokens]], sizes: NDArray[np.int64]) -> dict[str, Any]:
    """What the card says of the parts; bits and bytes are of the tokens that are to be told, END with bits alone."""
    train = _flat(windows["train"])
    probabilities = unigram(train[1], len(sizes))
    described: dict[str, dict[str, Any]] = {}
    for part, window in windows.items():
        x, y = _flat(window)
        length = int(sizes[y].sum())
        described[part] = {
            "documents": [one.name for one in parts[part]],
            "bytes": length,
            "tokens": y.size,
            "bytes_per_token": length / y.size,
            "unigram_bits_per_byte": unigram_bits(probabilities, y) / length,
            "bigram_bits_per_byte": bigram_bits(train, probabilities, x, y) / length,
        }
    return {"bytes_per_token": described["train"]["bytes_per_token"], "parts": described}


def _flat(window: tuple[Tokens, Tokens]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The windows one after another."""
    return window[0].ravel().astype(np.int64), window[1].ravel().astype(np.int64)
