"""Where a file comes from: HTTP by requests, everything else by fsspec. Both can start in the middle."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pipelines.transport.raw import CHUNK

SOME_DAY = {408, 425, 429}
"""Client errors that a later try may not meet again."""


class Gone(Exception):
    """This source will not give the file: no use in trying again."""


class Broken(Exception):
    """This try failed: the next may not."""


@dataclass(frozen=True)
class Stream:
    """Bytes from `start` on, of `total` if the source knows."""

    start: int
    total: int | None
    chunks: Callable[[int], Iterator[bytes]]


@dataclass(frozen=True)
class Source:
    """One place that may have the file. `read_from(n)` opens it at byte n, or at 0 where it cannot resume."""

    name: str
    read_from: Callable[[int], AbstractContextManager[Stream]]


def public(url: str) -> str:
    """The URL without user, password, query and fragment: these may hold credentials."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def local_or_url(path: str, base: Path) -> str:
    """`path` as it is if it is a URL; otherwise `~` is filled in and a relative one counts from `base`."""
    return path if "://" in path else str((base / Path(path).expanduser()).resolve())


def open_source(url: str, base: Path, timeout: float) -> Source:
    """The source for `url`; nothing is connected yet. `timeout` is in seconds without a byte."""
    name = public(url)
    if url.startswith(("http://", "https://")):
        return Source(name, lambda start: _http(url, name, start, timeout))
    return Source(name, lambda start: _fsspec(local_or_url(url, base), name, start))


@contextmanager
def _http(url: str, name: str, start: int, timeout: float) -> Iterator[Stream]:
    import requests

    # A compressed transfer would hide where in the file we are.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            if response.status_code != 416 or _after_slash(response.headers.get("Content-Range", "")) == start:
                yield _answered(response, name, start)
                return
        # What we have is longer than the file, so no part of it: from the start.
        with _http(url, name, 0, timeout) as stream:
            yield stream
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, UnicodeError) as error:
        raise Gone(f"{name} is no URL that can be opened") from error
    except requests.exceptions.SSLError as error:
        raise Gone(f"{name}: the server's certificate was not accepted") from error
    except requests.exceptions.RequestException as error:
        raise Broken(_lost(error, name, timeout)) from error


def _answered(response: Any, name: str, start: int) -> Stream:
    status, reason = response.status_code, response.reason
    if status == 416 and start:  # nothing from `start` on: we have it all
        return Stream(start, start, lambda size: iter(()))
    if status >= 500 or status in SOME_DAY:
        raise Broken(f"{name} answered {status} {reason}")
    if status not in (200, 206):
        raise Gone(f"{name} answered {status} {reason}")
    begins = start
    if status == 200 or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        begins = 0
    if status == 206 and begins != start:
        raise Gone(f"{name} answered with another part of the file than was asked for")
    length = response.headers.get("Content-Length", "")
    total = begins + int(length) if length.isdigit() else None
    return Stream(begins, total, lambda size: response.iter_content(size))


def _after_slash(content_range: str) -> int | None:
    total = content_range.rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _lost(error: Exception, name: str, timeout: float) -> str:
    import requests

    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"{name} sent nothing for {timeout:g} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{name} broke off"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return f"{name} redirects without end"
    return f"cannot reach {urlsplit(name).hostname} for {name}: is the network up?"


@contextmanager
def _fsspec(url: str, name: str, start: int) -> Iterator[Stream]:
    """Errors of the body are the caller's own (a full disk); just opening and reading are the source's."""
    with telling(name):
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url, skip_instance_cache=True)
        total = int(system.info(path)["size"])
        file = system.open(path, "rb", cache_type="none", block_size=CHUNK)
    try:
        begins = start if start <= total else 0
        file.seek(begins)
        yield Stream(begins, total, lambda size: _chunks(file, size, name))
    finally:
        file.close()


def _chunks(file: Any, size: int, name: str) -> Iterator[bytes]:
    while True:
        with telling(name):
            chunk = file.read(size)
        if not chunk:
            return
        yield chunk


@contextmanager
def telling(name: str) -> Iterator[None]:
    """Tell whatever fsspec and the libraries beneath it raise as one sentence about `name`.

    Raises:
        Gone: it is not there, may not be read, or the credentials or the library for it are missing.
        Broken: the connection was lost.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise Gone(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise Gone(f"{name} is a folder, not a file") from error
    except NotADirectoryError as error:
        raise Gone(f"{name} is a file, not a folder") from error
    except PermissionError as error:
        raise Gone(f"{name} may not be read with the credentials at hand") from error
    except (ImportError, ValueError) as error:
        raise Gone(f"{name} is no URL that can be opened: {_one_line(error)}") from error
    except (TypeError, LookupError, AttributeError, AssertionError):
        raise  # a defect of ours, not of the source
    except Exception as error:
        # Each cloud's library has exceptions of its own. Those about credentials will not mend themselves.
        if "credential" in type(error).__name__.lower():
            raise Gone(f"{name} needs credentials: {_one_line(error)}") from error
        raise Broken(f"{name} cannot be read: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
