"""Download one file: mirrors in order, resumed where it broke off, checked, never half there.

What has arrived lives in a `.partial` file outside the staging folder, so an interrupted fetch goes on where
it was, in the next run too. Only its checksum makes it the file: that is why one is required.
"""

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pipelines import places
from pipelines.faults import Fault
from pipelines.transport.progress import Progress
from pipelines.transport.raw import digest
from pipelines.transport.sources import Broken, Gone, Source, open_source, public

PIECE = 1 << 15
"""Bytes that are asked for at a time: when the connection breaks, what was read of a piece is lost."""


class Patience(NamedTuple):
    """How long to wait: seconds without a byte, tries after a loss, seconds before the first of them."""

    timeout: float
    retries: int
    backoff: float


def download(
    urls: str | Sequence[str],
    checksum: str,
    target: Path,
    partial_dir: Path | None = None,
    *,
    base: Path | None = None,
    timeout: float = 30,
    retries: int = 4,
    backoff: float = 1,
) -> None:
    """Fetch `target` from the first of `urls` that has it whole.

    Args:
        urls: mirrors; http(s)://, anything fsspec opens (s3://, gs://) or a local path, relative to `base`.
        checksum: `sha256:…` or `md5:…`, or the bare hexadecimal digits of a sha256.
        target: the file to write; its folder exists.
        partial_dir: where what has arrived waits for the next try; by default state that outlives a killed
            stage.
        base: the folder that relative local paths count from; by default the working folder.
        timeout: seconds to connect, and seconds without a byte before a try is given up.
        retries: tries after a try that brought nothing; one that brought something counts anew.
        backoff: seconds before the first of these, doubled each time, 60 at most.

    Raises:
        Fault: no mirror has it, none can be reached, what came has another checksum, or the disk is full.
    """
    from filelock import FileLock

    mirrors = [urls] if isinstance(urls, str) else list(urls)
    checksum = checksum if ":" in checksum else f"sha256:{checksum}"
    folder = partial_dir or places.state("partial")
    key = hashlib.sha256(checksum.encode()).hexdigest()[:16]
    partial = folder / f"{target.name}-{key}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(partial.with_suffix(".lock")):  # two datasets may want the same file at the same time
            _from_any(mirrors, checksum, partial, base or Path(), Patience(timeout, retries, backoff))
            shutil.move(partial, target)
    except OSError as error:
        raise Fault(f"cannot write {error.filename or partial}: {error.strerror or error}") from error


def _from_any(mirrors: list[str], checksum: str, partial: Path, base: Path, patience: Patience) -> None:
    reasons: list[str] = []
    for url in mirrors:
        resumed = partial.exists()
        try:
            _from_one(open_source(url, base, patience.timeout), partial, patience)
            try:
                _check(url, checksum, partial)
            except Gone:
                if not resumed:
                    raise
                # What an earlier run left may have been of another version: once more, from the start.
                _from_one(open_source(url, base, patience.timeout), partial, patience)
                _check(url, checksum, partial)
            return
        except Gone as reason:
            reasons.append(str(reason))
    raise Fault("; ".join(reasons))


def _from_one(source: Source, partial: Path, patience: Patience) -> None:
    """Bring everything that `source` has into `partial`.

    Raises:
        Gone: the source says it has not got the file, or was lost too often.
    """
    tries = 0
    while True:
        before = _size(partial)
        try:
            _pour(source, partial)
            return
        except Broken as reason:
            tries = 1 if _size(partial) > before else tries + 1
            if tries > patience.retries:
                often = f" (tried {tries} times)" if tries > 1 else ""
                raise Gone(f"{reason}{often}") from reason
            time.sleep(min(60, patience.backoff * 2 ** (tries - 1)))


def _pour(source: Source, partial: Path) -> None:
    with source.read_from(_size(partial)) as stream, partial.open("ab") as file:
        file.truncate(stream.start)  # a server that cannot resume starts again at 0
        with Progress(Path(urlsplit(source.name).path).name, stream.start, stream.total) as progress:
            for chunk in stream.chunks(PIECE):
                file.write(chunk)
                progress.add(len(chunk))
        if stream.total is not None and file.tell() < stream.total:
            raise Broken(f"{source.name} broke off after {file.tell()} of {stream.total} bytes")


def _check(url: str, checksum: str, partial: Path) -> None:
    algorithm, _, expected = checksum.partition(":")
    got = digest(partial, algorithm)
    if got != expected:
        partial.unlink()
        raise Gone(f"{public(url)} has the wrong checksum: expected {checksum}, got {algorithm}:{got}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
