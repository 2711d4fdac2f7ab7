"""Our signer gives what botocore's own gives, whatever is signed."""

from datetime import UTC, datetime

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from infra.node.sigv4 import signed

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789+/=", min_size=1, max_size=40)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@given(
    body=st.binary(max_size=200),
    headers=st.dictionaries(st.sampled_from(["content-type", "X-Amz-Target", "x-amz-meta"]), VALUE),
    service=st.sampled_from(["ssm", "ec2"]),
    key=WORD,
    secret=WORD,
    token=st.just("") | WORD,
    now=st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1)),
)
def test_it_signs_as_botocore_does(
    body: bytes, headers: dict[str, str], service: str, key: str, secret: str, token: str, now: datetime
) -> None:
    url = f"https://{service}.eu-west-1.amazonaws.com"
    ours = signed(url, body, headers, service, "eu-west-1", (key, secret, token), now.replace(tzinfo=UTC))
    request = AWSRequest("POST", f"{url}/", headers={k: v for k, v in ours.items() if k != "authorization"}, data=body)
    request.context["timestamp"] = ours["x-amz-date"]
    signer = SigV4Auth(Credentials(key, secret, token or None), service, "eu-west-1")
    theirs = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert ours["authorization"].endswith(f"Signature={theirs}")
    assert ours["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={key}/{now:%Y%m%d}/eu-west-1/{service}/")
