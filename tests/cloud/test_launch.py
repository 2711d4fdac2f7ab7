"""`fifty up` and `fifty down` are killed, meet each other, and fail: the next command goes on or clears."""

import signal
from collections.abc import Callable

import pytest

from tests.cloud.cluster import Cluster, read_until, replace_in

MakeCluster = Callable[..., Cluster]
MOMENTS = {
    "reserved": r"^reserved \$",
    "first step": r"^worker-profile: ",
    "before ray up": r"^`ray up`: ",
    "launched": r"\[1/7\]",
    "setting up": r"\[6/7\]",
}
# Lines of `fifty down`, in their order. What one has done the next does not say again.
SAID = (r"^ending \d machine", r"^removed group", r"^removed key", r"^removed profile", r"^settled", r"^nothing of")
# Between a line and the kill it may have done the next step too; then the next `fifty down` is met at a later one.
STEPS = {
    "step after step": tuple("|".join(SAID[step:]) for step in range(len(SAID) - 1)),
    "once the cloud has confirmed": (r"^the cloud confirms",),
}


def killed(main: Cluster, command: str, line: str, number: int = signal.SIGKILL) -> None:
    """Kill a command when it says something."""
    process = main.start(command)
    try:
        read_until(process, line)
    finally:
        main.kill(process, number)


def test_up_killed_again_and_again_is_adopted_each_time(cluster: MakeCluster) -> None:
    """Killed at five moments, one after the other; the sixth finishes the same run."""
    main = cluster()
    for line in MOMENTS.values():
        killed(main, "up", line)
        assert len(main.runs()) == 1
    said = main.fifty("up", "aws")
    assert "going on with the run" in said
    assert len(main.runs()) == 1
    assert len(main.nodes("head")) == 1
    main.fifty("down")
    main.nothing_left()


@pytest.mark.parametrize("moment", MOMENTS)
def test_up_killed_is_cleared_by_down(cluster: MakeCluster, moment: str) -> None:
    main = cluster()
    killed(main, "up", MOMENTS[moment], signal.SIGINT if moment == "setting up" else signal.SIGKILL)
    main.fifty("down")
    main.nothing_left()


@pytest.mark.parametrize("steps", STEPS)
def test_down_interrupted(cluster: MakeCluster, steps: str) -> None:
    main = cluster()
    killed(main, "up", MOMENTS["launched"])
    for line in STEPS[steps]:
        killed(main, "down", line, signal.SIGINT if "confirms" in line else signal.SIGKILL)
    main.fifty("down")
    main.nothing_left()


def test_the_set_up_of_the_head_fails(cluster: MakeCluster) -> None:
    """`fifty up` says so in a sentence; if nobody calls `fifty down`, the head ends itself."""
    main = cluster()
    replace_in(main.outside / "infra/node/setup.sh", 'doing="installing uv"', 'doing="failing on purpose"; false')
    said = main.fifty("up", "aws", code=1)
    assert "failing on purpose" in said.splitlines()[-1]
    # It would wait for half an hour, or by this harness's pace for six minutes.
    hasty = """sed -i 's/"pace": [0-9.]*/"pace": 0.01/' /opt/fifty/node.json"""
    assert main.aws.on_machine(main.head(), hasty).returncode == 0
    main.all_off(120)
    main.fifty("down")
    main.nothing_left()


def test_every_set_up_of_a_worker_fails(cluster: MakeCluster) -> None:
    """After three in a row no more are launched, and a head with which nothing can be done ends."""
    main = cluster()
    failing = """grep -q '"role": "head"' /opt/fifty/node.json || false; doing="installing uv\""""
    replace_in(main.outside / "infra/node/setup.sh", 'doing="installing uv"', failing)
    main.fifty("up", "aws")
    job = main.job()
    main.all_off(600)
    main.kill(job)
    assert 3 <= len(main.nodes("worker", alive=False)) <= 5
    main.fifty("down")
    main.nothing_left()


def test_two_at_once_cannot_both_spend_the_last_dollar(cluster: MakeCluster) -> None:
    """Two people with one budget: what each wants fits, and both together do not."""
    pair = [cluster(name, budget_usd=0.7) for name in ("one", "two")]
    started = [each.start("up", "aws") for each in pair]
    said = [process.communicate(timeout=400)[0] for process in started]
    assert sorted(process.returncode for process in started) == [0, 2], said
    assert any("budget" in text.splitlines()[-1] for text in said)
    for each in pair:
        each.fifty("down")
    for each in pair:
        each.nothing_left()


def test_two_at_once_of_one_name(cluster: MakeCluster) -> None:
    """From two machines with one account: one is refused, and the other comes up or is cleared."""
    first, second = cluster(), cluster()
    started = [each.start("up", "aws") for each in (first, second)]
    said = [process.communicate(timeout=400)[0] for process in started]
    codes = [process.returncode for process in started]
    assert codes.count(0) <= 1, said
    assert all("fifty: " in text for text, code in zip(said, codes, strict=True) if code)
    assert len(first.nodes("head")) <= 1
    for each in (first, second):
        each.fifty("down")
    for each in (first, second):
        each.nothing_left()
