"""What Google Cloud answers, as our faults: the one place that knows its error codes.

    CloudFault                  anything that has no row below
      Denied                    the credentials are missing or expired or may not do it, or the project is not ready
      NotThere                  404
      NoCapacity                ZONE_RESOURCE_POOL_EXHAUSTED and its kin
      Throttled                 still too many requests after pauses

Before anything costs money the methods of the provider stand `at_the_door`: there `Denied` becomes `Refused`.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httplib2  # type: ignore[import-untyped]
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from googleapiclient.errors import Error, HttpError  # type: ignore[import-untyped]

from infra.faults import CloudFault, NoCapacity, NotThere, Refused, Throttled

LOGIN = "`gcloud auth application-default login`"
MISSING = (
    f"there are no Google credentials: run {LOGIN}, or have GOOGLE_APPLICATION_CREDENTIALS name a service account's "
    "key file; docs/cloud.md tells how to get some"
)
EXPIRED = f"the Google credentials have expired or been revoked: run {LOGIN} and try again"
APIS = "compute iam cloudresourcemanager storage cloudbilling"
CAPACITY = re.compile(r"RESOURCE_POOL_EXHAUSTED|STOCKOUT|does not have enough resources available", re.IGNORECASE)
THROTTLED = {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
DISABLED = {"accessNotConfigured", "SERVICE_DISABLED"}
UNPAID = {"BILLING_DISABLED", "billingDisabled", "billingNotEnabled", "accountDisabled"}
OFFLINE = (TransportError, httplib2.HttpLib2Error, OSError)


class Denied(CloudFault):
    """The credentials are missing, expired, or have no right to do what was asked."""


class Conflict(CloudFault):
    """It exists already, or was changed by somebody else in between."""


class Unready(CloudFault):
    """A request that Google takes for wrong, as when it names what was created a moment ago and is not known yet."""


def translate(error: Exception, doing: str) -> CloudFault:
    """Say in one sentence what Google answered while we were `doing` it."""
    if isinstance(error, HttpError):
        return _answered(error, doing)
    if isinstance(error, DefaultCredentialsError):
        return Denied(MISSING if "not found" in str(error) else f"{MISSING} ({_line(error)})")
    if isinstance(error, RefreshError) and not error.retryable:
        return Denied(EXPIRED)
    if isinstance(error, OFFLINE):
        return CloudFault(f"{doing}: Google cannot be reached; is this machine on-line? ({_line(error)})")
    return CloudFault(f"{doing}: {_line(error)}")


def _answered(error: HttpError, doing: str) -> CloudFault:
    status, reasons, said = int(error.resp.status), *_read(error.content)
    if status == 401:
        return Denied(EXPIRED)
    if reasons & THROTTLED or status == 429:
        return Throttled(f"{doing}: Google asks to slow down: {said}")
    if reasons & DISABLED:
        names = " ".join(f"{name}.googleapis.com" for name in APIS.split())
        return Denied(f"{doing}: the project does not use that service yet: run `gcloud services enable {names}`")
    if reasons & UNPAID:
        return Denied(f"{doing}: the project has no billing account: https://console.cloud.google.com/billing ({said})")
    if status == 403:
        return Denied(f"{doing}: these credentials may not do that; docs/cloud.md lists what they need ({said})")
    if CAPACITY.search(f"{said} {' '.join(reasons)}"):
        return NoCapacity(f"{doing}: Google has none to give just now: {said}")
    kinds = {404: NotThere, 409: Conflict, 412: Conflict, 400: Unready}
    return kinds.get(status, CloudFault)(f"{doing}: Google answers {status}: {said}")


def _read(content: bytes) -> tuple[set[str], str]:
    """The reasons that an answer gives, for machines, and its message, for people."""
    try:
        error: Any = json.loads(content)["error"]
        details = [*error.get("errors", []), *error.get("details", [])]
        reasons = {str(detail["reason"]) for detail in details if "reason" in detail} | {str(error.get("status", ""))}
        return reasons, " ".join(str(error.get("message", "")).split())[:300] or "nothing more"
    except (ValueError, KeyError, TypeError, AttributeError):
        return set(), "nothing that can be read"


def failed(operation: dict[str, Any], doing: str) -> CloudFault | None:
    """What went wrong with something that Google had begun; None if nothing did."""
    errors = operation.get("error", {}).get("errors", [])
    if not errors:
        return None
    said = "; ".join(f"{error.get('code')}: {error.get('message')}" for error in errors)
    code = str(errors[0].get("code"))
    kind = NoCapacity if CAPACITY.search(said) else NotThere if code == "RESOURCE_NOT_FOUND" else CloudFault
    return kind(f"{doing}: {said[:300]}")


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Turn what Google's libraries raise into a fault that begins with what we were doing."""
    try:
        yield
    except (Error, GoogleAuthError, httplib2.HttpLib2Error, OSError) as error:
        raise translate(error, doing) from error


@contextmanager
def at_the_door() -> Iterator[None]:
    """Nothing has begun: whoever has no right to go on is refused."""
    try:
        yield
    except Denied as error:
        raise Refused(str(error)) from error


def absent_is_fine(call: Callable[[], object]) -> None:
    """Delete something; that it is not there is what was wanted."""
    try:
        call()
    except NotThere:
        return


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
