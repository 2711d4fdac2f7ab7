"""Progress in a log: a line every few seconds, with what is left counted from the first step on."""

import pytest

from pipelines import progress
from pipelines.progress import Progress


def test_lines_come_seldom_and_tell_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    bar = Progress("search@a", 5, "trials")
    steps = ((60.0, "best 0.5"), (2.0, "best 0.5"), (4.0, "best 0.7"), (30.0, ""), (6.0, "best 0.9"))
    for seconds, note in steps:
        now += seconds
        bar.step(note)
    bar.close()
    assert capsys.readouterr().out.splitlines() == [
        "search@a: 1/5 trials, best 0.5",  # 60 s of start say nothing of the rest
        "search@a: 3/5 trials, best 0.7, about 6 s left",
        "search@a: 4/5 trials, about 12 s left",
    ]
