"""A person's own images: a folder with one subfolder per class, of PNG and JPEG files of any size."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.faults import Fault
from pipelines.formats.decode import decode_all
from pipelines.formats.images import Examples, ImagePrepareConfig, first_of_each, image_dataset
from pipelines.section import Section
from pipelines.transport.raw import CHUNK, verified, write_manifest
from pipelines.transport.sources import Broken, Gone, local_or_url, public, telling

SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
"""How PNG and JPEG files begin. The content counts, not the ending of the name."""

IMAGES = "images"
"""The images' folder inside the raw folder, so that no class can be mistaken for the manifest."""

LITTER = {"thumbs.db", "desktop.ini"}
"""What Windows leaves in folders of images."""


class ImageFolderFetch(Section):
    """A folder of your own: one subfolder per class, PNG and JPEG."""

    path: str = Field(
        min_length=1,
        description="local (`~` is filled in, a relative path counts from params.yaml), s3:// or gs://",
    )


def fetch(config: ImageFolderFetch, folder: Path, base: Path) -> None:
    """Copy every image as it is into `images/<class>/…` of `folder`. Hidden files are left out.

    Raises:
        Fault: the folder does not exist or cannot be reached, a class is empty, there are fewer than two, or
            a file is no PNG or JPEG; it is named.
    """
    url = local_or_url(config.path, base)
    name = public(config.path)
    try:
        system, root, found = _find(url, name)
        for relative in found:
            target = folder / IMAGES / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(system, f"{root}/{relative}", target, f"{name.rstrip('/')}/{relative}")
    except (Gone, Broken) as reason:
        raise Fault(str(reason)) from reason
    except OSError as error:
        raise Fault(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    write_manifest(folder)


def _find(url: str, name: str) -> tuple[Any, str, list[str]]:
    """The file system, the root in it and the images' paths relative to that, sorted."""
    with telling(name):
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url, skip_instance_cache=True)
        root = root.rstrip("/")
        if not system.isdir(root):
            raise FileNotFoundError if not system.exists(root) else NotADirectoryError
        folders = [
            _relative(str(entry["name"]), root)
            for entry in system.ls(root, detail=True)
            if entry["type"] == "directory"
        ]
        files = [_relative(str(path), root) for path in system.find(root)]
    found = sorted(path for path in files if path and not _hidden(path))
    classes = sorted(path for path in folders if path and not _hidden(path))
    for path in found:
        if ".." in PurePosixPath(path).parts or "\\" in path or "//" in path:
            raise Fault(f"{name}/{path} has a name that cannot be kept as a file")
        if "/" not in path:
            raise Fault(f"{name}/{path} is in no class folder; each image belongs in one, named after its class")
    filled = {path.split("/")[0] for path in found}
    for path in classes:
        if path not in filled:
            raise Fault(f"{name}/{path} has no images")
    if len(filled) < 2:
        raise Fault(f"{name} has {len(filled)} class folders with images; telling classes apart needs at least 2")
    return system, root, found


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root).strip("/")


def _hidden(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return any(part.startswith(".") and part != ".." for part in parts) or parts[-1].lower() in LITTER


def _copy(system: Any, path: str, target: Path, name: str) -> None:
    with telling(name):
        source = system.open(path, "rb")
    with source:
        with telling(name):
            chunk = source.read(CHUNK)
        if not chunk.startswith(SIGNATURES):
            raise Fault(f"{name} is no PNG or JPEG image; take it out of the folder")
        with target.open("wb") as file:
            while chunk:
                file.write(chunk)
                with telling(name):
                    chunk = source.read(CHUNK)


def read(raw: Path, config: ImagePrepareConfig) -> Examples:
    """Decode every image, in sorted order, to `config.size` and `config.channels` (by default rgb).

    Raises:
        Fault: an image is corrupt or cut off, or sizes differ and `size` is not set; the file is named.
    """
    names = [name for name in verified(raw) if re.match(f"{IMAGES}/[^/]+/.", name)]
    labels = [name.split("/")[1] for name in names]
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise Fault(f"{raw} has {len(classes)} class folders with images; telling classes apart needs at least 2")
    number = {label: position for position, label in enumerate(classes)}
    y = np.array([number[label] for label in labels], np.int64)
    index: NDArray[np.int64] = np.arange(len(y))
    if config.limit is not None:  # before decoding, which is what takes the time
        index = first_of_each(y, config.limit, None)
    x = decode_all([raw / names[i] for i in index], config.size, config.channels or "rgb")
    kept = [names[i].removeprefix(f"{IMAGES}/") for i in index]
    return Examples(x=x, y=y[index], classes=classes, scale=255, index=index, names=kept)


def shape(config: ImagePrepareConfig) -> tuple[int, int, int] | None:
    """Known where `size` is set; without it only the files say."""
    if config.size is None:
        return None
    return 1 if config.channels == "gray" else 3, config.size, config.size


IMAGE_FOLDER = image_dataset("image_folder", ImageFolderFetch, fetch, read, shape)
