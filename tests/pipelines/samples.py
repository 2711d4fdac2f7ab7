"""Small datasets in the true formats, made afresh: the bytes that the makers' servers would send."""

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.datasets import DATASETS
from pipelines.datasets.cifar10 import META, TEST, TRAIN

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def pixels(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(values: NDArray[np.uint8]) -> bytes:
    """LeCun's format."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def mnist_parts() -> dict[str, NDArray[np.uint8]]:
    labels = np.arange(60, dtype=np.uint8) % 10
    return {
        "train_images": pixels(60, 28, 28, seed=1),
        "train_labels": labels,
        "test_images": pixels(20, 28, 28, seed=2),
        "test_labels": labels[:20],
    }


def cifar_members() -> dict[str, bytes]:
    members = {}
    for number, name in enumerate((*TRAIN, TEST)):
        records = np.column_stack([np.arange(10, dtype=np.uint8), pixels(10, 3072, seed=number)])
        members[name] = records.tobytes()
    return members | {META: ("\n".join(CLASSES) + "\n\n").encode()}


def zipped(content: bytes) -> bytes:
    """Gzipped, without the time of day that gzip would write into it."""
    return gzip.compress(content, mtime=0)


def tar_gz(members: dict[str, bytes], folder: str = "cifar-10-batches-bin/") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return zipped(buffer.getvalue())


def checksum(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def image_folder(folder: Path) -> Path:
    """Three classes of PNG and JPEG in mixed sizes and modes, with litter that does not count."""
    for label, name in enumerate(("cat", "dog", "fish")):
        of_class = folder / name
        of_class.mkdir(parents=True)
        for number, mode in enumerate(("L", "LA", "P", "RGB", "RGBA", "1")):
            image = Image.fromarray(pixels(20 + number, 30 - label, 3, seed=10 * label + number))
            image.convert(mode).save(of_class / f"{number}.png")
        for number, mode in enumerate(("L", "RGB", "CMYK")):
            Image.fromarray(pixels(40, 24 + number, 3, seed=label)).convert(mode).save(of_class / f"{number}.jpg")
        wide = Image.fromarray(pixels(16, 16, seed=label).astype(np.uint16) << 8)
        wide.save(of_class / "wide.png")
        (of_class / ".hidden").write_text("not an image")
        (of_class / "Thumbs.db").write_text("not an image")
    return folder


def cora() -> bytes:
    """An archive in Cora's form: thirty papers of three fields, each cited by the next."""
    papers = ["\t".join([str(i), *("01"[word == i % 4] for word in range(6)), f"Field{i % 3}"]) for i in range(30)]
    cites = [f"{i}\t{i + 1}" for i in range(29)]
    files = {"cora.content": papers, "cora.cites": cites}
    return tar_gz({name: ("\n".join(lines) + "\n").encode() for name, lines in files.items()}, "cora/")


def _lines(folder: Path, name: str, lines: list[str]) -> str:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / name)


def _mnist(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = {"mirrors": [str(folder)]}
    for role, values in mnist_parts().items():
        content = zipped(idx(values)) if "images" in role else idx(values)
        (folder / role).write_bytes(content)
        config[role] = {"name": role, "checksum": checksum(content)}
    return config


def _archive(folder: Path, content: bytes) -> dict[str, Any]:
    (folder / "archive.tar.gz").write_bytes(content)
    return {"urls": [str(folder / "archive.tar.gz")], "checksum": checksum(content)}


def _forecast(folder: Path) -> dict[str, Any]:
    rows = [f"{hour},{np.sin(hour / 3):.4f},{np.cos(hour / 5):.4f}" for hour in range(90)]
    return {"path": _lines(folder, "series.csv", ["time,value,wind", *rows])}


def _text_files(folder: Path) -> dict[str, Any]:
    texts = folder / "texts"
    texts.mkdir()
    for number in range(6):
        words = [f"Sentence {n} of letter {number} goes on for a while." for n in range(12)]
        (texts / f"{number}.txt").write_text(" ".join(words) + "\n", encoding="utf-8")
    return {"path": str(texts)}


def _edge_list(folder: Path) -> dict[str, Any]:
    edges = [f"n{a},n{(a + step) % 18}" for a in range(18) for step in (1, 3)]
    nodes = [f"n{a},{a % 3},{a / 18:.3f},{'even' if a % 2 else 'odd'}" for a in range(18)]
    return {
        "edges": _lines(folder, "edges.csv", ["source,target", *edges]),
        "nodes": _lines(folder, "nodes.csv", ["node,third,place,label", *nodes]),
    }


SOURCES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "digits": lambda folder: {},
    "mnist": _mnist,
    "cifar10": lambda folder: _archive(folder, tar_gz(cifar_members())),
    "image_folder": lambda folder: {"path": str(image_folder(folder / "pets"))},
    "dna": lambda folder: {"sequences": 60},
    "notes": lambda folder: {"melodies": 40},
    "texts": lambda folder: {},
    "temporal_order": lambda folder: {"sequences": 60},
    "adding": lambda folder: {"sequences": 40, "length": 9},
    "eeg": lambda folder: {},
    "forecast": _forecast,
    "translate": lambda folder: {"pairs": 60, "held_out_pairs": 10},
    "pairs_file": lambda folder: {
        "path": _lines(folder, "p.tsv", [f"the number {n}\tdie Zahl {n}" for n in range(40)])
    },
    "python_docs": lambda folder: {},
    "text_files": _text_files,
    "karate": lambda folder: {},
    "cora": lambda folder: _archive(folder, cora()),
    "edge_list": _edge_list,
    "graph_classes": lambda folder: {"graphs": 32},
    "gym": lambda folder: {},
}
SMALL: dict[str, dict[str, Any]] = {
    "image_folder": {"size": 12},
    "cora": {"per_class": 2, "val": 5, "test": 10},
    "text_files": {"length": 8, "vocabulary": 300},
}


def source(kind: str, folder: Path) -> dict[str, Any]:
    """Put a small dataset of that kind into the empty `folder`; return the FetchConfig that finds it."""
    assert kind in SOURCES, f"add a small {kind} here: every dataset is tested"
    return SOURCES[kind](folder)


def small(kind: str) -> dict[str, Any]:
    """The PrepareConfig that suits the small dataset of that kind."""
    return SMALL.get(kind, {})


def fetched(kind: str, folder: Path) -> Path:
    """The raw folder of a small dataset of that kind."""
    (folder / "source").mkdir()
    (folder / "raw").mkdir()
    dataset = DATASETS[kind]
    config = dataset.FetchConfig.model_validate(source(kind, folder / "source"))
    dataset.fetch(config, folder / "raw", folder)
    return folder / "raw"
