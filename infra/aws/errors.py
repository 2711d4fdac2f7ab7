"""What AWS answers, as our faults: the one place that knows botocore's exceptions and AWS's error codes.

    CloudFault                  anything that has no row below
      Denied                    the credentials are missing, expired or wrong, or have no right to do it
      NotThere                  …NotFound, NoSuch…
      NoCapacity                InsufficientInstanceCapacity and its kin
      Throttled                 still too many requests after botocore's own retries with backoff

Before anything costs money the methods of the provider stand `at_the_door`: there `Denied` becomes `Refused`.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from infra.faults import CloudFault, NoCapacity, NotThere, Refused, Throttled

T = TypeVar("T")


class Denied(CloudFault):
    """The credentials are missing, expired or wrong, or have no right to do what was asked."""


MISSING = (
    "there are no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; docs/cloud.md tells how to get some"
)
EXPIRED = "the AWS credentials have expired: run `aws sso login`, or fetch new ones, and try again"
WRONG = "AWS does not know these credentials: see that AWS_ACCESS_KEY_ID, or the profile, is a key that still exists"
SECRET = "AWS_SECRET_ACCESS_KEY does not belong to the access key, or this machine's clock is wrong"  # noqa: S105

# What the error code says of the credentials, whichever service it comes from.
CREDENTIALS = {
    "ExpiredToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "RequestExpired": EXPIRED,
    "AuthFailure": WRONG,
    "InvalidClientTokenId": WRONG,
    "InvalidAccessKeyId": WRONG,
    "UnrecognizedClientException": WRONG,
    "InvalidToken": WRONG,
    "MissingAuthenticationToken": MISSING,
    "IncompleteSignature": SECRET,
    "InvalidSignatureException": SECRET,
    "SignatureDoesNotMatch": SECRET,
    "OptInRequired": "this AWS account is not signed up for the service or region yet: finish that in the console",
    "PendingVerification": "AWS is still verifying this account; that takes minutes, seldom up to four hours",
    "Blocked": "this AWS account is blocked: see its e-mail and https://console.aws.amazon.com/support",
}
RIGHTS = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "AuthorizationError"}
CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "SpotMaxPriceTooLow",
    "MaxSpotInstanceCountExceeded",
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
    "Unsupported",
}
THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "RequestThrottled",
    "SlowDown",
}
ABSENT = re.compile(r"NotFound|NoSuch|DoesNotExist|Unknown(Parameter|Volume)")
ALREADY = re.compile(r"Already|Duplicate|Exists|Conflict")


def code_of(error: BaseException | None) -> str:
    """The error code that AWS answered, or that stands behind a fault of ours; empty if there is none."""
    while error is not None and not isinstance(error, ClientError):
        error = error.__cause__
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def translate(error: BotoCoreError | ClientError, doing: str) -> CloudFault:
    """Say in one sentence what AWS answered while we were `doing` it."""
    if not isinstance(error, ClientError):
        return _offline(error, doing)
    code = code_of(error)
    said = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:300] or "nothing more"
    if code in CREDENTIALS:
        return Denied(CREDENTIALS[code])
    if code in RIGHTS or code.startswith("UnauthorizedOperation"):
        return Denied(
            f"{doing}: these credentials may not do that; infra/policies/launcher.json lists what they need ({said})"
        )
    kind = (
        NoCapacity
        if code in CAPACITY
        else Throttled
        if code in THROTTLED
        else NotThere
        if ABSENT.search(code)
        else CloudFault
    )
    return kind(f"{doing}: AWS answers {code}: {said}")


def _offline(error: BotoCoreError, doing: str) -> CloudFault:
    """Errors of botocore itself: no answer, or no credentials to ask with."""
    if isinstance(error, boto.ProfileNotFound):
        return Denied(f"AWS_PROFILE names a profile that ~/.aws/config does not have ({error})")
    if isinstance(error, boto.PartialCredentialsError):
        return Denied(f"half of the AWS credentials is missing ({error}); run `aws configure`")
    if isinstance(error, boto.NoCredentialsError):
        return Denied(MISSING)
    if isinstance(error, (boto.SSOError, boto.CredentialRetrievalError)):
        return Denied(f"{EXPIRED} ({error})")
    if isinstance(error, (boto.HTTPClientError, boto.ConnectionError)):
        return CloudFault(f"{doing}: AWS cannot be reached; is this machine on-line? ({error})")
    return CloudFault(f"{doing}: {' '.join(str(error).split())}")


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Turn what botocore raises into a fault that begins with what we were doing."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, doing) from error
    except ResponseParserError as error:  # a page of a proxy's, say; botocore does not count it among its own
        raise CloudFault(
            f"{doing}: what came back is no answer of AWS's ({' '.join(str(error).split())[:120]})"
        ) from error


@contextmanager
def at_the_door() -> Iterator[None]:
    """Nothing has begun: whoever has no right to go on is refused."""
    try:
        yield
    except Denied as error:
        raise Refused(str(error)) from error


def absent_is_fine(doing: str, call: Callable[[], object]) -> None:
    """Delete something; that it is not there is what was wanted."""
    try:
        with asking(doing):
            call()
    except NotThere:
        return


def once_known(doing: str, call: Callable[[], T], *, tries: int = 7, pause: Callable[[float], None] = time.sleep) -> T:
    """Do something with what was created a moment ago: AWS may take some seconds to know of it everywhere."""
    for attempt in range(tries):
        try:
            with asking(doing):
                return call()
        except CloudFault as fault:
            unknown = (
                isinstance(fault, NotThere) or "assume the role" in str(fault) or "Invalid principal" in str(fault)
            )
            if not unknown or attempt == tries - 1:
                raise
            pause(min(0.25 * 2**attempt, 8.0))
    raise AssertionError("unreachable")
