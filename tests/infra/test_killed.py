"""`fifty` as a process of its own on a fake cloud in a file: killed outright at chosen moments, two at once, Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.context import Context
from infra.where import context_for
from tests.infra.desk import HOME, Desk, desk

Environment = Callable[[], dict[str, str]]
PARAMS = f"cloud:\n  ssh_from: {HOME}\n"


class Shell:
    """A person's folder, with params.yaml in it."""

    def __init__(self, folder: Path, environment: Environment) -> None:
        self.folder = folder
        self._environment = environment()
        folder.mkdir(exist_ok=True)
        (folder / "params.yaml").write_text(PARAMS)

    def start(self, *command: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        arguments = [sys.executable, "-m", *command]
        return subprocess.Popen(
            arguments,
            cwd=self.folder,
            env=self._environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str) -> tuple[int, str, str]:
        process = self.start(*command)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def fifty(self, *arguments: str) -> tuple[int, str, str]:
        return self.run("infra.cli", *arguments)

    def desk(self, monkeypatch: pytest.MonkeyPatch) -> Desk:
        """The same cloud and folder, looked at from here."""
        monkeypatch.chdir(self.folder)
        context: Context = context_for("fake", lambda _: None, lambda _: None)
        return desk(context.provider)  # type: ignore[arg-type]


@pytest.fixture
def shell(tmp_path: Path, environment: Environment) -> Shell:
    return Shell(tmp_path / "home", environment)


MOMENTS = {
    "the record is written": ("write", 1),
    "it is reserved": ("append", 1),
    "a key and a group are made": ("group", 1),
    "the head is launched": ("launch", 1),
    "the ledger knows of the head": ("append", 3),
}


@pytest.mark.parametrize("then", ["up", "down"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_9_after(moment: str, then: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    name, count = MOMENTS[moment]
    code, _, _ = shell.run("tests.infra.killing", "up", name, str(count), "after")
    assert code == -signal.SIGKILL
    me = shell.desk(monkeypatch)
    before = me.kept
    assert before is not None
    code, out, err = shell.fifty(then)
    assert (code, err) == (0, ""), out
    if then == "up":
        assert me.alive() == ["head"]
        assert me.kept is not None
        assert me.kept.run == before.run
        assert [account.id for account in me.ledger.runs.values()] == [before.run.id]
        code, out, err = shell.fifty("down")
        assert (code, err) == (0, ""), out
    me.assert_nothing_left()


@pytest.mark.parametrize("moment", [("terminate", 1), ("remove", 1), ("remove", 3), ("append", 2), ("delete", 1)])
def test_a_down_that_was_killed_is_repeated(
    moment: tuple[str, int], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell.fifty("up", "fake")[0] == 0
    code, _, _ = shell.run("tests.infra.killing", "down", moment[0], str(moment[1]), "after")
    assert code == -signal.SIGKILL
    code, out, err = shell.fifty("down", "fake")
    assert (code, err) == (0, ""), out
    shell.desk(monkeypatch).assert_nothing_left()


def test_two_at_once_from_two_machines(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share the cloud and its ledger, and nothing else: one wins, the other says so and has begun nothing."""
    shells = [Shell(tmp_path / name, environment) for name in ("one", "two")]
    (tmp_path / "cloud").mkdir()
    for shell in shells:
        (shell.folder / ".fifty").mkdir()
        (shell.folder / ".fifty" / "fake-cloud.json").symlink_to(tmp_path / "cloud" / "fake-cloud.json")
    processes = [shell.start("infra.cli", "up", "fake") for shell in shells]
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    assert sorted(code for _, code in ends) == [0, 2], ends
    (sentence,) = [err for err, code in ends if code == 2]
    assert sentence.startswith("fifty: ")
    assert sentence.count("\n") == 1
    winner, loser = (shells[index] for index in sorted((0, 1), key=lambda index: ends[index][1]))
    assert loser.desk(monkeypatch).kept is None
    me = winner.desk(monkeypatch)
    assert me.alive() == ["head"]
    assert len(me.ledger.open_runs()) == 1
    assert winner.fifty("down")[0] == 0
    me.assert_nothing_left()


def test_two_at_once_from_one_machine(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [shell.start("infra.cli", "up", "fake") for _ in range(2)]
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    # The later one finds the other at work, or, if that was quick, the cluster up.
    assert all(code == 0 or (code == 2 and "another `fifty` is at work" in err) for err, code in ends), ends
    me = shell.desk(monkeypatch)
    assert me.alive() == ["head"]
    assert len(me.ledger.runs) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_a_sentence_that_says_what_to_do(
    number: int, code: int, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = shell.desk(monkeypatch)
    me.fake.trouble(hang=True)
    process = shell.start("infra.cli", "up", "fake")
    assert process.stdout is not None
    while "waiting" not in process.stdout.readline():
        assert process.poll() is None
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err == "fifty: interrupted; `fifty up` goes on from there, `fifty down` removes what is there\n"
    assert me.alive() == ["head"]
    # The head is in the ledger all the same.
    assert len(me.ledger.open_runs()[0].lives) == 1
    assert shell.fifty("down", "fake")[0] == 0
    me.assert_nothing_left()
