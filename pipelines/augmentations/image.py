"""Augmented copies of images, and a picture of some of them."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.augmentations.base import PREVIEW, Augmentation, Tensors, write_copies
from pipelines.augmentations.image_policy import ImageAugmentConfig, augment_images

PREVIEW_IMAGES = 10
PREVIEW_COPIES = 4


def write(train: Tensors, config: ImageAugmentConfig, folder: Path, card: dict[str, Any]) -> int:
    """Augment every training image `copies` times, whatever number of processes does it."""
    from pipelines.pictures import augmentation_sheet

    white = card["scale"]
    x = augment_images(train["x"], config, workers=os.cpu_count() or 1, white=white)
    few = train["x"][:PREVIEW_IMAGES]
    shown = config.model_copy(update={"copies": PREVIEW_COPIES})
    augmented = augment_images(few, shown, workers=1, white=white).reshape(PREVIEW_COPIES, *few.shape)
    augmentation_sheet(few, augmented, folder / PREVIEW, scale=white)
    return write_copies(folder, x, np.tile(train["y"], config.copies))


IMAGE = Augmentation(ImageAugmentConfig, write)
