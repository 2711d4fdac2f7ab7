"""What of Ray's cluster config is the same on every cloud: what is sent, how a machine is set up, how Ray is started.

Pure but for a look at which of the project's files there are. A cloud adds `provider`, `auth`, `available_node_types`
and `head_node_type`; `guard.check` then sees that nothing is missing.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.cluster import PRICE, Offer, Run, Shape
from infra.faults import Refused
from infra.settings import CloudConfig

PROJECT = "~/fifty"
PYTHON = f"{PROJECT}/.venv/bin/python"
RAY = f"{PROJECT}/.venv/bin/ray"
MARKS = "/var/lib/fifty/marks"
TOKEN = "~/.ray/auth_token"  # noqa: S105 (a path)
LAUNCHED = "~/.fifty_launched"  # when the head came up
SPOT = "spot"  # stands in the name of every node type of spot machines
GCS_PORT, DASHBOARD_PORT, MLFLOW_PORT = 6379, 8265, 5000

# What a machine needs to run the pipeline. Ray reads every file of a mount whenever it launches a worker: no .venv,
# no .git, no results among it.
SENT = (
    "infra",
    "pipelines",
    "lit_models",
    "data/prepared",
    "data/augmented",
    "pyproject.toml",
    "uv.lock",
    "README.md",
    "params.yaml",
    "dvc.yaml",
    "dvc.lock",
    ".dvc/config",
    ".dvcignore",
)
NEEDED = ("infra", "pipelines", "lit_models", "pyproject.toml", "uv.lock", "README.md", "params.yaml")
EXCLUDED = ("__pycache__", "*.pyc", ".*.new*", ".*.old*")

# In every process of Ray's, on every machine, and in every driver's.
ENVIRONMENT = {
    # A machine that drops off the network without closing its sockets is noticed in two minutes, not in seven.
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Switched off, a head would still tell Ray's makers once that it is; nobody answers there.
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    # Under `uv run` Ray would pack the environment anew for every worker.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
# What the autoscaler waits for a machine that does not come, a set-up that hangs, an end that is not confirmed; by
# Ray's own measure a set-up that hangs is paid for an hour.
PATIENCE = {
    "RAY_AUTOSCALER_RECONCILE_REQUEST_STATUS_TIMEOUT_S": "300",
    "RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S": "900",
    "RAY_AUTOSCALER_RECONCILE_RAY_INSTALL_STATUS_TIMEOUT_S": "1200",
    "RAY_AUTOSCALER_RECONCILE_TERMINATING_STATUS_TIMEOUT_S": "180",
    "RAY_AUTOSCALER_RECONCILE_RAY_STOP_REQUESTED_STATUS_TIMEOUT_S": "60",
    "AUTOSCALER_NODE_START_WAIT_S": "300",
}


# The first command on a machine. UserData may be at work still; where it is not there at all, nothing is set up.
ARMED = (
    f"for i in $(seq 60); do [ -f /opt/fifty/deadman ] && break; sleep 2; done; [ -f /opt/fifty/deadman ] || "
    "{ echo 'fifty: this machine has no dead-man switch, so it is not set up' >&2; exit 1; }; "
    f'if [ -n "${{RAY_HEAD_IP:-}}" ]; then echo "$RAY_HEAD_IP" >{MARKS}/head; '
    f"[ ! -s {LAUNCHED} ] || cp {LAUNCHED} {MARKS}/launched; fi"
)
MADE_TOKEN = (
    f"umask 077; mkdir -p ~/.ray; [ -s {TOKEN} ] || od -An -tx1 -N32 /dev/urandom | tr -d ' \\n' >{TOKEN}; "
    f"cp /var/lib/fifty/booted {LAUNCHED}"
)
HEAD = (
    f"--head --port={GCS_PORT} --object-manager-port=8076 --autoscaling-config=~/ray_bootstrap_config.yaml "
    f"--dashboard-host=127.0.0.1 --dashboard-port={DASHBOARD_PORT} --disable-usage-stats"
)
WORKER = f"--address=$RAY_HEAD_IP:{GCS_PORT} --object-manager-port=8076 --disable-usage-stats"
# FIFTY_SERVICE tells the watchdog that this is no work of anybody's. Where it runs already, it ends at once.
MLFLOW = (
    f"cd {PROJECT} && FIFTY_SERVICE=1 setsid nohup .venv/bin/python -m pipelines.ui --port {MLFLOW_PORT} "
    ">~/mlflow.log 2>&1 </dev/null &"
)
# By hand only: the image that the head was launched from stands in for the name of the newest, which its rights do not
# let it look up. This very command stands in the file too: [:] keeps it from changing itself.
PINNED = (
    "if grep -q resolve[:]ssm ~/ray_bootstrap_config.yaml; then "
    "imds=http://169.254.169.254/latest; "
    'token=$(curl -sfX PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" $imds/api/token); '
    'image=$(curl -sf -H "X-aws-ec2-metadata-token: $token" $imds/meta-data/ami-id); '
    'sed -i "s#resolve[:]ssm:[^\\"]*#${image:?}#g" ~/ray_bootstrap_config.yaml; fi'
)
READY = f"touch {MARKS}/ready"


def common(
    run: Run, settings: CloudConfig, node_env: Mapping[str, str] | None = None, root: Path | None = None
) -> dict[str, Any]:
    """Return the part of the config that every cloud shares.

    Args:
        run: the cluster.
        settings: the section `cloud`.
        node_env: more variables for the set-up, for Ray and for drivers.
        root: the project's folder; the working folder if None.
    """
    return shared(
        run.cluster,
        run.shape.workers,
        settings.idle_minutes,
        mounts(root or Path.cwd()),
        gpu=run.shape.worker.machine.gpus > 0,
        node_env=node_env or {},
        shape=run.shape,
    )


def shared(
    cluster: str,
    workers: int,
    idle_minutes: float,
    file_mounts: Mapping[str, str],
    *,
    gpu: bool,
    node_env: Mapping[str, str] | None = None,
    shape: Shape | None = None,
) -> dict[str, Any]:
    """As `common`, from plain values; the committed configs are held against it, too."""
    given = {**ENVIRONMENT, **(node_env or {})}
    head_price = f" --labels={PRICE}={dollars(shape.head.on_demand)}" if shape else ""
    price, worker_price = (priced(shape.worker), f" --labels={PRICE}=$price") if shape else ("", "")
    setup = f"{exports(node_env or {})}bash {PROJECT}/infra/node/setup.sh"
    return {
        "cluster_name": cluster,
        "max_workers": workers,
        "upscaling_speed": 10.0,
        "idle_timeout_minutes": idle_minutes,
        "file_mounts": dict(file_mounts),
        # The head makes the token; Ray sends it to each worker, closed to others as it is on the head.
        "cluster_synced_files": [TOKEN, LAUNCHED],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": list(EXCLUDED),
        "rsync_filter": [],
        "initialization_commands": [ARMED],
        "setup_commands": [],
        "head_setup_commands": [setup, MADE_TOKEN, remembered(given)],
        "worker_setup_commands": [f"{setup} --gpu" if gpu else setup, remembered(given)],
        "head_start_ray_commands": [
            f"{RAY} stop",
            f"{exports({**given, **PATIENCE})}ulimit -n $(ulimit -Hn); {RAY} start {HEAD}{head_price}",
            MLFLOW,
            f"cp /var/lib/fifty/booted {MARKS}/launched; {READY}",
        ],
        "worker_start_ray_commands": [
            f"{RAY} stop",
            f"{exports(given)}{price}ulimit -n $(ulimit -Hn); {RAY} start {WORKER}{worker_price} && {READY}",
        ],
    }


def priced(offer: Offer) -> str:
    """Shell that sets `price` to what a worker costs per hour; Ray's launcher says of which node type it is."""
    spot = offer.on_demand if offer.spot is None else offer.spot
    return f"case $RAY_NODE_TYPE_NAME in *{SPOT}*) price={dollars(spot)};; *) price={dollars(offer.on_demand)};; esac; "


