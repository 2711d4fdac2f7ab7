"""The project's bucket at Amazon, in which the ledger is."""

from typing import Any

from infra.aws.clients import Clients
from infra.aws.errors import RIGHTS, Denied, asking, code_of
from infra.aws.names import tag_list
from infra.cluster import PROJECT
from infra.faults import CloudFault, NotThere, Refused
from infra.ledger_bucket import PREFIX

# Keys per answer; S3 gives no more.
PAGE = 1000
# How the names of the buckets that we make begin, where none is configured.
OURS = "fifty-"
# Another writer was there first, or is just now.
LOST = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


class Bucket:
    """A bucket: private, encrypted, versioned; see `infra.ledger_bucket.Bucket`.

    Args:
        clients: of the account that owns it.
        name: its name.
        project: becomes its tag.
    """

    def __init__(self, clients: Clients, name: str, project: str) -> None:
        self._clients, self.name, self._project = clients, name, project

    @property
    def address(self) -> str:
        """As people write it."""
        return f"s3://{self.name}"

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects that begin so; S3 tells of a thousand at a time, sorted."""
        try:
            with asking(f"listing {self.address}/{prefix}"):
                pages = (
                    self._clients.s3()
                    .get_paginator("list_objects_v2")
                    .paginate(Bucket=self.name, Prefix=prefix, PaginationConfig={"PageSize": PAGE})
                )
                return sorted(found["Key"] for page in pages for found in page.get("Contents", []))
        except NotThere:
            return []

    def read(self, key: str) -> bytes:
        """Return an object."""
        with asking(f"reading {self.address}/{key}"):
            return self._clients.s3().get_object(Bucket=self.name, Key=key)["Body"].read()

    def create(self, key: str, content: bytes) -> bool:
        """Write an object if there is none of this key; return whether there was none."""
        try:
            with asking(f"writing {self.address}/{key}"):
                self._clients.s3().put_object(
                    Bucket=self.name, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*"
                )
        except CloudFault as fault:
            if code_of(fault) not in LOST:
                raise
            return False
        return True

    def prepare(self) -> None:
        """Make the bucket if there is none; nobody but its owner may read it, whatever else is set in the account."""
        # One of our own name may have been made by an attempt that was killed before it was closed to others.
        if not self._is_there() or self.name.startswith(OURS):
            self._create()
            self._close_to_others()

    def _is_there(self) -> bool:
        try:
            with asking(f"looking for the bucket {self.name}"):
                self._clients.s3().list_objects_v2(Bucket=self.name, Prefix=PREFIX, MaxKeys=1)
        except NotThere:
            return False
        except Denied as fault:
            if code_of(fault) in RIGHTS:
                raise Refused(f"cloud.aws.bucket: `{self.name}` belongs to somebody else; name another") from fault
            raise
        return True

    def _create(self) -> None:
        region = self._clients.region
        where: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            with asking(f"creating the bucket {self.name}"):
                self._clients.s3().create_bucket(Bucket=self.name, **where)
        except CloudFault as fault:
            if code_of(fault) in ("BucketAlreadyExists", "InvalidBucketName"):
                raise Refused(f"cloud.aws.bucket: S3 will not make `{self.name}`, it is taken or no name") from fault
            if code_of(fault) not in ("BucketAlreadyOwnedByYou", "OperationAborted"):
                raise

    def _close_to_others(self) -> None:
        s3 = self._clients.s3()
        closed = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        encrypted: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        with asking(f"closing the bucket {self.name} to others"):
            s3.put_public_access_block(Bucket=self.name, PublicAccessBlockConfiguration=closed)  # type: ignore[arg-type]
            s3.put_bucket_encryption(Bucket=self.name, ServerSideEncryptionConfiguration=encrypted)
            # An event that is deleted by mistake can be brought back.
            s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
            s3.put_bucket_tagging(Bucket=self.name, Tagging={"TagSet": tag_list({PROJECT: self._project})})
