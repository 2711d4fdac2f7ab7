"""Text as tokens: bytes, or the byte pairs that a training text is rich in. Every text can be written in either."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TokenizerName = Literal["bpe", "byte"]
FILE = "tokenizer.json"
END = "<|end|>"
"""The token between documents, the first of all: id 0. It stands for no byte."""
SMALLEST = 257
"""Every byte, and END."""

Tokens = NDArray[np.int32]


def train_tokenizer(kind: TokenizerName, texts: Sequence[str], vocabulary: int) -> "Tokenizer":
    """Learn which bytes belong together (byte pair encoding: Gage 1994; Sennrich et al. 2016; of bytes: GPT-2, 2019).

    Args:
        kind: `byte` learns nothing: each byte is a token.
        texts: what is learned from.
        vocabulary: tokens of `bpe`, at least 257; where the texts have too few pairs that come twice, there are fewer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SMALLEST if kind == "byte" else vocabulary,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _plain(tokenizer)


def load_tokenizer(prepared: Path) -> "Tokenizer":
    """Read the tokenizer of a prepared folder."""
    from tokenizers import Tokenizer

    return _plain(Tokenizer.from_file(str(prepared / FILE)))


def _plain(tokenizer: "Tokenizer") -> "Tokenizer":
    """Let END's own letters in a text be letters like any others; the file does not keep this."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer: "Tokenizer", documents: Sequence[str]) -> Tokens:
    """The documents one after another as token ids (N,) int32, END before the first and after each."""
    ids = [0]
    for document in documents:
        ids += [*tokenizer.encode(document, add_special_tokens=False).ids, 0]
    return np.array(ids, np.int32)


def token_bytes(tokenizer: "Tokenizer") -> NDArray[np.int64]:
    """How many bytes each token stands for, (vocabulary,) int64: byte by byte, each is one letter of its name."""
    names = (tokenizer.id_to_token(token) or "" for token in range(tokenizer.get_vocab_size()))
    return np.array([0 if name == END else len(name) for name in names], np.int64)
