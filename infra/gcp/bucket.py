"""The project's bucket at Google, in which the ledger is."""

from contextlib import suppress

from infra.cluster import PROJECT
from infra.faults import NotThere, Refused
from infra.gcp.clients import RETRIES, Clients
from infra.gcp.errors import Conflict, Denied, asking


class Bucket:
    """A bucket: private, versioned; see `infra.ledger_bucket.Bucket`.

    Args:
        clients: of the project that owns it.
        name: its name.
        project: becomes its label.
        place: the region where it is made.
    """

    def __init__(self, clients: Clients, name: str, project: str, place: str) -> None:
        self._clients, self.name, self._project, self._place = clients, name, project, place

    @property
    def address(self) -> str:
        """As people write it."""
        return f"gs://{self.name}"

    def keys(self, prefix: str) -> list[str]:
        """Return the names of all objects that begin so; Google tells of a thousand at a time, sorted."""
        objects = self._clients.storage.objects()
        request = objects.list(bucket=self.name, prefix=prefix, fields="nextPageToken,items/name")
        try:
            pages = list(self._clients.pages(objects, request, f"listing {self.address}/{prefix}"))
        except NotThere:
            return []
        except Denied as fault:
            raise Refused(f"cloud.gcp.bucket: `{self.name}` cannot be read: {fault}") from fault
        return sorted(found["name"] for page in pages for found in page.get("items", []))

    def read(self, key: str) -> bytes:
        """Return an object."""
        request = self._clients.storage.objects().get_media(bucket=self.name, object=key)
        with asking(f"reading {self.address}/{key}"):
            content: bytes = request.execute(http=self._clients.http(), num_retries=RETRIES)
        return content

    def create(self, key: str, content: bytes) -> bool:
        """Write an object if there is none of this key; return whether there was none."""
        from googleapiclient.http import MediaInMemoryUpload  # type: ignore[import-untyped]

        body = MediaInMemoryUpload(content, mimetype="application/json")
        # Only one that is not there yet: whoever comes second is told so by Google.
        request = self._clients.storage.objects().insert(
            bucket=self.name, name=key, ifGenerationMatch=0, media_body=body
        )
        try:
            self._clients.call(request, f"writing {self.address}/{key}")
        except Conflict:
            return False
        return True

    def prepare(self) -> None:
        """Make the bucket if there is none; nobody but the project's people may read it."""
        buckets = self._clients.storage.buckets()
        try:
            self._clients.call(buckets.get(bucket=self.name, fields="name"), f"looking for the bucket {self.name}")
        except NotThere:
            body = {
                "name": self.name,
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
                self._clients.call(request, f"making the bucket {self.name}")
        except Denied as fault:
            raise Refused(f"cloud.gcp.bucket: `{self.name}` belongs to somebody else; name another") from fault
