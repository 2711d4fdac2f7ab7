"""The ledger in the project's bucket: one object per event, numbered, created once and never written again."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from infra.aws.clients import Clients
from infra.aws.errors import RIGHTS, Denied, asking, code_of
from infra.aws.names import tag_list
from infra.cluster import PROJECT
from infra.events import Event, Taken, decode, encode, follows
from infra.faults import CloudFault, Fault, NotThere, Refused

PREFIX = "ledger/"
# Keys per answer; S3 gives no more.
PAGE = 1000
# How the names of the buckets that we make begin, where none is configured.
OURS = "fifty-"
# Another writer was there first, or is just now.
LOST = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
THREADS = 16


class BucketStore:
    """Events as `ledger/00000001.json`, `ledger/00000002.json`, …

    The bucket is made, private and encrypted, when the first event comes, and its settings are seen to once a process.

    Args:
        clients: of the account that owns the bucket.
        bucket: its name.
        project: becomes its tag.
    """

    def __init__(self, clients: Clients, bucket: str, project: str) -> None:
        self._clients, self.bucket, self._project = clients, bucket, project
        self._ready = False
        # Events never change: what was read once need not be fetched again.
        self._read: dict[str, Event] = {}

    def read(self) -> list[Event]:
        """Return all events in the order of their numbers; none where there is no bucket yet."""
        names = self._names()
        missing = [name for name in names if name not in self._read]
        if missing:
            with ThreadPoolExecutor(THREADS) as pool:
                self._read.update(zip(missing, pool.map(self._fetch, missing), strict=True))
        events = [self._read[name] for name in names]
        for number, event in enumerate(events, start=1):
            if event.number != number:
                raise Fault(f"event {number} is missing from s3://{self.bucket}/{PREFIX}: the ledger cannot be trusted")
        return events

    def append(self, event: Event) -> None:
        """Keep an event.

        Raises:
            Taken: there is an event of this number.
        """
        self._prepare()
        follows(event, len(self._names()))
        key = f"{PREFIX}{event.number:08d}.json"
        try:
            with asking(f"writing s3://{self.bucket}/{key}"):
                self._clients.s3().put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=encode(event).encode(),
                    ContentType="application/json",
                    IfNoneMatch="*",
                )
        except CloudFault as fault:
            if code_of(fault) not in LOST:
                raise
            # An answer that was lost on its way makes botocore ask again, and then it was ourselves who were first.
            if self._fetch(key) != event:
                raise Taken(f"event {event.number} is there already") from fault

    def _names(self) -> list[str]:
        """The keys of all events; S3 tells of a thousand at a time, sorted."""
        try:
            with asking(f"listing s3://{self.bucket}/{PREFIX}"):
                pages = (
                    self._clients.s3()
                    .get_paginator("list_objects_v2")
                    .paginate(Bucket=self.bucket, Prefix=PREFIX, PaginationConfig={"PageSize": PAGE})
                )
                return sorted(found["Key"] for page in pages for found in page.get("Contents", []))
        except NotThere:
            return []

    def _fetch(self, key: str) -> Event:
        with asking(f"reading s3://{self.bucket}/{key}"):
            body = self._clients.s3().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return decode(body.decode(errors="replace"))

    def _prepare(self) -> None:
        """Make the bucket if there is none; nobody but its owner may read it, whatever else is set in the account."""
        if self._ready:
            return
        # One of our own name may have been made by an attempt that was killed before it was closed to others.
        if not self._is_there() or self.bucket.startswith(OURS):
            self._create()
            self._close_to_others()
        self._ready = True

    def _is_there(self) -> bool:
        try:
            with asking(f"looking for the bucket {self.bucket}"):
                self._clients.s3().list_objects_v2(Bucket=self.bucket, Prefix=PREFIX, MaxKeys=1)
        except NotThere:
            return False
        except Denied as fault:
            if code_of(fault) in RIGHTS:
                raise Refused(f"cloud.aws.bucket: `{self.bucket}` belongs to somebody else; name another") from fault
            raise
        return True

    def _create(self) -> None:
        region = self._clients.region
        where: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            with asking(f"creating the bucket {self.bucket}"):
                self._clients.s3().create_bucket(Bucket=self.bucket, **where)
        except CloudFault as fault:
            if code_of(fault) in ("BucketAlreadyExists", "InvalidBucketName"):
                raise Refused(f"cloud.aws.bucket: S3 will not make `{self.bucket}`, it is taken or no name") from fault
            if code_of(fault) not in ("BucketAlreadyOwnedByYou", "OperationAborted"):
                raise

    def _close_to_others(self) -> None:
        s3 = self._clients.s3()
        closed = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        encrypted: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        with asking(f"closing the bucket {self.bucket} to others"):
            s3.put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=closed)  # type: ignore[arg-type]
            s3.put_bucket_encryption(Bucket=self.bucket, ServerSideEncryptionConfiguration=encrypted)
            # An event that is deleted by mistake can be brought back.
            s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
            s3.put_bucket_tagging(Bucket=self.bucket, Tagging={"TagSet": tag_list({PROJECT: self._project})})
