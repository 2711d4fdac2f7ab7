"""Has Ray's own GCP provider launch a worker of each kind, label it, look at it and end one, as its autoscaler does.

python -m tests.infra.gcp.workers CONFIG
"""

import json
import sys
from pathlib import Path

from ray.autoscaler._private.gcp.node_provider import GCPNodeProvider


def main(config: Path) -> None:
    """Print the names, first of what was launched, then of what is left."""
    wanted = json.loads(config.read_text())
    provider = GCPNodeProvider(wanted["provider"], wanted["cluster_name"])
    made = []
    for kind, node in wanted["available_node_types"].items():
        if kind != wanted["head_node_type"]:
            name = f"ray-{wanted['cluster_name']}-worker"
            tags = {"ray-node-type": "worker", "ray-node-name": name, "ray-user-node-type": kind}
            made += provider.create_node(node["node_config"], tags, 1)
    provider.set_node_tags(made[0], {"ray-node-status": "up-to-date"})
    assert sorted(provider.non_terminated_nodes({"ray-node-type": "worker"})) == sorted(made)
    assert provider.is_running(made[0])
    assert provider.node_tags(made[0])["ray-node-status"] == "up-to-date"
    assert provider.internal_ip(made[0])
    provider.terminate_node(made[-1])
    print(json.dumps([made, sorted(provider.non_terminated_nodes({}))]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
