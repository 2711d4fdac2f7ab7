"""Stage `fetch`: brings a dataset's bytes as they are to data/raw/<dataset>/, with their checksums.

python -m pipelines.fetch digits
"""

from pipelines import outs, places, stage
from pipelines.stage import Stage


def fetch(work: Stage) -> None:
    """Fetch into a staging folder; a download that was cut off goes on where it stopped."""
    from pipelines.datasets import DATASETS

    section = work.params.datasets[work.key]
    config = work.params.fetch_config(work.key)
    with outs.staged(places.raw(work.key)) as (folder,):
        DATASETS[section.kind].fetch(config, folder, places.main_checkout())
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    work.say(f"{len(files)} files, {size:,} bytes in {places.raw(work.key)}")


if __name__ == "__main__":
    stage.main("fetch", "Fetch a dataset's raw bytes.", fetch, over="datasets")
