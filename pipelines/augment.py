"""Stage `augment`: writes versioned, augmented copies of the training set to data/augmented/<dataset>/.

python -m pipelines.augment digits
"""

import json
import os
from pathlib import Path
from typing import Any

from pipelines import outs, places, stage
from pipelines.stage import Stage

PREVIEW = "preview.png"
PREVIEW_IMAGES = 10
PREVIEW_COPIES = 4


def augment(work: Stage) -> None:
    """Augment every training image `copies` times, whatever number of processes does it."""
    from safetensors.numpy import load_file

    policy = work.params.datasets[work.key].augment
    train = load_file(places.prepared(work.key) / "train.safetensors")
    white = json.loads((places.prepared(work.key) / "card.json").read_text())["scale"]
    with outs.staged(places.augmented(work.key)) as (folder,):
        made = write_augmented(train, policy, folder, white, workers=os.cpu_count() or 1)
    work.say(f"{made} augmented images in {policy.copies} copies of {len(train['x'])}")


def write_augmented(train: dict[str, Any], policy: Any, folder: Path, white: float, workers: int) -> int:
    """Write `train.safetensors` (x: uint8 (copies * N, C, H, W), y: int64) and the preview; return copies * N."""
    import numpy as np
    from safetensors.numpy import save_file

    from pipelines.pictures import augmentation_sheet
    from pipelines.policy import augment_images

    x = augment_images(train["x"], policy, workers, white=white)
    save_file({"x": np.ascontiguousarray(x), "y": np.tile(train["y"], policy.copies)}, folder / "train.safetensors")
    few = train["x"][:PREVIEW_IMAGES]
    shown = policy.model_copy(update={"copies": PREVIEW_COPIES})
    augmented = augment_images(few, shown, workers=1, white=white).reshape(PREVIEW_COPIES, *few.shape)
    augmentation_sheet(few, augmented, folder / PREVIEW, scale=white)
    return len(x)


if __name__ == "__main__":
    stage.main("augment", "Write augmented copies of a training set.", augment, over="datasets")
