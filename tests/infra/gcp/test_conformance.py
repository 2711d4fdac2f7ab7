"""Google Cloud is held to what every cloud is."""

from pathlib import Path

import pytest

from infra.cluster import Role, Run
from infra.gcp import Gcp
from infra.gcp.clients import Clients
from infra.settings import GcpConfig
from tests.conftest import ROOT
from tests.infra.conformance import Conformance, Subject
from tests.infra.gcp.conftest import SETTINGS
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import T4, a_run
from tests.infra.gcp.standins import launch


class TestGcp(Conformance):
    @pytest.fixture
    def subject(self, double: Double, monkeypatch: pytest.MonkeyPatch) -> Subject:
        monkeypatch.chdir(ROOT)
        gcp = Gcp(SETTINGS.model_copy(update={"gcp": GcpConfig(worker=T4.machine.name)}))

        def rent(run: Run, made: dict[str, str], role: Role) -> str:
            config = gcp.cluster_config(run, made, Path("/nowhere/main.pem"))
            return launch(Clients(PROJECT), config, "worker-spot" if role == "worker" else role)

        return Subject(gcp, a_run(), rent, moves=False)
