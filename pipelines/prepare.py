"""Stage `prepare`: splits a dataset and writes typed tensors and card.json to data/prepared/<dataset>/.

python -m pipelines.prepare digits
"""

from pipelines import outs, places, stage
from pipelines.stage import Stage


def prepare(work: Stage) -> None:
    """Read raw bytes, split by seed and class, write the parts and what was learned of the training part."""
    from pipelines.datasets import DATASETS
    from pipelines.prepared import write_prepared
    from pipelines.splits import split

    section = work.params.datasets[work.key]
    examples = DATASETS[section.kind].read(places.raw(work.key), section.prepare)
    parts = split(examples.y, examples.official_test, section.prepare, examples.classes)
    with outs.staged(places.prepared(work.key)) as (folder,):
        write_prepared(examples, parts, folder, section.prepare.seed)
    sizes = ", ".join(f"{len(indices)} {name}" for name, indices in parts.items())
    work.say(f"{sizes}; {len(examples.classes)} classes, images {examples.x.shape[1:]}")


if __name__ == "__main__":
    stage.main("prepare", "Split a dataset and write typed tensors.", prepare, over="datasets")
