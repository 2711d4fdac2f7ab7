"""What a machine runs first: UserData on AWS, `startup-script` on GCP.

Before anything else it arms the dead-man's switch: a timer that survives a reboot and needs nothing but a shell. Then
it unpacks the Python part, which knows of a deadline that was moved, and the watchdog. Written as text for a person to
read in the cloud's console, but for the Python files, which are packed: EC2 takes 16 KB at most.
"""

import ast
import base64
import json
import lzma
import sys
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import cast

from infra.cluster import Role

NODE = Path(__file__).parent / "node"
SHARED = (
    "rules",
    "facts",
    "cloud",
    "deadline",
    "off",
    "deadman",
    "processes",
    "ray_view",
    "setups",
    "head",
    "watchdog",
)
STATES = {"aws": ("aws_state", "sigv4"), "gcp": ("gcp_state",), "fake": ()}
LIMIT = 16384  # bytes of UserData that EC2 takes, before it is encoded for the request
UNTOLD_SECONDS = 1800  # so long a machine launched by hand lives until its set-up tells it that it may live longer

_UNPACK = """
import base64, json, lzma, os, sys
packed = "".join(sys.stdin.read().split())
os.makedirs("/opt/fifty/infra/node", exist_ok=True)
for name, source in json.loads(lzma.decompress(base64.b85decode(packed))).items():
    open(f"/opt/fifty/infra/node/{name}.py", "w").write(source)
"""

# A shutdown that hangs, because some process will not end, is forced; systemd itself would wait for half an hour.
_HURRY = """\
# A shutdown that hangs is forced.
mkdir -p /etc/systemd/system/poweroff.target.d
cat >/etc/systemd/system/poweroff.target.d/fifty.conf <<'FIFTY'
[Unit]
JobTimeoutSec=90s
JobTimeoutAction=poweroff-immediate
FIFTY
systemctl daemon-reload"""

_UNIT = """\
cat >/etc/systemd/system/fifty-{name}.service <<'FIFTY'
[Unit]
Description={description}
[Service]
Type=oneshot
ExecStart=/bin/sh /opt/fifty/{name}
TimeoutStartSec={patience}
FIFTY
cat >/etc/systemd/system/fifty-{name}.timer <<'FIFTY'
[Unit]
Description={description}
[Timer]
OnBootSec={first}
OnUnitActiveSec=30s
AccuracySec=1s
[Install]
WantedBy=timers.target
FIFTY
systemctl daemon-reload
systemctl enable --now fifty-{name}.timer
"""


@dataclass(frozen=True)
class NodeFacts:
    """What a machine is told about itself at its birth.

    Attributes:
        cloud: `aws` or `gcp`.
        region: as the cloud names it; the zone on GCP.
        project: what shares the budget.
        cluster: the cluster's name.
        run: the run's id; empty when launched by hand.
        role: head or worker.
        deadline: when it ends itself; None when launched by hand.
        idle_minutes: idle for so long, the head takes everything down.
        relative_seconds: when launched by hand: how long after the head's launch everything ends; else None.
        ssh_from: when launched by hand: the one address outside that sshd lets in; empty: none.
        pace: 1; less lets a test wait less long for what takes minutes.
    """

    cloud: str
    region: str
    project: str
    cluster: str
    run: str
    role: Role
    deadline: datetime | None
    idle_minutes: float
    relative_seconds: int | None = None
    ssh_from: str = ""
    pace: float = 1.0

    def __post_init__(self) -> None:
        if (self.deadline is None) == (self.relative_seconds is None):
            raise ValueError("a node has either an absolute deadline, or a life relative to its head's launch")


def userdata(node: NodeFacts) -> str:
    """Render what the machine runs at its first boot; that it runs again, as GCP has it at every boot, does no harm."""
    deadline = _unit("deadman", "ends this machine at its deadline", first="5s", patience="90s")
    return "\n".join([_armed(node), deadline, _HURRY, install(node.cloud) if node.deadline else _closed(node.ssh_from)])


def by_hand(role: Role, cloud: str = "aws", hours: float = 4.0, idle_minutes: float = 10.0, ssh_from: str = "") -> str:
    """Render what stands in the committed Ray configs: no packed files; the set-up installs the watchdog."""
    return userdata(NodeFacts(cloud, "", "fifty", "hand", "", role, None, idle_minutes, int(hours * 3600), ssh_from))


