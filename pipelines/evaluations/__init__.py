"""The table of evaluations, one for each form of data."""

from typing import Any

from pipelines.evaluations.base import Evaluation
from pipelines.evaluations.image import IMAGE

EVALUATIONS: dict[str, Evaluation[Any]] = {
    "image": IMAGE,
}
