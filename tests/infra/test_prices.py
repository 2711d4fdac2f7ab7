"""The table of prices: dated, whole, and honest about where it is from."""

import math
import re

import pytest

from infra.faults import Refused
from infra.prices import FOLDER, find, machine, offers, region_of, regions
from infra.settings import AwsConfig, GcpConfig

PLACES = [(cloud, region) for cloud in ("aws", "gcp") for region in regions(cloud)]


@pytest.mark.parametrize(("cloud", "region"), PLACES)
def test_every_region_has_machines_with_and_without_a_gpu(cloud: str, region: str) -> None:
    found, rates, source = offers(cloud, region)
    assert {bool(offer.machine.gpus) for offer in found} == {True, False}
    assert len({offer.machine.name for offer in found}) == len(found)
    assert all(0 < value < 1 for value in (rates.disk_gb_month, rates.address_hour, rates.storage_gb_month))
    assert re.search(r"as remembered on \d{4}-\d\d-\d\d; check against the cloud", source)
    for offer in found:
        kind = offer.machine
        assert kind.cores >= 2
        assert kind.memory_gb >= kind.cores
        assert bool(kind.gpu) == bool(kind.gpus) == bool(kind.gpu_memory_gb)
        assert math.isfinite(offer.on_demand)
        assert offer.spot is not None
        assert 0.1 * offer.on_demand < offer.spot < 0.8 * offer.on_demand
        assert 0.005 < offer.on_demand / kind.cores < 3


@pytest.mark.parametrize(("cloud", "place"), [("aws", AwsConfig().region), ("gcp", GcpConfig().zone)])
def test_the_default_places_are_in_the_table(cloud: str, place: str) -> None:
    assert {offer.region for offer in offers(cloud, place)[0]} == {place}


@pytest.mark.parametrize("file", ["prices.csv", "rates.csv"])
def test_the_files_say_that_nobody_looked(file: str) -> None:
    head = (FOLDER / file).read_text(encoding="utf-8")
    assert head.startswith("# List prices as remembered")
    assert "without a look" in head


def test_a_few_prices_that_everybody_knows() -> None:
    here = {offer.machine.name: offer.on_demand for offer in offers("aws", "us-east-1")[0]}
    assert (here["g4dn.xlarge"], here["g5.xlarge"], here["m5.large"]) == (0.526, 1.006, 0.096)
    there = {offer.machine.name: offer.on_demand for offer in offers("gcp", "us-central1-a")[0]}
    assert there["n1-standard-4+nvidia-tesla-t4"] == pytest.approx(0.54, abs=0.001)
    assert there["g2-standard-4"] == pytest.approx(0.7068, abs=0.0001)


def test_a_zone_is_in_its_region() -> None:
    assert region_of("us-central1-a") == "us-central1"
    assert region_of("europe-west4-b") == "europe-west4"
    for region in ("us-central1", "us-east-1", "ap-northeast-1"):
        assert region_of(region) == region


def test_an_unknown_region_is_one_sentence_that_names_those_there_are() -> None:
    with pytest.raises(Refused, match=r"no region 'us-east-3' of aws, but us-east-1, .*; is us-east-\d meant\?"):
        offers("aws", "us-east-3")
    with pytest.raises(Refused, match="no region 'moon' of gcp, but us-central1"):
        offers("gcp", "moon")
    with pytest.raises(Refused, match="no region 'x' of azure, but none"):
        offers("azure", "x")


def test_an_unknown_machine_is_one_sentence_that_names_some_there_are() -> None:
    assert machine("aws", "eu-west-1", "g4dn.xlarge").gpu == "T4"
    with pytest.raises(Refused, match=r"no machine 'g4dn.xlareg' in us-east-1; .*g4dn.xlarge"):
        machine("aws", "us-east-1", "g4dn.xlareg")
    with pytest.raises(Refused, match="no machine 'x'; there are, for one, none"):
        find([], "x")
