"""A person's own file or folder, brought into the raw folder byte for byte."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.faults import Fault
from pipelines.transport.raw import CHUNK
from pipelines.transport.sources import Broken, Gone, local_or_url, open_source, public, telling

LITTER = {"thumbs.db", "desktop.ini"}
"""What Windows leaves in folders."""

TIMEOUT, TRIES = 30.0, 3
"""Seconds without a byte before a try is given up, and tries until a file is."""


def copy(path: str, base: Path, target: Path, suffixes: Sequence[str] = ()) -> None:
    """Copy a file to `target`, or what is in a folder, with its subfolders, into the new folder `target`.

    Args:
        path: local (`~` is filled in, a relative one counts from `base`), s3:// or gs://; http(s):// for a
            file alone.
        base: the folder that relative paths count from.
        target: the file or folder to write; it does not exist, its parent does.
        suffixes: how files in a folder may end, such as ".txt"; empty for any. Hidden files and what Windows
            leaves are not copied.

    Raises:
        Fault: it does not exist, cannot be reached or read, is an empty folder, or holds a file with another
            ending; it is named.
    """
    name = public(path)
    try:
        if path.startswith(("http://", "https://")) or not _is_folder(local_or_url(path, base), name):
            _copy_file(path, base, target)
        else:
            _copy_folder(local_or_url(path, base), name, target, suffixes)
    except (Gone, Broken) as reason:
        raise Fault(str(reason)) from reason
    except OSError as error:
        raise Fault(f"cannot write {error.filename or target}: {error.strerror or error}") from error


def _is_folder(url: str, name: str) -> bool:
    with telling(name):
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url, skip_instance_cache=True)
        if system.isdir(root):
            return True
        if not system.exists(root):
            raise FileNotFoundError
        return False


def _copy_file(path: str, base: Path, target: Path) -> None:
    for left in reversed(range(TRIES)):
        try:
            with open_source(path, base, TIMEOUT).read_from(0) as stream, target.open("wb") as file:
                for chunk in stream.chunks(CHUNK):
                    file.write(chunk)
                if stream.total is not None and file.tell() != stream.total:
                    raise Broken(f"{public(path)} broke off after {file.tell()} of {stream.total} bytes")
            return
        except Broken:
            if not left:
                raise


def _copy_folder(url: str, name: str, target: Path, suffixes: Sequence[str]) -> None:
    with telling(name):
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url, skip_instance_cache=True)
        root = root.rstrip("/")
        found = [str(path).removeprefix(root).strip("/") for path in system.find(root)]
    kept = sorted(path for path in found if path and not _hidden(path))
    if not kept:
        raise Fault(f"{name} has no files")
    for path in kept:
        if ".." in PurePosixPath(path).parts or "\\" in path or "//" in path:
            raise Fault(f"{name}/{path} has a name that cannot be kept as a file")
        if suffixes and PurePosixPath(path).suffix.lower() not in suffixes:
            raise Fault(f"{name}/{path} is no {' or '.join(suffixes)} file; take it out of the folder")
    for path in kept:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        _copy_opened(system, f"{root}/{path}", target / path, f"{name}/{path}")


def _copy_opened(system: Any, path: str, target: Path, name: str) -> None:
    with telling(name):
        source = system.open(path, "rb")
    with source, target.open("wb") as file:
        while True:
            with telling(name):
                chunk = source.read(CHUNK)
            if not chunk:
                return
            file.write(chunk)


def _hidden(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return any(part.startswith(".") and part != ".." for part in parts) or parts[-1].lower() in LITTER
