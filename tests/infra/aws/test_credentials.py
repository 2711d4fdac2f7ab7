"""Whose credentials these are, and what is said of those that will not do; what AWS answers, as our faults."""

from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.parsers import ResponseParserError

from infra.aws import Aws, errors
from infra.cluster import Run
from infra.faults import CloudFault, NoCapacity, NotThere, Refused, Throttled
from tests.infra.aws.conftest import answering

Fresh = Callable[..., Aws]


def test_whoami(aws: Aws) -> None:
    identity = aws.whoami()
    assert identity.account == "123456789012"
    assert identity.owner


@pytest.mark.parametrize(
    ("arn", "owner"),
    [
        ("arn:aws:iam::1:user/team/Alice.B", "alice-b"),
        ("arn:aws:sts::1:assumed-role/Admin/alice@example.com", "alice-example-com"),
        ("arn:aws:iam::1:root", "root"),
        ("arn:aws:iam::1:user/...", "nobody"),
    ],
)
def test_the_owner_is_a_tag(arn: str, owner: str) -> None:
    from infra.aws import _owner

    assert _owner(arn) == owner


def test_without_credentials(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(Refused, match="there are no AWS credentials: run `aws configure`"):
        fresh().whoami()


def test_with_half_of_the_credentials(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Refused, match="half of the AWS credentials is missing"):
        fresh().whoami()


def test_with_a_profile_that_is_not_there(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Refused, match=r"AWS_PROFILE names a profile.*nobody"):
        fresh().whoami()


def test_with_a_login_that_has_run_out(fresh: Fresh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        "[default]\nsso_start_url = https://example.com/start\nsso_region = us-east-1\n"
        "sso_account_id = 1\nsso_role_name = a\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Refused, match="have expired: run `aws sso login`"):
        fresh().whoami()


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("ExpiredToken", "credentials have expired"),
        ("InvalidClientTokenId", "does not know these credentials"),
        ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY does not belong"),
        ("AccessDenied", "may not do that"),
    ],
)
def test_credentials_that_aws_refuses(fresh: Fresh, code: str, match: str) -> None:
    aws = fresh()
    with (
        answering(aws.clients.sts(), "GetCallerIdentity", code, status=403),
        pytest.raises(Refused, match=match) as told,
    ):
        aws.whoami()
    assert "\n" not in str(told.value)


def test_when_aws_cannot_be_reached(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    aws = fresh()
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with pytest.raises(CloudFault, match="AWS cannot be reached") as told:
        aws.whoami()
    assert not isinstance(told.value, Refused)


@pytest.mark.parametrize("region", ["us-eest-1", "moon"])
def test_a_region_that_is_none(fresh: Fresh, region: str) -> None:
    with pytest.raises(Refused, match=rf"cloud\.aws\.region: `{region}` is no region of AWS"):
        fresh(region).whoami()
    if region == "us-eest-1":
        with pytest.raises(Refused, match="us-east-1"):
            fresh(region).whoami()


def test_throttled_requests_are_sent_again(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", waits.append)
    with answering(aws.clients.ec2(), "DescribeVpcs", "RequestLimitExceeded", status=503, times=3) as asked:
        aws.clients.ec2().describe_vpcs()
    assert len(asked) == 4
    assert len(waits) == 3
    with (
        answering(aws.clients.ec2(), "DescribeVpcs", "RequestLimitExceeded", status=503, times=99),
        pytest.raises(Throttled, match="RequestLimitExceeded"),
        errors.asking("looking"),
    ):
        aws.clients.ec2().describe_vpcs()


def test_what_is_not_known_yet_is_asked_for_again(aws: Aws, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    group = next(step for step in aws.steps(run, "") if step.name == "group")
    monkeypatch.setattr(errors.once_known, "__kwdefaults__", {"tries": 7, "pause": waits.append})
    with answering(aws.clients.ec2(), "AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound", times=3):
        group.ensure()
    assert waits == [0.25, 0.5, 1.0]
    with pytest.raises(NotThere):
        errors.once_known("asking", lambda: aws.clients.ec2().describe_instances(InstanceIds=["i-0123456789abcdef0"]))
    assert len(waits) == 3 + 6


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InsufficientInstanceCapacity", NoCapacity),
        ("InvalidGroup.NotFound", NotThere),
        ("NoSuchEntity", NotThere),
        ("ParameterNotFound", NotThere),
        ("Throttling", Throttled),
        ("DependencyViolation", CloudFault),
        ("UnauthorizedOperation", errors.Denied),
    ],
)
def test_codes_have_their_faults(code: str, kind: type[CloudFault]) -> None:
    from botocore.exceptions import ClientError

    error = ClientError({"Error": {"Code": code, "Message": "so\n it is"}}, "Anything")
    fault = errors.translate(error, "doing it")
    assert type(fault) is kind
    assert "\n" not in str(fault)


def test_a_page_in_the_place_of_an_answer_is_one_sentence() -> None:
    """As a captive portal or a proxy sends it."""
    sentence = "listing machines: what came back is no answer of AWS's"
    with pytest.raises(CloudFault, match=sentence), errors.asking("listing machines"):
        raise ResponseParserError("Unable to parse response (mismatched tag), invalid XML received:\n<html>")
