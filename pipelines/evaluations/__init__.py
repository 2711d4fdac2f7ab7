"""The table of evaluations, one for each form of data."""

from typing import Any

from pipelines.evaluations.base import Evaluation
from pipelines.evaluations.control import CONTROL
from pipelines.evaluations.graph import GRAPH, GRAPHS
from pipelines.evaluations.image import IMAGE
from pipelines.evaluations.pairs import PAIRS
from pipelines.evaluations.series import SERIES
from pipelines.evaluations.text import TEXT
from pipelines.evaluations.tokens import TOKENS

EVALUATIONS: dict[str, Evaluation[Any]] = {
    "image": IMAGE,
    "tokens": TOKENS,
    "series": SERIES,
    "text": TEXT,
    "pairs": PAIRS,
    "graph": GRAPH,
    "graphs": GRAPHS,
    "control": CONTROL,
}
