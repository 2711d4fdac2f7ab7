"""This machine's clock against the cloud's: deadlines are made by the one and kept by the other."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from infra import words
from infra.faults import Refused

# What `cloud.margin_minutes` allows for, and the simulator reckons with. HTTP tells whole seconds, a second late.
MOST_SECONDS = 30.0


def ahead(date: str | None) -> float:
    """Seconds that this machine's clock is ahead of who has just answered; 0 if it did not say.

    Args:
        date: the header `Date` of the answer (RFC 9110).
    """
    try:
        told = parsedate_to_datetime(date or "")
    except ValueError:
        return 0.0
    return (datetime.now(UTC) - told.replace(tzinfo=told.tzinfo or UTC)).total_seconds()


def check(seconds: float) -> None:
    """See that a deadline made by this machine's clock is one by the cloud's.

    Args:
        seconds: that this machine's clock is ahead.

    Raises:
        Refused: it is not; launched so, machines would be paid for longer than was reserved, or end too early.
    """
    if abs(seconds) > MOST_SECONDS:
        away = f"{words.count(round(abs(seconds)), 'second')} {'ahead of' if seconds > 0 else 'behind'}"
        raise Refused(f"this machine's clock is {away} the cloud's: set it right, as by `timedatectl set-ntp true`")
