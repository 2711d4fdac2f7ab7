"""The manifest of a raw folder: what `fetch` wrote is what `read` finds, or the changed file is named."""

import hashlib
import json
from pathlib import Path

from pipelines.faults import Fault

MANIFEST = "manifest.json"
CHUNK = 1 << 20


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The file's digest in small hexadecimal digits, read in chunks."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`: relative path -> {"bytes", "sha256"} of every file in `folder`, sorted."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    entries = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)}
        for name in files
        if name != MANIFEST
    }
    text = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def verified(folder: Path) -> list[str]:
    """The relative paths that the manifest lists, sorted, once each file is found to be what was fetched.

    Raises:
        Fault: the manifest is missing or unreadable, or a file is missing, has another size or another
            digest.
    """
    for name, entry in (entries := _manifest(folder)).items():
        path = folder / name
        if not path.is_file():
            raise Fault(f"{path} is missing; fetch the dataset again (dvc repro --force fetch)")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise Fault(f"{path} has {size} bytes instead of {entry['bytes']}: it changed since it was fetched")
        if digest(path) != entry["sha256"]:
            raise Fault(f"{path} does not have the sha256 it was fetched with: it changed since")
    return sorted(entries)


def _manifest(folder: Path) -> dict[str, dict[str, str | int]]:
    path = folder / MANIFEST
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        for name, entry in entries.items():
            if set(entry) != {"bytes", "sha256"} or ".." in Path(name).parts or Path(name).is_absolute():
                raise ValueError(f"entry {name!r}")
    except FileNotFoundError:
        raise Fault(f"{path} is missing; fetch the dataset first") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise Fault(f"{path} is no manifest of fetched files: {error}") from None
    return dict(entries)
