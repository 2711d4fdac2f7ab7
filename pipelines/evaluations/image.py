"""Tests classifiers of images: scores, confusion, worst mistakes, what filters look for."""

from typing import TYPE_CHECKING, cast

from pydantic import Field

from pipelines.evaluations import classification
from pipelines.evaluations.base import Evaluation, Task
from pipelines.evaluations.curves import learning_curves
from pipelines.evaluations.speed import predict
from pipelines.section import Section

if TYPE_CHECKING:
    from lit_models.core.image import ImageModel


class ImageEvaluateConfig(Section):
    """The section `experiments.<key>.evaluate` of classifiers of images."""

    mistakes: int = Field(default=16, ge=1, le=400, description="worst mistakes to picture")
    calibration_bins: int = Field(default=15, ge=2, le=1000, description="bins of the calibration error")
    filter_steps: int = Field(default=60, ge=1, le=10_000, description="gradient steps towards a filter's best image")
    filters: int = Field(default=16, ge=1, le=1024, description="filters to picture in each layer, at most")


def run(task: Task, config: ImageEvaluateConfig) -> dict[str, float]:
    """Score the model and draw the pictures."""
    from pipelines.evaluations import image_pictures

    model = cast("ImageModel", task.model)
    logits, speed = predict(model, task.x)
    table, picture = task.confusion / "confusion.csv", task.pictures / "confusion.png"
    classification.confusion(task.y, logits.argmax(1), task.card["classes"], table, picture)
    worst = task.pictures / "worst_mistakes.png"
    image_pictures.mistakes(task, logits, config.mistakes, model.spec.scale, worst)
    learning_curves(task.trained / "history.csv", task.learning, task.pictures / "learning_curves.png")
    image_pictures.filters(model, config.filters, config.filter_steps, task.pictures)
    scores = classification.scores(logits, task.y, task.card, config.calibration_bins)
    return {**scores, "images_per_second": speed}


IMAGE = Evaluation(ImageEvaluateConfig, run)
