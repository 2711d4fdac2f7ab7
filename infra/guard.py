"""Refuses a cluster config that lacks any of what sees to it that nothing is left on, whoever wrote it. Pure.

Every safety is one row of `infra/guard_checks.py` or `infra/guard_clouds.py`, with the sentence that is said when it is
missing. tests/infra/test_guard.py takes each away in turn and sees the config refused.
"""

from collections.abc import Mapping
from typing import Any

from infra.cluster import Run
from infra.faults import Refused
from infra.guard_checks import CHECKS, Check, Config
from infra.guard_clouds import CLOUDS

Missing = tuple[str, str]  # the check's name, its sentence


def check(config: Mapping[str, Any], run: Run | None) -> None:
    """See that a config has every safety.

    Args:
        config: for `ray up`.
        run: what the config was rendered for; None for one that is launched by hand.

    Raises:
        Refused: with a line for everything that is missing.
    """
    if lacks := missing(config, run):
        lines = "\n".join(f"  {name}: {sentence}" for name, sentence in lacks)
        raise Refused(f"this cluster config is not safe to launch:\n{lines}")


def missing(config: Mapping[str, Any], run: Run | None) -> list[Missing]:
    """Return what a config lacks; nothing of a config that cannot be understood counts as there."""
    cloud = str(_mapping(config.get("provider")).get("type"))
    rows = CHECKS + CLOUDS.get(cloud, ())
    unknown = [] if cloud in CLOUDS else [("cloud", f"`{cloud}` is no cloud whose safeties are known")]
    return unknown + [(row.name, row.sentence) for row in rows if not _holds(row, Config(config, run))]


def _holds(row: Check, config: Config) -> bool:
    try:
        return bool(row.holds(config))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
