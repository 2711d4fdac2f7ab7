"""The report's page and picture: self-contained HTML, no script, nothing loaded from anywhere."""

import base64
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipelines.pictures import save
from pipelines.report import Entry, ReportConfig

COLORS = ("#22577a", "#d1495b", "#38a3a5", "#edae49", "#6d597a", "#57cc99", "#8d6b94", "#003d5b")
MARKERS = "osD^"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #22303c; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccd3d9 }
table { border-collapse: collapse; width: 100% } th, td { padding: .35rem .6rem; text-align: right }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), th:nth-child(3), td:nth-child(3),
th:nth-child(4), td:nth-child(4) { text-align: left }
thead th { border-bottom: 2px solid #22303c } tbody tr:nth-child(odd) { background: #f3f5f7 }
img { max-width: 100% } .pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
.pictures img { max-width: 32rem; border: 1px solid #e0e4e8 } code { overflow-wrap: anywhere } small { color: #5a6b7b }
"""


def comparison(entries: list[Entry], path: Path) -> None:
    """Draw scores against parameters, seconds and dollars: a point for each experiment, a row of panels a dataset.

    A dataset with a single experiment compares nothing and is left out, unless all are like that.
    """
    found = [entry.dataset for entry in entries]
    datasets = list(dict.fromkeys(key for key in found if found.count(key) > 1)) or list(dict.fromkeys(found))
    figure = Figure(figsize=(13, 0.6 + 3.6 * len(datasets)), layout="constrained")
    rows = figure.subplots(len(datasets), 3, sharey="row", squeeze=False)
    for panels, dataset in zip(rows, datasets, strict=True):
        _panels(list(panels), [entry for entry in entries if entry.dataset == dataset])
    save(figure, path)


def _panels(panels: list[Any], entries: list[Entry]) -> None:
    for axes, name in zip(panels, ("parameters", "seconds", "dollars"), strict=True):
        for index, entry in enumerate(entries):
            color, marker = COLORS[index % len(COLORS)], MARKERS[index // len(COLORS) % len(MARKERS)]
            place = getattr(entry, name), entry.score
            axes.scatter(*place, s=60, color=color, marker=marker, label=entry.key, zorder=3)
        values = [getattr(entry, name) for entry in entries]
        if min(values) > 0 and max(values) > 20 * min(values):
            axes.set_xscale("log")
        else:
            axes.set_xlim(0, max(values) * 1.15 or 1)
            axes.xaxis.get_major_locator().set_params(nbins=5)
        axes.set_xlabel(name if name == "parameters" else f"{name} of search and training")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    better = "higher" if entries[0].higher_is_better else "lower"
    panels[0].set_ylabel(f"{entries[0].dataset}: test {entries[0].metric.replace('_', ' ')}\n({better} is better)")
    panels[2].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)


def page(entries: list[Entry], picture: Path, config: ReportConfig) -> str:
    """Return the HTML."""
    rows = "\n".join(_row(entry) for entry in sorted(entries, key=lambda entry: entry.rank))
    heads = ("experiment", "dataset", "family", "metric", "score", "baseline", "parameters", "seconds", "dollars")
    header = "".join(f"<th>{head}</th>" for head in heads)
    price = f"${config.dollars_per_hour:.2f} an hour"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>fifty: all experiments</title><style>{STYLE}</style></head><body>
<h1>All experiments</h1>
<p>Scores are on the test part, which no choice has seen; a baseline is the score of an answer that learned nothing from
inputs. Seconds are those of search and training together;
dollars are those seconds at {price} (<code>report.dollars_per_hour</code>).</p>
{_image(picture, "test scores against parameters, seconds and dollars")}
<table><thead><tr>{header}</tr></thead><tbody>
{rows}
</tbody></table>
{"".join(_section(entry) for entry in entries)}
</body></html>
"""


def _row(entry: Entry) -> str:
    cells = (
        f'<a href="#{escape(entry.key)}">{escape(entry.key)}</a>',
        escape(entry.dataset),
        escape(entry.family),
        escape(entry.metric.replace("_", " ")),
        f"{entry.score:.4f}",
        f"{entry.baseline:.4f}",
        f"{entry.parameters:,}",
        f"{entry.seconds:.1f}",
        f"${entry.dollars:.4f}",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _section(entry: Entry) -> str:
    best = ", ".join(f"{name}={value}" for name, value in entry.hyperparameters.items())
    scores = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in entry.scores.items())
    pictures = "\n".join(_image(path, path.stem.replace("_", " ")) for path in entry.pictures)
    return (
        f'<h2 id="{escape(entry.key)}">{escape(entry.key)}</h2>\n'
        f"<p><small>Scores: {escape(scores)}</small></p>\n"
        f"<p><small>Winner's hyperparameters: <code>{escape(best)}</code></small></p>\n"
        f'<div class="pictures">{pictures}</div>\n'
    )


def _image(path: Path, text: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    kind = path.suffix.removeprefix(".")
    return f'<img alt="{escape(text)}" src="data:image/{kind};base64,{data}">'
