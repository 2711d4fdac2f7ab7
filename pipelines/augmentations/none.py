"""No augmentation: the stage writes an empty set of copies, and a picture that says so."""

from pathlib import Path
from typing import Any

from pipelines.augmentations.base import PREVIEW, Augmentation, Tensors, write_copies
from pipelines.section import Section


class NoAugmentConfig(Section):
    """The section `datasets.<key>.augment` of data for which there is no augmentation."""


def write(train: Tensors, config: NoAugmentConfig, folder: Path, card: dict[str, Any]) -> int:
    """Write no copies."""
    del config, card
    from matplotlib.figure import Figure

    from pipelines.pictures import save

    figure = Figure(figsize=(5, 1))
    figure.text(0.5, 0.5, "These data are not augmented beforehand.", ha="center", va="center")
    save(figure, folder / PREVIEW)
    return write_copies(folder, train["x"][:0], train["y"][:0])


NONE = Augmentation(NoAugmentConfig, write)
