"""How far a journal has come on its way to a tracking server, and which runs it made there.

`sent.jsonl` beside the journal only grows, so that each chunk costs as much as it brings. A line is either
`{"server": …}`, before which all is void, or `{"offset": …, "ids": {…}}`: the journal's bytes before `offset` have been
sent, and these runs made since the line before. A line that a kill or a power cut swallowed does no harm: what is sent
again changes nothing.
"""

import json
import os
from pathlib import Path
from typing import Any

from pipelines import journal

NAME = "sent.jsonl"


class Sent:
    """What is remembered of one journal; only who holds the lock of its sending may use it.

    Args:
        memory: the file that outlives the process; None remembers in this object alone.
        server: a fingerprint of the tracking server.

    Attributes:
        offset: bytes of the journal that have been sent.
        ids: the server's id of each run, by its key.
    """

    def __init__(self, memory: Path | None, server: str) -> None:
        self._memory = memory
        self._server = server
        self._read = 0
        self._last_server: str | None = None
        self._new: dict[str, str] = {}
        self.offset = 0
        self.ids: dict[str, str] = {}

    def recall(self, file: Path) -> None:
        """Take in what other processes have sent since the last call; `file` is the journal.

        What was remembered is void if it is of another server, or if the journal was cut behind it (by a power cut,
        which may take bytes that were read already).
        """
        try:
            for line, end in journal.lines(self._memory, self._read) if self._memory else ():
                self._take(line)
                self._read = end
        except (FileNotFoundError, ValueError):  # not begun yet, or spoilt
            self._read, self._last_server = 0, None
        if self._last_server != self._server or not _begins_a_line(file, self.offset):
            self.forget()

    def made(self, run: str, made: str) -> None:
        """Remember the server's id of a run, on disk with the next call of `reached`."""
        self.ids[run] = self._new[run] = made

    def reached(self, offset: int) -> None:
        """Remember that the journal was sent as far as this byte."""
        self._write({"offset": offset, "ids": self._new})
        self._new = {}

    def forget(self) -> None:
        """Begin anew: the server has lost what it was sent."""
        self._new = {}
        self._write({"server": self._server})

    def _take(self, line: dict[str, Any]) -> None:
        if "server" in line:
            self._last_server, self.offset, self.ids = line["server"], 0, {}
        else:
            self.offset = line["offset"]
            self.ids |= line["ids"]

    def _write(self, line: dict[str, Any]) -> None:
        if self._memory:
            with self._memory.open("ab") as file:
                # A killed process may have left half a line.
                os.truncate(file.fileno(), self._read)
                self._read += file.write(json.dumps(line).encode() + b"\n")
        self._take(line)


def _begins_a_line(file: Path, offset: int) -> bool:
    if offset == 0:
        return True
    with file.open("rb") as journal_file:
        journal_file.seek(offset - 1)
        return journal_file.read(1) == b"\n"
