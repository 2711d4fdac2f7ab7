"""Numbers and dates, between how they are written and how they are said in English: generated, no network needed.

Numbers of lengths that training never sees are tested on apart: they alone tell whether a model has learned the rule,
or the lengths that it was shown.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from pydantic import Field, model_validator

from pipelines.datasets.parts.notation import date_words, number_words
from pipelines.formats.base import Dataset, unknown
from pipelines.formats.pairs import HELD_OUT, PAIRS, PairsPrepare, prepare, write_pairs
from pipelines.section import Section
from pipelines.transport.raw import write_manifest

TranslationName = Literal["words-to-digits", "digits-to-words", "words-to-dates", "dates-to-words"]
NAMES: tuple[TranslationName, ...] = get_args(TranslationName)
MOST_DIGITS = 12
Sentences = list[tuple[str, str]]


class TranslateFetch(Section):
    """Generated translations of numbers and dates."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of what is drawn")
    translations: list[TranslationName] = Field(
        default=["words-to-digits", "words-to-dates"],
        min_length=1,
        max_length=4,
        description="from which notation to which",
    )
    pairs: int = Field(default=1500, ge=3, le=1_000_000, description="pairs of each translation, all different")
    lengths: list[int] = Field(
        default=[1, 2, 3, 5], min_length=1, description="digits of the numbers, as many pairs of each as there can be"
    )
    held_out_lengths: list[int] = Field(
        default=[4, 6], description="digits of numbers that are tested on apart, and never trained on"
    )
    held_out_pairs: int = Field(default=200, ge=1, le=100_000, description="pairs of each held-out length, at most")
    first_year: int = Field(default=1800, ge=1000, le=9999, description="year of the first date that may come up")
    last_year: int = Field(default=2099, ge=1000, le=9999, description="year of the last")

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        for length in (*self.lengths, *self.held_out_lengths):
            if not 1 <= length <= MOST_DIGITS:
                raise ValueError(f"numbers have 1 to {MOST_DIGITS} digits, not {length}")
        if both := set(self.lengths) & set(self.held_out_lengths):
            raise ValueError(f"numbers of {min(both)} digits cannot be both trained on and held out")
        if self.first_year > self.last_year:
            raise ValueError(f"first_year {self.first_year} comes after last_year {self.last_year}")
        return self


def fetch(config: TranslateFetch, folder: Path, base: Path) -> None:
    """Write `pairs.tsv`, and `held_out.tsv` if numbers are translated and some lengths are held out."""
    del base
    pairs: Sentences = []
    apart: Sentences = []
    for name in dict.fromkeys(config.translations):
        bits = np.random.PCG64(np.random.SeedSequence((config.seed, NAMES.index(name))))
        if "dates" in name:
            pairs += _directed(name, _dates(config, bits))
            continue
        pairs += _directed(name, _numbers(shares(config.lengths, config.pairs), bits))
        held_out = {length: min(config.held_out_pairs, count(length)) for length in config.held_out_lengths}
        apart += _directed(name, _numbers(held_out, bits))
    write_pairs(folder / PAIRS, pairs)
    if apart:
        write_pairs(folder / HELD_OUT, apart)
    write_manifest(folder)


def _directed(name: TranslationName, sentences: Sentences) -> Sentences:
    """Turn (written, said) around where what is said is the source."""
    return [(said, written) for written, said in sentences] if name.startswith("words") else sentences


def _numbers(wanted: dict[int, int], bits: np.random.PCG64) -> Sentences:
    """Draw so many numbers of each length, written and said."""
    found: list[int] = []
    for length, many in sorted(wanted.items()):
        least = 10 ** (length - 1) if length > 1 else 0
        found += [least + number for number in sample(count(length), many, bits)]
    return [(str(number), number_words(number)) for number in found]


def _dates(config: TranslateFetch, bits: np.random.PCG64) -> Sentences:
    """Draw dates, written and said; all have ten characters, so that none is held out for its length."""
    first, last = date(config.first_year, 1, 1), date(config.last_year, 12, 31)
    days = (last - first).days + 1
    found = [first + timedelta(days=day) for day in sample(days, min(config.pairs, days), bits)]
    return [(day.isoformat(), date_words(day)) for day in found]


def count(length: int) -> int:
    """How many whole numbers have so many digits, without leading zeros; 0 has one."""
    return 10 if length == 1 else 9 * 10 ** (length - 1)


def shares(lengths: Sequence[int], total: int) -> dict[int, int]:
    """Share `total` numbers among lengths, evenly but for those of which there are fewer: length -> how many."""
    found: dict[int, int] = {}
    rest = sorted(set(lengths))
    while rest:
        length = rest.pop(0)
        found[length] = min(count(length), total // (len(rest) + 1))
        total -= found[length]
    return found


def sample(size: int, many: int, bits: np.random.PCG64) -> list[int]:
    """Draw `many` different numbers below `size`, ascending (Floyd's method, Bentley & Floyd 1987)."""
    chosen: set[int] = set()
    for top in range(size - many, size):
        number = int(bits.random_raw()) % (top + 1)
        chosen.add(top if number in chosen else number)
    return sorted(chosen)


TRANSLATE = Dataset("translate", "pairs", "pairs", TranslateFetch, PairsPrepare, fetch, prepare, unknown)
