"""A search's first workers begin together, so that Tune, which is told of an end, has none left to put aside."""

import threading
import time
from pathlib import Path

import pytest

from pipelines.head_start import BEGUN
from pipelines.searching import cohort_trial


def begin(folder: Path, count: int) -> None:
    """Leave the files that forks which train ahead leave."""
    for number in range(count):
        (folder / f"{BEGUN}{number}").touch()


def test_a_worker_waits_for_its_peers(tmp_path: Path) -> None:
    begin(tmp_path, 2)
    waiting = threading.Thread(target=cohort_trial._await_peers, args=(tmp_path,))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    assert len(list(tmp_path.glob("worker-*"))) == 1, "it has said that it is there"
    (tmp_path / "worker-1").touch()
    waiting.join(cohort_trial.PEERS_SECONDS / 2)
    assert not waiting.is_alive()


@pytest.mark.parametrize("count", [0, 1])
def test_alone_it_waits_for_nobody(tmp_path: Path, count: int) -> None:
    begin(tmp_path, count)
    began = time.monotonic()
    cohort_trial._await_peers(tmp_path)
    assert time.monotonic() - began < cohort_trial.PEERS_SECONDS / 2


def test_nor_for_one_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_trial, "PEERS_SECONDS", 0.1)
    begin(tmp_path, 2)
    cohort_trial._await_peers(tmp_path)
