"""A clock that is wrong makes no deadline."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from infra import clocks
from infra.faults import Refused
from infra.provider import Identity
from infra.up import up
from tests.infra.desk import desk

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("seconds", [0, 45, -45, 7200])
def test_the_cloud_says_what_time_it_is(seconds: int) -> None:
    header = format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)
    assert clocks.ahead(header) == pytest.approx(seconds, abs=3)


@pytest.mark.parametrize("header", [None, "", "yesterday"])
def test_an_answer_without_a_time_says_nothing(header: str | None) -> None:
    assert clocks.ahead(header) == 0.0


@pytest.mark.parametrize(("ahead", "how"), [(95.2, "95 seconds ahead of"), (-3600.0, "3600 seconds behind")])
def test_nothing_is_launched_by_a_wrong_clock(monkeypatch: pytest.MonkeyPatch, ahead: float, how: str) -> None:
    me = desk()
    monkeypatch.setattr(me.context.provider, "whoami", lambda: Identity("account", "nobody", ahead))
    with pytest.raises(Refused, match=f"clock is {how} the cloud's"):
        up(me.context)
    me.assert_nothing_left()
    assert not me.ledger.runs


def test_a_clock_that_is_nearly_right_will_do() -> None:
    clocks.check(29.0)
    clocks.check(-29.0)
