"""Stage `prepare`: splits a dataset and writes typed tensors and card.json to data/prepared/<dataset>/.

python -m pipelines.prepare digits
"""

from pipelines import outs, places, stage
from pipelines.stage import Stage


def prepare(work: Stage) -> None:
    """Read raw bytes, and write the parts and what was learned of the training part."""
    from pipelines.datasets import DATASETS

    dataset = DATASETS[work.params.datasets[work.key].kind]
    config = work.params.prepare_config(work.key)
    with outs.staged(places.prepared(work.key)) as (folder,):
        done = dataset.prepare(places.raw(work.key), config, folder)
    work.say(done)


if __name__ == "__main__":
    stage.main("prepare", "Split a dataset and write typed tensors.", prepare, over="datasets")
