"""The ledger in the project's bucket: one object per event, numbered, created once and never written again."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from infra.cluster import PROJECT
from infra.events import Event, Taken, decode, encode, follows
from infra.faults import Fault, NotThere, Refused
from infra.gcp.clients import RETRIES, Clients
from infra.gcp.errors import Conflict, Denied, asking

PREFIX = "ledger/"
THREADS = 8


class BucketStore:
    """Events as `ledger/00000001.json`, `ledger/00000002.json`, …

    The bucket is made, private, when the first event comes.

    Args:
        clients: of the project that owns the bucket.
        bucket: its name.
        project: becomes its label.
        place: the region where it is made.
    """

    def __init__(self, clients: Clients, bucket: str, project: str, place: str) -> None:
        self._clients, self.bucket, self._project, self._place = clients, bucket, project, place
        self._ready = False
        # Events never change: what was read once need not be fetched again.
        self._read: dict[str, Event] = {}

    def read(self) -> list[Event]:
        """Return all events in the order of their numbers; none where there is no bucket yet."""
        names = self._names()
        missing = [name for name in names if name not in self._read]
        objects = self._clients.storage.objects()
        with ThreadPoolExecutor(THREADS) as pool:
            requests = [objects.get_media(bucket=self.bucket, object=name) for name in missing]
            self._read.update(zip(missing, pool.map(self._fetch, requests), strict=True))
        events = [self._read[name] for name in names]
        for number, event in enumerate(events, start=1):
            if event.number != number:
                raise Fault(f"event {number} is missing from gs://{self.bucket}/{PREFIX}: the ledger cannot be trusted")
        return events

    def append(self, event: Event) -> None:
        """Keep an event.

        Raises:
            Taken: there is an event of this number.
        """
        from googleapiclient.http import MediaInMemoryUpload  # type: ignore[import-untyped]

        self._prepare()
        follows(event, len(self._names()))
        name = f"{PREFIX}{event.number:08d}.json"
        objects = self._clients.storage.objects()
        body = MediaInMemoryUpload(encode(event).encode(), mimetype="application/json")
        # Only one that is not there yet: whoever comes second is told so by Google.
        request = objects.insert(bucket=self.bucket, name=name, ifGenerationMatch=0, media_body=body)
        try:
            self._clients.call(request, f"writing gs://{self.bucket}/{name}")
        except Conflict as fault:
            # An answer that was lost on its way makes us ask again, and then it was ourselves who were first.
            if self._fetch(objects.get_media(bucket=self.bucket, object=name)) != event:
                raise Taken(f"event {event.number} is there already") from fault

    def _names(self) -> list[str]:
        """The names of all events; Google tells of a thousand at a time, sorted."""
        objects = self._clients.storage.objects()
        request = objects.list(bucket=self.bucket, prefix=PREFIX, fields="nextPageToken,items/name")
        try:
            pages = list(self._clients.pages(objects, request, f"listing gs://{self.bucket}/{PREFIX}"))
        except NotThere:
            return []
        except Denied as fault:
            raise Refused(f"cloud.gcp.bucket: `{self.bucket}` cannot be read: {fault}") from fault
        return sorted(found["name"] for page in pages for found in page.get("items", []))

    def _fetch(self, request: Any) -> Event:
        with asking(f"reading gs://{self.bucket}"):
            content: bytes = request.execute(http=self._clients.http(), num_retries=RETRIES)
        return decode(content.decode(errors="replace"))

    def _prepare(self) -> None:
        """Make the bucket if there is none; nobody but the project's people may read it."""
        if self._ready:
            return
        buckets = self._clients.storage.buckets()
        try:
            self._clients.call(buckets.get(bucket=self.bucket, fields="name"), f"looking for the bucket {self.bucket}")
        except NotThere:
            body = {
                "name": self.bucket,
                "location": self._place,
                "labels": {PROJECT: self._project},
                "iamConfiguration": {
                    "publicAccessPrevention": "enforced",
                    "uniformBucketLevelAccess": {"enabled": True},
                },
                # An event that is deleted by mistake can be brought back.
                "versioning": {"enabled": True},
            }
            request = buckets.insert(project=self._clients.project, body=body)
            with suppress(Conflict):  # somebody else has just now; that it is one of us shows when it is written to
                self._clients.call(request, f"making the bucket {self.bucket}")
        except Denied as fault:
            raise Refused(f"cloud.gcp.bucket: `{self.bucket}` belongs to somebody else; name another") from fault
        self._ready = True
