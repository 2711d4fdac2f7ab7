"""The visible table of clouds: to add one, write its package, its Ray yaml and a row here."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from infra.activity import ask
from infra.cluster import Node
from infra.context import nothing_known
from infra.faults import Refused
from infra.launcher import Launch, RayUp
from infra.provider import Provider
from infra.record import Record
from infra.settings import CloudConfig


def _ray_up(_: Provider) -> Launch:
    return RayUp()


@dataclass(frozen=True)
class Cloud:
    """One row.

    Attributes:
        build: the provider; it imports the cloud's client, which takes long, and asks the cloud nothing.
        region: where the settings would have machines launched.
        moved: the same settings with another region.
        launcher: what launches its clusters.
        sleep: waits for the cloud so many seconds.
        activity: asks a head what its cluster does.
    """

    build: Callable[[CloudConfig], Provider]
    region: Callable[[CloudConfig], str]
    moved: Callable[[CloudConfig, str], CloudConfig]
    launcher: Callable[[Provider], Launch] = _ray_up
    sleep: Callable[[float], None] = time.sleep
    activity: Callable[[Record, Node], str] = ask


def _aws(settings: CloudConfig) -> Provider:
    from infra.aws import Aws

    return Aws(settings)


def _gcp(settings: CloudConfig) -> Provider:
    from infra.gcp import Gcp

    return Gcp(settings)


def _fake(settings: CloudConfig) -> Provider:
    from infra import record
    from infra.fake import Fake

    return Fake(settings, record.folder().parent / "fake-cloud.json")


def _fake_launch(provider: Provider) -> Launch:
    from infra.fake import Fake
    from infra.fake_launch import FakeUp

    assert isinstance(provider, Fake)  # noqa: S101 - its own row's
    return FakeUp(provider)


def _aws_region(settings: CloudConfig, region: str) -> CloudConfig:
    return settings.model_copy(update={"aws": settings.aws.model_copy(update={"region": region})})


def _gcp_zone(settings: CloudConfig, zone: str) -> CloudConfig:
    return settings.model_copy(update={"gcp": settings.gcp.model_copy(update={"zone": zone})})


PROVIDERS: dict[str, Cloud] = {
    "aws": Cloud(_aws, lambda settings: settings.aws.region, _aws_region),
    "gcp": Cloud(_gcp, lambda settings: settings.gcp.zone, _gcp_zone),
    # In a file: to see what the commands do without an account.
    "fake": Cloud(
        _fake,
        region=lambda _: "nowhere",
        moved=lambda settings, _: settings,
        launcher=_fake_launch,
        sleep=lambda _: None,
        activity=nothing_known,
    ),
}


def cloud(name: str) -> Cloud:
    """Look up a row.

    Raises:
        Refused: there is none of that name.
    """
    if name not in PROVIDERS:
        raise Refused(f"there is no cloud {name!r}; there are {', '.join(PROVIDERS)}")
    return PROVIDERS[name]


def build(name: str, settings: CloudConfig) -> Provider:
    """Return the provider of that name."""
    return cloud(name).build(settings)
