"""Which deadline holds: the one this node was born with, or the one that the state outside the nodes tells."""

from __future__ import annotations  # for Python 3.9

import json
import time
from datetime import datetime

from infra.node import facts as here
from infra.node import rules
from infra.node.cloud import connect
from infra.node.facts import Facts


def refresh(facts: Facts) -> None:
    """Ask the state outside, if the cloud has one, and remember what it tells; an old answer holds for a while."""
    if facts.deadline is None:
        return
    try:
        answer = connect(facts).deadline()
    except (OSError, ValueError, KeyError) as error:
        print(f"fifty: the cluster's deadline cannot be read: {error}")
        return
    if answer is not None:
        seconds, date = answer
        now = time.time()
        here.write(here.TOLD, json.dumps({"deadline": seconds, "at": int(now), "slow": date - now}))


def in_force(facts: Facts, now: datetime) -> tuple[datetime, bool]:
    """Return the deadline that holds, and whether it is known from outside, fixed by the platform, or by hand."""
    if facts.cloud != "aws" or facts.deadline is None:
        return facts.own, True
    told, at = here.told()
    return rules.in_force(facts.own, told, at, now)
