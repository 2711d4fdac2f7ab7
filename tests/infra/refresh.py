"""Rewrites what is rendered: scripts and commands in infra/aws.yaml and infra/gcp.yaml, the settings in docs/cloud.md.

    python -m tests.infra.refresh

To be run when infra/node/deadman.sh, infra/userdata.py, infra/ray_config.py or infra/settings.py has changed; tests say
when it was not.
"""

import re
import textwrap
from typing import Any

from infra import ray_config
from infra.userdata import by_hand
from tests.infra.configs import committed
from tests.infra.nodes import CHECKOUT
from tests.infra.test_cloud_page import PAGE, updated

SCRIPT = re.compile(r"^( +)(UserData|value): \|\n((?:\1  .*\n|\n)+)", re.MULTILINE)
FACT = '"{}": "([^"]*)"'


def main() -> None:
    """Rewrite the files."""
    for cloud in ("aws", "gcp"):
        path = CHECKOUT / "infra" / f"{cloud}.yaml"
        path.write_text(refreshed(path.read_text(), cloud))
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def refreshed(text: str, cloud: str) -> str:
    """The text of a file with what is rendered anew."""
    text = SCRIPT.sub(lambda found: _script(found, cloud), text)
    for key, lines in _commands(cloud).items():
        (old,) = re.findall(rf"^{key}:\n((?:  .*\n)+)", text, flags=re.MULTILINE)
        text = text.replace(f"{key}:\n{old}", _list(key, old, lines))
    return text


def _script(found: re.Match[str], cloud: str) -> str:
    """A machine's first script, with the role and the region that it had."""
    role: Any = _fact(found[3], "role")
    script = by_hand(role, cloud).replace('"region": ""', f'"region": "{_fact(found[3], "region")}"')
    lines = [f"{found[1]}  {line}" if line else "" for line in script.rstrip().splitlines()]
    after = found[3][len(found[3].rstrip()) :]
    return f"{found[1]}{found[2]}: |\n" + "\n".join(lines) + after


def _fact(script: str, name: str) -> str:
    found = re.search(FACT.format(name), script)
    assert found, f"a script without {name}"
    return found[1]


def _commands(cloud: str) -> dict[str, list[str]]:
    shared = ray_config.shared("fifty-hand", 2, 5, committed(cloud)["file_mounts"], gpu=True)
    commands = {key: value for key, value in shared.items() if key.endswith("_commands") and value}
    if cloud == "aws":
        commands["head_start_ray_commands"].insert(0, ray_config.PINNED)
    return commands


def _list(key: str, old: str, lines: list[str]) -> str:
    """A list with a person's comments above the same items as before."""
    parts = re.split(r"^  - (?:.*\n(?:    .*\n)*)", old, flags=re.MULTILINE)
    assert len(parts) == len(lines) + 1, f"{key} has {len(parts) - 1} items, and {len(lines)} are rendered"
    return f"{key}:\n" + "".join(part + _item(line) for part, line in zip(parts, lines, strict=False))


def _item(line: str) -> str:
    if len(line) <= 100 and ": " not in line:
        return f"  - {line}\n"
    folded = textwrap.wrap(line, 112, break_long_words=False, break_on_hyphens=False)
    return "  - >-\n" + "".join(f"    {part}\n" for part in folded)


if __name__ == "__main__":
    main()
