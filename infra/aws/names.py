"""What our things are called in AWS, and how they bear our tags."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from infra.cluster import CLUSTER, DEADLINE, OWNER, PROJECT, RUN, Run
from infra.faults import Refused

# IAM's own folder: all roles and profiles of a project are listed, and allowed, by it.
IAM_PATH = "/fifty/{project}/"
TAG_VALUE = re.compile(r"^[a-z0-9_-]{0,63}$")
ROLE_NAME_MOST = 64


def base(project: str, cluster: str) -> str:
    """The name of the key pair, the security group and the schedule group, and how every role's name begins."""
    return f"{project}-{cluster}"


def role(project: str, cluster: str, part: str) -> str:
    """The name of a role and of the instance profile that holds it; `part` is head, worker or schedule."""
    return f"{base(project, cluster)}-{part}"


def parameter(project: str, cluster: str) -> str:
    """Where the nodes read their deadline."""
    return f"/fifty/{project}/{cluster}/deadline"


def bucket(configured: str, project: str, account: str) -> str:
    """The bucket that keeps the ledger; an account's number makes the name unique in the world."""
    return f"fifty-{project}-{account}" if configured == "auto" else configured


def tag_list(tags: Mapping[str, str], name: str = "") -> list[Any]:
    """Tags as most of AWS's services write them; `name` is shown by the console."""
    return [{"Key": key, "Value": value} for key, value in {**tags, **({"Name": name} if name else {})}.items()]


def tag_dict(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """The other way round."""
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


def moment(seconds: str | None) -> datetime | None:
    """A deadline as tags and the parameter have it, seconds since 1970; None if it is none."""
    try:
        return datetime.fromtimestamp(int(seconds or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def check_names(run: Run, configured_bucket: str) -> None:
    """See that AWS takes every name and tag.

    Raises:
        Refused: it would not; says which and why.
    """
    name = base(run.project, run.cluster)
    if name.startswith("sg-"):
        raise Refused(f"cloud.project: AWS takes no security group whose name begins with `sg-`, as `{name}` does")
    if len(role(run.project, run.cluster, "schedule")) > ROLE_NAME_MOST:
        raise Refused(f"cloud.project and cloud.cluster: `{name}` is too long for the name of a role in AWS")
    for key, value in run.tags().items():
        if not TAG_VALUE.match(value):
            where = {
                PROJECT: "cloud.project",
                CLUSTER: "cloud.cluster",
                RUN: "run",
                DEADLINE: "deadline",
                OWNER: "owner",
            }
            raise Refused(
                f"{where[key]}: `{value}` will not do as a tag: lower-case letters, digits, - and _, at most 63"
            )
    if configured_bucket != "auto" and not bucket_name(configured_bucket):
        raise Refused(
            f"cloud.aws.bucket: S3 takes no bucket `{configured_bucket}`: 3 to 63 lower-case letters, digits and -"
        )


def bucket_name(name: str) -> bool:
    """Whether S3 takes it; names with dots it would, too, but not with a certificate that matches."""
    return bool(re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name)) and not name.startswith(("xn--", "sthree-"))
