"""The table of datasets. To add one: its file, a line here; the conformance suite picks it up by itself."""

from typing import Any

from pipelines.datasets.base import Dataset
from pipelines.datasets.cifar10 import CIFAR10
from pipelines.datasets.digits import DIGITS
from pipelines.datasets.image_folder import IMAGE_FOLDER
from pipelines.datasets.mnist import MNIST

DATASETS: dict[str, Dataset[Any, Any]] = {
    "digits": DIGITS,
    "mnist": MNIST,
    "cifar10": CIFAR10,
    "image_folder": IMAGE_FOLDER,
}
