"""Kinds of machines, and images for them."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.aws import Aws, machines
from infra.faults import Refused
from tests.infra.aws import double as doubles
from tests.infra.aws.conftest import GPU, SMALL, Build

Fresh = Callable[..., Aws]


def test_machines_are_looked_up(aws: Aws) -> None:
    found = aws.machine("g4dn.xlarge")
    assert (found.cores, found.memory_gb, found.gpu, found.gpus, found.gpu_memory_gb) == (4, 16.0, "T4", 1, 16.0)
    assert aws.machine("m5.large") == SMALL


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("g4dn.xlrage", r"no instance type `g4dn\.xlrage` in us-east-1; it has .*g4dn\.xlarge"),
        ("t4g.large", "its processor is arm64"),
        ("", "no instance type"),
    ],
)
def test_machines_that_will_not_do(aws: Aws, name: str, match: str) -> None:
    with pytest.raises(Refused, match=match):
        aws.machine(name)


@pytest.mark.parametrize(
    ("gpu", "match"),
    [
        ({"Name": "Radeon Pro V520", "Manufacturer": "AMD", "Count": 1}, "its GPU is AMD's"),
        ({"Name": "K80", "Manufacturer": "NVIDIA", "Count": 1}, "as old as K80"),
        ({"Name": "L4", "Manufacturer": "NVIDIA", "Count": 0}, "a part of a GPU"),
        ({"Name": "T4", "Manufacturer": "NVIDIA", "Count": 4}, ""),
    ],
)
def test_gpus_that_will_not_do(gpu: dict[str, Any], match: str) -> None:
    assert match in machines.unfit({"GpuInfo": {"Gpus": [gpu]}})
    assert bool(match) == bool(machines.unfit({"GpuInfo": {"Gpus": [gpu]}}))


def test_a_region_without_the_machine(build: Build) -> None:
    lacking = build("ap-southeast-3")
    with pytest.raises(Refused, match=r"`p4d\.24xlarge` is not to be had in ap-southeast-3, though it is in us-east-1"):
        lacking.machine("p4d.24xlarge")


def test_images_are_looked_up(aws: Aws) -> None:
    assert aws.image(GPU) == doubles.GPU_IMAGE
    assert aws.image(SMALL) == doubles.PLAIN_IMAGE


def test_an_image_is_taken_from_amazons_parameter(aws: Aws) -> None:
    # moto has the parameters of Amazon's own Linux alone.
    from infra.aws import images

    linux = images.Published("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", "amazon", "-")
    name = linux.parameter
    value = aws.clients.ssm().get_parameter(Name=name)["Parameter"]["Value"]
    assert value.startswith("ami-")
    assert images.published(aws.clients, linux) == value


def test_a_region_without_an_image(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    from infra.aws import images

    monkeypatch.setattr(images, "GPU", images.Published("/aws/service/none", "amazon", "None *"))
    with pytest.raises(Refused, match=r"us-east-1 has no image `None \*`"):
        aws.image(GPU)


def test_of_many_machines_those_are_known_that_will_do(aws: Aws) -> None:
    found = machines.known(aws.clients, ["g4dn.xlarge", "t4g.large", "m5.large", "no.such"])
    assert {machine.name for machine in found} == {"g4dn.xlarge", "m5.large"}
