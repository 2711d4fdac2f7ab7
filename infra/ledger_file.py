"""The ledger in one file of this machine: a line of JSON per event, under a lock, safe before the call returns."""

import os
from pathlib import Path

from infra.events import Event, decode, encode, follows
from infra.faults import Fault


class LocalStore:
    """Events as lines of a file; any number of processes of one machine may append.

    Args:
        path: of the file; it and its folder are made when the first event comes. A lock lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Event]:
        """Return all events in the order of their numbers; a half last line, of a writer that died, does not count."""
        return self._parse(self._whole())

    def append(self, event: Event) -> None:
        """Keep an event; raises `Taken` when there is one of its number."""
        from filelock import FileLock

        line = (encode(event) + "\n").encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", mode=0o600):
                whole = self._whole()
                follows(event, len(self._parse(whole)))
                self._write(len(whole), line)
        except OSError as error:
            raise Fault(f"the ledger {self.path} cannot be written: {error.strerror or error}") from error

    def _whole(self) -> bytes:
        """What the file holds up to the end of its last whole line."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise Fault(f"the ledger {self.path} cannot be read: {error.strerror or error}") from error
        return content[: content.rfind(b"\n") + 1]

    def _parse(self, content: bytes) -> list[Event]:
        events: list[Event] = []
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                events.append(decode(line.decode()))
                follows(events[-1], number - 1)
            except Exception as error:
                raise Fault(f"line {number} of the ledger {self.path} is damaged; mend it by hand") from error
        return events

    def _write(self, size: int, line: bytes) -> None:
        """Write after the last whole line, over what a writer that died may have left of its own."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(file, size)
            os.lseek(file, size, os.SEEK_SET)
            while line:
                line = line[os.write(file, line) :]
            os.fsync(file)
        finally:
            os.close(file)
        if size == 0:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
