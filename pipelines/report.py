"""Stage `report`: compares all experiments of params.yaml on one page, reports/index.html, and in one picture.

python -m pipelines.report
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines import outs, places, stage
from pipelines.headlines import HEADLINES
from pipelines.section import Section
from pipelines.stage import Stage

FOLDER = Path("reports")


class ReportConfig(Section):
    """The section `report`."""

    dollars_per_hour: float = Field(
        default=1.0, ge=0, le=1000, description="what an hour of this machine costs; seconds become dollars by it"
    )


@dataclass(frozen=True)
class Entry:
    """One experiment as the report shows it; seconds are those of its search and training together.

    Attributes:
        metric: name of the score that counts for data of its form.
        higher_is_better: whether a higher score is better.
        score: of the test part.
        baseline: what the score would be without learning from inputs.
    """

    key: str
    dataset: str
    family: str
    metric: str
    higher_is_better: bool
    score: float
    baseline: float
    parameters: int
    seconds: float
    dollars: float
    scores: dict[str, float]
    hyperparameters: dict[str, Any]
    pictures: list[Path]

    @property
    def rank(self) -> tuple[str, float]:
        """Sorts experiments: those of one metric together, the best first."""
        return self.metric, -self.score if self.higher_is_better else self.score


def report(work: Stage) -> None:
    """Write the page and the picture, then see that MLflow has everything that the outs hold."""
    from pipelines.report_page import comparison, page

    entries = [_entry(work, key) for key in work.params.experiments]
    with outs.staged(FOLDER) as (folder,):
        comparison(entries, folder / "comparison.png")
        (folder / "index.html").write_text(page(entries, folder / "comparison.png", work.params.report))
    for entry in sorted(entries, key=lambda entry: entry.rank):
        score = f"{entry.metric.replace('_', ' ')} {entry.score:.4f} (baseline {entry.baseline:.4f})"
        work.say(f"{entry.key:<24} {score:<46} {entry.seconds:7.1f} s   ${entry.dollars:.4f}")
    work.say(f"{FOLDER / 'index.html'} compares them; `make ui` shows every run")
    _sync(work)


def _entry(work: Stage, key: str) -> Entry:
    from ruamel.yaml import YAML

    from pipelines.faults import Fault

    results, section = places.results(key), work.params.experiments[key]
    try:
        scores = json.loads((results / "metrics.json").read_text())
        winner = YAML(typ="safe").load(results / "search" / "best.yaml")
    except FileNotFoundError as error:
        raise Fault(f"{error.filename} is missing; run: dvc repro evaluate@{key}") from None
    seconds = _search_seconds(results / "search" / "timings.parquet") + scores["seconds"]
    headline = HEADLINES[work.params.form(section.dataset)]
    return Entry(
        key=key,
        dataset=section.dataset,
        family=section.family,
        metric=headline.name,
        higher_is_better=headline.higher_is_better,
        score=scores[headline.name],
        baseline=scores["baseline"],
        parameters=int(scores["parameters"]),
        seconds=seconds,
        dollars=seconds / 3600 * work.params.report.dollars_per_hour,
        scores=scores,
        hyperparameters=winner["hyperparameters"],
        pictures=sorted((results / "plots" / "pictures").glob("*.*")),
    )


def _search_seconds(timings: Path) -> float:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(timings, columns=["started", "ended"])
    return float(pc.max(table["ended"]).as_py() - pc.min(table["started"]).as_py())


def _sync(work: Stage) -> None:
    from pipelines import rebuild, server

    try:
        rebuilt = rebuild.sync(work.params)
    except Exception as error:  # the page is whole; a server that is down must not fail it
        print(f"tracking: {server.shown_uri()} lacks records: {server.hidden(str(error))}", file=sys.stderr)
        print("Nothing is lost; later: python -m pipelines.tracking", file=sys.stderr)
    else:
        if rebuilt:
            work.say(f"{rebuilt} journal(s) rebuilt in MLflow from the outs")


if __name__ == "__main__":
    stage.main("report", "Compare all experiments on one page.", report, over="")
