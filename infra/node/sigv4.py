"""Signs a request to AWS as it demands (Signature Version 4), with nothing but the standard library."""

from __future__ import annotations  # for Python 3.9

import hashlib
import hmac
from datetime import datetime
from urllib.parse import urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


def signed(
    url: str,
    body: bytes,
    headers: dict[str, str],
    service: str,
    region: str,
    credentials: tuple[str, str, str],
    now: datetime,
) -> dict[str, str]:
    """Return the headers of a POST to the root of `url`, with the signature among them.

    Args:
        url: scheme and host; the path is `/` and there is no query.
        body: as it is sent.
        headers: those that the request has besides.
        service: as `ssm`.
        region: as `us-east-1`.
        credentials: key id, secret and session token, which may be empty.
        now: aware, in UTC.
    """
    key_id, secret, token = credentials
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    sent = {**{k.lower(): v for k, v in headers.items()}, "host": urlsplit(url).netloc, "x-amz-date": stamp}
    if token:
        sent["x-amz-security-token"] = token
    names = ";".join(sorted(sent))
    canonical = "\n".join(
        [
            "POST",
            "/",
            "",
            *(f"{k}:{sent[k].strip()}" for k in sorted(sent)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    sent["authorization"] = f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return sent
