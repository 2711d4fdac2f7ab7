"""Google's cloud, as the double pretends it, is held to what every cloud is."""

import json
from pathlib import Path

import pytest

from infra.cluster import Role, Run
from infra.gcp import Gcp
from tests.infra.conformance import Conformance, Subject
from tests.infra.gcp.made import a_run
from tests.infra.gcp.standins import launch as rent


class TestGcp(Conformance):
    @pytest.fixture
    def subject(self, gcp: Gcp) -> Subject:
        def launch(run: Run, made: dict[str, str], role: Role) -> str:
            config = json.loads(json.dumps(gcp.cluster_config(run, made, Path("/tmp/main.pem"))))
            return rent(gcp.clients, config, "head" if role == "head" else "worker-spot")

        return Subject(gcp, a_run(), launch, moves=False)