def install(cloud: str) -> str:
    """Render what installs the Python part and the watchdog on a machine that has the rest; safe to run twice."""
    return f"{_payload(cloud)}\n{_watchdog()}"


def facts_json(node: NodeFacts) -> str:
    """What a node keeps in /opt/fifty/node.json."""
    facts = {
        "cloud": node.cloud,
        "region": node.region,
        "project": node.project,
        "cluster": node.cluster,
        "run": node.run,
        "role": node.role,
        "deadline": int(node.deadline.timestamp()) if node.deadline else None,
        "relative_seconds": node.relative_seconds,
        "idle_minutes": node.idle_minutes,
        "pace": node.pace,
    }
    return json.dumps(facts, sort_keys=True)


def _armed(node: NodeFacts) -> str:
    script = (NODE / "deadman.sh").read_text()
    return f"""\
#!/bin/bash
# fifty: before anything else this machine arms the switch that ends it.
umask 022
mkdir -p /opt/fifty /var/lib/fifty/marks
chmod 1777 /var/lib/fifty/marks
[ -s /var/lib/fifty/booted ] || date +%s >/var/lib/fifty/booted
cat >/opt/fifty/node.json <<'FIFTY'
{facts_json(node)}
FIFTY
{_deadline(node)}
cat >/opt/fifty/deadman <<'FIFTY'
{script.rstrip()}
FIFTY"""


def _deadline(node: NodeFacts) -> str:
    """Lines that write down when the machine ends; a life counts once, from the first boot of the head."""
    if node.deadline:
        return f"echo {int(node.deadline.timestamp())} >/opt/fifty/deadline"
    # The head's set-up says when it is done, and the head tells each worker, that the head's whole life counts.
    early = f"echo $(($(cat /var/lib/fifty/booted) + {UNTOLD_SECONDS})) >/opt/fifty/deadline"
    return f"echo {node.relative_seconds} >/opt/fifty/life\n{early}"


def _closed(ssh_from: str) -> str:
    """Lines that have sshd let in machines of the private network and one address, whatever the firewall says."""
    return f"""\
ssh_from={ssh_from}
private="*@10.0.0.0/8 *@172.16.0.0/12 *@192.168.0.0/16"
echo "AllowUsers $private${{ssh_from:+ *@$ssh_from}}" >/etc/ssh/sshd_config.d/fifty.conf
systemctl reload ssh
"""


def _unit(name: str, description: str, first: str, patience: str) -> str:
    return _UNIT.format(name=name, description=description, first=first, patience=patience).rstrip()


def _payload(cloud: str) -> str:
    """Lines that unpack the Python part by Python itself, which packs tighter than gzip and base64 do."""
    packed = base64.b85encode(pack(cloud)).decode()
    lines = "\n".join(packed[at : at + 120] for at in range(0, len(packed), 120))
    return f"/usr/bin/python3 -c '{_UNPACK}' <<'FIFTY'\n{lines}\nFIFTY"


def _watchdog() -> str:
    script = (NODE / "watchdog.sh").read_text()
    lines = f"cat >/opt/fifty/watchdog <<'FIFTY'\n{script.rstrip()}\nFIFTY"
    unit = _unit("watchdog", "takes the cluster down when it is of no use", first="20s", patience="180s")
    return f"{lines}\n{unit}\n"


@cache
def pack(cloud: str) -> bytes:
    """Pack the Python files that a node of the cloud needs, without what only readers need; the same every time."""
    sources = {name: bare((NODE / f"{name}.py").read_text()) for name in SHARED + STATES[cloud]}
    return lzma.compress(json.dumps(sources).encode(), format=lzma.FORMAT_ALONE, preset=9 | lzma.PRESET_EXTREME)


def bare(source: str) -> str:
    """Python source without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree) + "\n"


def main(arguments: list[str]) -> int:
    """`python -m infra.userdata install aws` for the set-up, `python -m infra.userdata hand aws head` for the yaml."""
    print(install(arguments[1]) if arguments[0] == "install" else by_hand(cast(Role, arguments[2]), arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
