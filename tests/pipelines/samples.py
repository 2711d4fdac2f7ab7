"""Small datasets in the true formats, made afresh: the bytes that the makers' servers would send."""

import gzip
import hashlib
import io
import struct
import tarfile
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


def source(kind: str, folder: Path) -> dict[str, Any]:
    """Put a small dataset of that kind into the empty `folder`; return the FetchConfig that finds it."""
    if kind == "digits":
        return {}
    if kind == "mnist":
        config: dict[str, Any] = {"mirrors": [str(folder)]}
        for role, values in mnist_parts().items():
            content = zipped(idx(values)) if "images" in role else idx(values)
            (folder / role).write_bytes(content)
            config[role] = {"name": role, "checksum": checksum(content)}
        return config
    if kind == "cifar10":
        content = tar_gz(cifar_members())
        (folder / "cifar.tar.gz").write_bytes(content)
        return {"urls": [str(folder / "cifar.tar.gz")], "checksum": checksum(content)}
    if kind == "image_folder":
        return {"path": str(image_folder(folder / "pets"))}
    raise AssertionError(f"add a small {kind} here: every dataset is tested")


def small(kind: str) -> dict[str, Any]:
    """The PrepareConfig that suits the small dataset of that kind."""
    return {"size": 12} if kind == "image_folder" else {}


def fetched(kind: str, folder: Path) -> Path:
    """The raw folder of a small dataset of that kind."""
    (folder / "source").mkdir()
    (folder / "raw").mkdir()
    dataset = DATASETS[kind]
    config = dataset.FetchConfig.model_validate(source(kind, folder / "source"))
    dataset.fetch(config, folder / "raw", folder)
    return folder / "raw"
