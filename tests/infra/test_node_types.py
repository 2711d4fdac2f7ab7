"""The kinds of machines are the same on every cloud, and so is what falls back from spot to on-demand."""

import pytest

from infra.node_types import FALLBACK, ON_DEMAND, SPOT
from tests.infra.configs import rendered


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_spot_first_and_what_falls_back_is_started(cloud: str) -> None:
    config = rendered(cloud)
    priorities = {name: kind.get("priority") for name, kind in config["available_node_types"].items()}
    assert priorities == {"head": None, SPOT: 1, ON_DEMAND: 0}
    assert FALLBACK in config["head_start_ray_commands"]
