"""A signal stops a stage by an exception, and a fork that is about to become another program at once."""

import subprocess
import sys

FORK = """
import os, signal, subprocess
from pipelines import interrupts

interrupts.install()
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), {number}))
child = subprocess.Popen(["sleep", "60"], preexec_fn=lambda: None)
print(child.wait())
"""
ITSELF = """
import os, signal
from pipelines import interrupts

interrupts.install()
try:
    os.kill(os.getpid(), {number})
except interrupts.Interrupted:
    print(interrupts.received)
"""


def said(script: str, number: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script.format(number=number)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.strip()


def test_a_fork_dies_of_it_and_says_nothing() -> None:
    """Ray starts its servers so; raised in a hook of a library's, the exception was lost, and the server lived on."""
    for number in (2, 15):
        assert said(FORK, number) == str(-number)


def test_it_is_raised_and_noted_where_it_was_asked_for() -> None:
    for number in (2, 15):
        assert said(ITSELF, number) == f"[{number}]"
