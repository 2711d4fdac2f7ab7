"""The table of augmentations: how copies of a training set are made. Datasets name theirs."""

from typing import Any

from pipelines.augmentations.base import Augmentation
from pipelines.augmentations.image import IMAGE
from pipelines.augmentations.none import NONE

AUGMENTATIONS: dict[str, Augmentation[Any]] = {
    "none": NONE,
    "image": IMAGE,
}
