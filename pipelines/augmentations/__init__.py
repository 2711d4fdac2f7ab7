"""The table of augmentations: how copies of a training set are made. Datasets name theirs."""

from typing import Any

from pipelines.augmentations.base import Augmentation
from pipelines.augmentations.dna import DNA
from pipelines.augmentations.graphs import GRAPHS
from pipelines.augmentations.image import IMAGE
from pipelines.augmentations.none import NONE
from pipelines.augmentations.notes import NOTES
from pipelines.augmentations.pairs import PAIRS
from pipelines.augmentations.series import SERIES
from pipelines.augmentations.tokens import TOKENS

AUGMENTATIONS: dict[str, Augmentation[Any]] = {
    "none": NONE,
    "image": IMAGE,
    "dna": DNA,
    "notes": NOTES,
    "tokens": TOKENS,
    "series": SERIES,
    "pairs": PAIRS,
    "graphs": GRAPHS,
}
