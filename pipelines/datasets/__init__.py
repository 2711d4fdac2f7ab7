"""The table of datasets. To add one: its file, a line here; the conformance suite picks it up by itself."""

from typing import Any

from pipelines.datasets.adding import ADDING
from pipelines.datasets.cifar10 import CIFAR10
from pipelines.datasets.cora import CORA
from pipelines.datasets.digits import DIGITS
from pipelines.datasets.dna import DNA
from pipelines.datasets.edge_list import EDGE_LIST
from pipelines.datasets.eeg import EEG
from pipelines.datasets.forecast import FORECAST
from pipelines.datasets.graph_classes import GRAPH_CLASSES
from pipelines.datasets.gym import GYM
from pipelines.datasets.image_folder import IMAGE_FOLDER
from pipelines.datasets.karate import KARATE
from pipelines.datasets.mnist import MNIST
from pipelines.datasets.notes import NOTES
from pipelines.datasets.pairs_file import PAIRS_FILE
from pipelines.datasets.python_docs import PYTHON_DOCS
from pipelines.datasets.temporal_order import TEMPORAL_ORDER
from pipelines.datasets.text_files import TEXT_FILES
from pipelines.datasets.texts import TEXTS
from pipelines.datasets.translate import TRANSLATE
from pipelines.formats.base import Dataset

DATASETS: dict[str, Dataset[Any, Any]] = {
    "digits": DIGITS,
    "mnist": MNIST,
    "cifar10": CIFAR10,
    "image_folder": IMAGE_FOLDER,
    "dna": DNA,
    "notes": NOTES,
    "texts": TEXTS,
    "temporal_order": TEMPORAL_ORDER,
    "adding": ADDING,
    "eeg": EEG,
    "forecast": FORECAST,
    "translate": TRANSLATE,
    "pairs_file": PAIRS_FILE,
    "python_docs": PYTHON_DOCS,
    "text_files": TEXT_FILES,
    "karate": KARATE,
    "cora": CORA,
    "edge_list": EDGE_LIST,
    "graph_classes": GRAPH_CLASSES,
    "gym": GYM,
}
