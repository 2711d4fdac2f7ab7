"""Stage `augment`: writes versioned, augmented copies of the training set to data/augmented/<dataset>/.

python -m pipelines.augment digits
"""

import json

from pipelines import outs, places, stage
from pipelines.stage import Stage


def augment(work: Stage) -> None:
    """Write copies of the training set as the dataset's kind of augmentation makes them, and a picture of some."""
    from safetensors.numpy import load_file

    from pipelines.augmentations import AUGMENTATIONS
    from pipelines.datasets import DATASETS

    augmentation = AUGMENTATIONS[DATASETS[work.params.datasets[work.key].kind].augmentation]
    config = work.params.augment_config(work.key)
    train = load_file(places.prepared(work.key) / "train.safetensors")
    card = json.loads((places.prepared(work.key) / "card.json").read_text(encoding="utf-8"))
    with outs.staged(places.augmented(work.key)) as (folder,):
        made = augmentation.write(train, config, folder, card)
    work.say(f"{made} augmented examples, copies of {len(train['y'])}")


if __name__ == "__main__":
    stage.main("augment", "Write augmented copies of a training set.", augment, over="datasets", forks=True)
