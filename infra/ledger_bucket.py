"""The ledger in the project's bucket: one object per event, numbered, created once and never written again."""

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from infra.events import Event, Taken, decode, encode, follows
from infra.faults import Fault

PREFIX = "ledger/"
THREADS = 16


class Bucket(Protocol):
    """What a cloud's bucket can do."""

    @property
    def address(self) -> str:
        """As people write it: `s3://name`."""

    def prepare(self) -> None:
        """Make the bucket if there is none, and see that it is closed to others."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects that begin so, sorted; none where there is no bucket yet."""

    def read(self, key: str) -> bytes:
        """Return an object; called by several threads at once."""

    def create(self, key: str, content: bytes) -> bool:
        """Write an object if there is none of this key; return whether there was none, as far as the cloud knows."""


class BucketStore:
    """Events as `ledger/00000001.json`, `ledger/00000002.json`, …

    The bucket is made when the first event comes, and its settings are seen to once a process.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._ready = False
        # Events never change: what was read once need not be fetched again.
        self._read: dict[str, Event] = {}

    def read(self) -> list[Event]:
        """Return all events in the order of their numbers; none where there is no bucket yet."""
        keys = self.bucket.keys(PREFIX)
        missing = [key for key in keys if key not in self._read]
        if missing:
            with ThreadPoolExecutor(THREADS) as pool:
                self._read.update(zip(missing, pool.map(self._fetch, missing), strict=True))
        events = [self._read[key] for key in keys]
        for number, event in enumerate(events, start=1):
            if event.number != number:
                raise Fault(
                    f"event {number} is missing from {self.bucket.address}/{PREFIX}: the ledger cannot be trusted"
                )
        return events

    def append(self, event: Event) -> None:
        """Keep an event.

        Raises:
            Taken: there is an event of this number.
        """
        if not self._ready:
            self.bucket.prepare()
            self._ready = True
        follows(event, len(self.bucket.keys(PREFIX)))
        key = f"{PREFIX}{event.number:08d}.json"
        # An answer that was lost on its way has the request sent again, and then it was ourselves who were first.
        if not self.bucket.create(key, encode(event).encode()) and self._fetch(key) != event:
            raise Taken(f"event {event.number} is there already")

    def _fetch(self, key: str) -> Event:
        return decode(self.bucket.read(key).decode(errors="replace"))
