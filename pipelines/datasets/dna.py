"""DNA with and without motifs, generated; or a person's own FASTA file with a label for each record.

Generated records are random letters. Into some of them a motif is planted, somewhere and on either strand, some
of its letters mutated, as binding sites are: the class says which motifs are there. A network has to find short
patterns wherever they are (Alipanahi et al., Predicting the sequence specificities of DNA- and RNA-binding proteins
by deep learning, 2015), and its filters can be drawn beside the motifs.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from pipelines.datasets.parts import own
from pipelines.formats import fasta, tokens
from pipelines.formats.base import Dataset
from pipelines.formats.fasta import ALPHABET
from pipelines.formats.tokens import OwnOrGenerated, TokensPrepareConfig
from pipelines.transport.raw import verified, write_manifest

if TYPE_CHECKING:
    from lit_models.specs.sequence import TokenSpec

FASTA, LABELS, MOTIFS = "sequences.fasta", "labels.csv", "motifs.json"

PLANTED = {"GATA": "AGATAAGA", "NFKB": "GGGACTTTCC"}
"""Binding sites: of the GATA factors, and of NF-kappa-B in the enhancer that Sen & Baltimore found it by (1986)."""

CLASSES = {"none": (), "GATA": ("GATA",), "NFKB": ("NFKB",), "both": ("GATA", "NFKB")}
"""What is planted in a record of each class."""

COMPLEMENT = str.maketrans("ACGT", "TGCA")
WIDTH = 60
"""Letters on a line of a FASTA file."""


class DnaFetch(OwnOrGenerated):
    """DNA sequences: generated ones, or a FASTA file of your own."""

    path: str | None = Field(
        default=None, min_length=1, description="a FASTA file of your own, its records `>id label=…`; null generates"
    )
    labels: str | None = Field(
        default=None, min_length=1, description="CSV file with the columns id and label, if `path` has no labels"
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of what is generated")
    sequences: int = Field(default=1200, ge=40, le=1_000_000, description="sequences to generate")
    shortest: int = Field(default=60, ge=40, le=10_000, description="letters of the shortest, generated")
    longest: int = Field(default=100, ge=40, le=10_000, description="letters of the longest, generated")
    mutation: float = Field(default=0.03, ge=0, le=0.5, description="probability that a planted letter is another")

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        if self.labels is not None and self.path is None:
            raise ValueError("`labels` are of the sequences in `path`, which is missing")
        if self.shortest > self.longest:
            raise ValueError(f"shortest is {self.shortest}, which is more than longest, {self.longest}")
        return self

    @classmethod
    def of_own(cls) -> set[str]:
        """The keys that go with `path`."""
        return {"path", "labels"}


def fetch(config: DnaFetch, folder: Path, base: Path) -> None:
    """Copy a person's files, or write generated records, a FASTA file, with the planted motifs beside it.

    Raises:
        Fault: a file of a person's own cannot be had.
    """
    if config.path is None:
        (folder / FASTA).write_text(generated(config), encoding="ascii")
        (folder / MOTIFS).write_text(json.dumps(PLANTED, indent=1) + "\n", encoding="ascii")
    else:
        own.copy(config.path, base, folder / FASTA)
        if config.labels is not None:
            own.copy(config.labels, base, folder / LABELS)
    write_manifest(folder)


def generated(config: DnaFetch) -> str:
    """Make a FASTA file of records of every class in turn, each with its motifs and no others."""
    random = np.random.Generator(np.random.PCG64(config.seed))
    records = []
    for number in range(config.sequences):
        label = list(CLASSES)[number % len(CLASSES)]
        sequence = _planted(random, config, CLASSES[label])
        lines = [sequence[start : start + WIDTH] for start in range(0, len(sequence), WIDTH)]
        records.append("\n".join([f">s{number + 1:05d} label={label}", *lines]))
    return "\n".join(records) + "\n"


def reverse_complement(sequence: str) -> str:
    """The other strand, read in its own direction; N stays N."""
    return sequence[::-1].translate(COMPLEMENT)


def _planted(random: np.random.Generator, config: DnaFetch, names: tuple[str, ...]) -> str:
    """One sequence with the named motifs in places of their own, each on either strand."""
    size = int(random.integers(config.shortest, config.longest + 1))
    share = size // max(1, len(names))
    while True:
        letters = _letters(random, size)
        for place, number in enumerate(random.permutation(len(names)).tolist()):
            site = "".join(_mutated(random, letter, config.mutation) for letter in PLANTED[names[number]])
            site = site if random.integers(2) else reverse_complement(site)
            start = place * share + int(random.integers(share - len(site) + 1))
            letters = letters[:start] + site + letters[start + len(site) :]
        by_chance = {name: motif for name, motif in PLANTED.items() if name not in names}
        if not any(site in letters for motif in by_chance.values() for site in (motif, reverse_complement(motif))):
            return letters


def _letters(random: np.random.Generator, size: int) -> str:
    return "".join(ALPHABET[number] for number in random.integers(4, size=size).tolist())


def _mutated(random: np.random.Generator, letter: str, probability: float) -> str:
    if random.random() >= probability:
        return letter
    return "ACGT".replace(letter, "")[int(random.integers(3))]


def prepare(raw: Path, config: TokensPrepareConfig, folder: Path) -> str:
    """Write letters as tokens, and what the filters of a network can be compared with.

    Raises:
        Fault: a raw file changed, or holds a bad record; the line is named.
    """
    names = verified(raw)
    records = fasta.parse(raw / FASTA)
    labels = fasta.labels_of(records, raw / FASTA, raw / LABELS)
    ids = {letter: number for number, letter in enumerate(ALPHABET, 1)}
    motifs = json.loads((raw / MOTIFS).read_text(encoding="ascii")) if MOTIFS in names else {}
    return tokens.write(
        [[ids[letter] for letter in record.letters] for record in records],
        tokens.labelled(labels, config, raw / FASTA),
        [tokens.PADDING, *ALPHABET],
        config,
        folder,
        {"alphabet": ALPHABET, "motifs": motifs},
    )


def sketch(fetch: DnaFetch, prepare: TokensPrepareConfig) -> "TokenSpec | None":
    """Known of what is generated."""
    from lit_models.specs.sequence import TokenSpec

    if fetch.path is not None:
        return None
    return TokenSpec(1 + len(ALPHABET), min(fetch.longest, prepare.length or fetch.longest), len(CLASSES))


DNA = Dataset("dna", tokens.FORM, "dna", DnaFetch, TokensPrepareConfig, fetch, prepare, sketch)
