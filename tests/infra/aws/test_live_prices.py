"""Live prices, of which some cannot be read."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.aws import Aws, prices
from infra.faults import CloudFault, Refused
from tests.infra.aws import double as doubles

Fresh = Callable[..., Aws]


def _product(name: str, price: object, family: str = "GPU instance", unit: str = "Hrs") -> dict[str, Any]:
    return {
        "product": {"attributes": {"instanceType": name, "instanceFamily": family, "regionCode": "us-east-1"}},
        "terms": {"OnDemand": {"a.b": {"priceDimensions": {"a.b.c": {"unit": unit, "pricePerUnit": {"USD": price}}}}}},
    }


def _rate(price: str, unit: str, **attributes: str) -> dict[str, Any]:
    return {**_product("", price, unit=unit), "product": {"attributes": {"regionCode": "us-east-1", **attributes}}}


def test_live_prices(aws: Aws, double: doubles.Double) -> None:
    double.products["AmazonEC2"] = [
        _product("g4dn.xlarge", "0.5260000000"),
        _product("g5.xlarge", "1.0060000000"),
        _product("m5.large", "0.0960000000", "General purpose"),
        _product("p2.xlarge", "0.9"),
        _rate("0.09", "GB-Mo", volumeApiName="gp3", productFamily="Storage", instanceFamily=""),
    ]
    double.products["AmazonVPC"] = [_rate("0.006", "Hrs", group="VPCPublicIPv4Address")]
    offers, rates, source = aws.offers()
    assert [(one.machine.name, one.on_demand) for one in offers] == [
        ("m5.large", 0.096),
        ("g4dn.xlarge", 0.526),
        ("g5.xlarge", 1.006),
    ]
    # moto's prices of spot are none.
    assert {one.spot for one in offers} == {None}
    assert (rates.disk_gb_month, rates.address_hour, rates.storage_gb_month) == (0.09, 0.006, 0.023)
    assert source.startswith("live prices of AWS")
    assert "the rates of storage are the table's" in source


def test_prices_that_cannot_be_read_are_left_out(aws: Aws, double: doubles.Double) -> None:
    double.products["AmazonEC2"] = [
        "no JSON",
        "[1]",
        json.dumps({"product": None, "terms": []}),
        _product("g4dn.xlarge", "NaN"),
        _product("g4dn.2xlarge", None),
        _product("g4dn.4xlarge", "0.0"),
        _product("g5.2xlarge", "-1"),
        _product("g5.4xlarge", "1.6", unit="Quantity"),
        _product("g5.xlarge", "1.006"),
    ]
    assert [one.machine.name for one in aws.offers()[0]] == ["g5.xlarge"]


def test_no_prices_at_all(aws: Aws, double: doubles.Double) -> None:
    with pytest.raises(CloudFault, match="tells no price of any machine in us-east-1"):
        aws.offers()
    double.errors["GetProducts"] = ["AccessDeniedException"] * 20
    with pytest.raises(Refused, match="may not do that"):
        aws.offers()


def test_the_dearest_zone_is_what_spot_costs(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(zone: str, hour: int, price: str) -> dict[str, Any]:
        at = datetime(2026, 11, 26, hour, tzinfo=UTC)
        return {"InstanceType": "g4dn.xlarge", "AvailabilityZone": zone, "Timestamp": at, "SpotPrice": price}

    history = [entry("a", 1, "0.9"), entry("a", 3, "0.2"), entry("b", 2, "0.25"), entry("b", 4, "?"), {"half": 1}]
    monkeypatch.setattr(prices, "_history", lambda *_: history)
    assert prices._spot(aws.clients, ["g4dn.xlarge"]) == {"g4dn.xlarge": 0.25}