def dollars(price: float) -> str:
    """A price as a label of Ray's, which the search reads."""
    return f"{price:.6f}".rstrip("0").rstrip(".")


def mounts(root: Path) -> dict[str, str]:
    """Where what is sent comes from, by where it goes.

    Raises:
        Refused: `root` is not the project.
    """
    if missing := [name for name in NEEDED if not (root / name).exists()]:
        raise Refused(f"{root} is not the project's folder: there is no {missing[0]}; run `fifty` where params.yaml is")
    return {f"{PROJECT}/{name}": str(root / name) for name in SENT if (root / name).exists()}


def exports(variables: Mapping[str, str]) -> str:
    """Shell that exports the variables, to stand before a command; what is secret does not belong in here."""
    return "".join(f"export {name}={shlex.quote(value)}; " for name, value in variables.items())


def remembered(variables: Mapping[str, str]) -> str:
    """Shell that has every later login of the machine's user, and so every driver, export the variables."""
    lines = " ".join(shlex.quote(exports({name: value}).rstrip("; ")) for name, value in variables.items())
    # At the top, for Ubuntu's own .bashrc does nothing more where no person sits.
    first = "grep -q fifty_env $f || { echo '. ~/.fifty_env' | cat - $f >$f.new; mv $f.new $f; }"
    return f"printf '%s\\n' {lines} >~/.fifty_env; for f in ~/.profile ~/.bashrc; do touch $f; {first}; done"
