"""AWS is held to what every cloud is."""

from dataclasses import replace
from typing import Any

import pytest

from infra.cluster import Role, Run
from infra.runs import Place, new_id
from tests.infra.aws import double as doubles
from tests.infra.aws.conftest import GPU, SMALL, Build, launch
from tests.infra.conformance import Conformance, Subject


def _product(name: str, family: str, price: str) -> dict[str, Any]:
    return {
        "product": {"attributes": {"instanceType": name, "instanceFamily": family, "regionCode": "us-east-1"}},
        "terms": {"OnDemand": {"a": {"priceDimensions": {"b": {"unit": "Hrs", "pricePerUnit": {"USD": price}}}}}},
    }


class TestAws(Conformance):
    @pytest.fixture
    def subject(self, build: Build, run: Run, double: doubles.Double) -> Subject:
        double.products["AmazonEC2"] = [
            _product(SMALL.name, "General purpose", "0.096"),
            _product(GPU.name, "GPU instance", "0.526"),
        ]

        def rent(run: Run, made: dict[str, str], role: Role) -> str:
            return launch(aws, run, made, "worker-spot" if role == "worker" and run.shape.spot else role)[0]

        aws = build(schedule=True)
        return Subject(aws, replace(run, id=new_id(Place("main", "aws", "us-east-1"), run.start, "1a2b")), rent)
