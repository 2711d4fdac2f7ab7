"""The answers of an AWS in trouble, as boto3 expects them."""

import json
import re
from typing import Any
from xml.etree import ElementTree

# https status that AWS sends with a code; what is not here has 400
_STATUS = {"InsufficientInstanceCapacity": 500, "RequestLimitExceeded": 503, "InternalError": 500, "Unavailable": 503}
_SAYS = {
    "InsufficientInstanceCapacity": "We currently do not have sufficient capacity in the Availability Zone.",
    "RequestLimitExceeded": "Request limit exceeded.",
}


def refusal(code: str, headers: Any) -> tuple[int, bytes]:
    """Return status and body of a refusal, in the language of the service that was asked."""
    status, says = _STATUS.get(code, 400), _SAYS.get(code, f"Pretended: {code}")
    if headers.get("X-Amz-Target"):
        return status, json.dumps({"__type": code, "message": says}).encode()
    error = f"<Error><Code>{code}</Code><Message>{says}</Message></Error>"
    if "/ec2/" in headers.get("Authorization", ""):
        return status, f"<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>".encode()
    return status, f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>".encode()


def not_found(machine: str) -> tuple[int, bytes]:
    """Return what EC2 says of a machine that it has launched and does not know yet."""
    error = f"<Code>InvalidInstanceID.NotFound</Code><Message>The instance ID '{machine}' does not exist</Message>"
    return 400, f"<Response><Errors><Error>{error}</Error></Errors><RequestID>0</RequestID></Response>".encode()


def hide(answer: bytes, machines: set[str]) -> bytes:
    """Take machines out of an answer to DescribeInstances."""
    root = ElementTree.fromstring(answer)  # noqa: S314
    space = (re.match(r"\{.*\}", root.tag) or [""])[0]
    for reservations in root.iter(f"{space}reservationSet"):
        for reservation in list(reservations):
            for instances in reservation.iter(f"{space}instancesSet"):
                for one in [i for i in instances if i.findtext(f"{space}instanceId") in machines]:
                    instances.remove(one)
            if not list(reservation.iter(f"{space}instanceId")):
                reservations.remove(reservation)
    if space:
        ElementTree.register_namespace("", space[1:-1])
    return ElementTree.tostring(root)
