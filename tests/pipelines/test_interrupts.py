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
LOST = """
import os, signal, time
from pipelines import interrupts

class Thing:
    def __del__(self):
        os.kill(os.getpid(), {number})

interrupts.install()
{more}
try:
    Thing()
    time.sleep(30)
except interrupts.Interrupted:
    interrupts.arrived(interrupts.Interrupted())
    print(interrupts.received)
time.sleep(1.5)
"""
CLEANING = """
import os, signal, time
from contextlib import contextmanager
from pipelines import interrupts

@contextmanager
def cleaning():
    try:
        yield
    finally:
        try:
            raise ValueError
        except ValueError:
            time.sleep(1.5)
        print("clean", end=" ")

interrupts.install()
try:
    with cleaning():
        os.kill(os.getpid(), {number})
except interrupts.Interrupted:
    interrupts.arrived(interrupts.Interrupted())
    print(interrupts.received)
"""


def said(script: str, number: int, more: str = "") -> str:
    script = script.format(number=number, more=more)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
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


def test_one_that_was_lost_is_raised_again() -> None:
    """The interpreter drops what is raised in `__del__` and in its hooks around a fork."""
    for number in (2, 15):
        assert said(LOST, number) == f"[{number}]"


def test_one_that_was_lost_while_ray_starts_is_raised_again() -> None:
    rays = "import sys; signal.signal(15, lambda number, _: sys.exit(number))"
    assert said(LOST, 15, rays) == "[<Signals.SIGTERM: 15>]"


def test_cleaning_up_is_not_broken() -> None:
    for number in (2, 15):
        assert said(CLEANING, number) == f"clean [{number}]"
