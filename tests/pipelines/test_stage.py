"""What every stage does around its work: refuses bad keys, tells faults in one sentence, leaves outs as they were."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import interrupts, outs, stage
from pipelines.faults import Fault
from pipelines.params import load
from pipelines.stage import Stage

GO_ON = "Its outs are as they were. To go on: dvc repro"
OUT = Path("data/raw/digits")


@pytest.fixture(autouse=True)
def _in(folder: Path, root: Path) -> Iterator[None]:
    """A folder with a valid params.yaml and an old out; the signal handlers are put back."""
    (folder / "params.yaml").write_text((root / "params.yaml").read_text())
    load()  # is remembered, which spares the tests' own processes the import of torch
    OUT.mkdir(parents=True)
    (OUT / "a.txt").write_text("old")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interrupts.received.clear()


def run(body: Callable[[Stage], None], key: str = "digits", over: Any = "datasets") -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stage", key] if over else ["stage"])
        return stage.run("fetch", "Fetch.", body, over=over)


def old() -> bool:
    found = {str(path) for path in OUT.parent.rglob("*")}
    return found == {str(OUT), str(OUT / "a.txt")} and (OUT / "a.txt").read_text() == "old"


def test_a_stage_gets_its_key_and_the_parameters() -> None:
    seen: list[Stage] = []
    assert run(seen.append) == 0
    (work,) = seen
    assert (work.name, work.key, work.title) == ("fetch", "digits", "fetch@digits")
    assert work.params.datasets["digits"].kind == "digits"


def test_a_stage_over_nothing_takes_no_key() -> None:
    seen: list[Stage] = []
    assert run(seen.append, over="") == 0
    assert seen[0].title == "fetch"


def test_an_unknown_key_is_told_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda _: None, "digit") == 1
    said = capsys.readouterr().err
    assert "fetch@digit: params.yaml has no dataset 'digit'; it has: digits, dna, " in said


def test_faulty_parameters_stop_a_stage_before_its_work(capsys: pytest.CaptureFixture[str]) -> None:
    Path("params.yaml").write_text("datasets: {}\n")
    seen: list[Stage] = []
    assert run(seen.append) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "fetch@digits: params.yaml is not valid, nothing was run"
    assert said[1].startswith("datasets: ")
    assert not seen


def staging(error: BaseException) -> Callable[[Stage], None]:
    def body(_: Stage) -> None:
        with outs.staged(OUT) as (folder,):
            (folder / "a.txt").write_text("half")
            raise error

    return body


def test_a_fault_is_one_sentence_and_what_to_run_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(staging(Fault("data/x.png is no image"))) == 1
    assert capsys.readouterr().err == f"\nfetch@digits: data/x.png is no image\n{GO_ON}\n"
    assert old()


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EDQUOT, "Disk quota exceeded"),
        (errno.EFBIG, "File too large"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
    ],
)
def test_a_disk_that_takes_no_more_is_one_sentence(
    capsys: pytest.CaptureFixture[str], number: int, sentence: str
) -> None:
    assert run(staging(OSError(number, sentence, "data/raw/x"))) == 1
    assert capsys.readouterr().err == f"\nfetch@digits: {sentence}: data/raw/x\n{GO_ON}\n"
    assert old()


def test_what_is_no_persons_fault_keeps_its_traceback() -> None:
    for error in (ValueError("a bug"), OSError(errno.EBADF, "a bug")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["stage", "digits"])
            with pytest.raises(type(error)):
                stage.run("fetch", "Fetch.", staging(error), over="datasets")
        assert old()


CHILD = """
import resource, signal, sys, time
from pathlib import Path
from pipelines import outs, stage

def body(work):
    with outs.staged(Path("data/raw/digits")) as (folder,):
        (folder / "a.txt").write_text("half")
        {work}

sys.argv = ["stage", "digits"]
stage.main("fetch", "Fetch.", body, over="datasets")
"""
WAIT = 'print("ready", flush=True); time.sleep(60)'
FILL = (
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
    '(folder / "b.bin").write_bytes(bytes(1 << 20))'
)
FULL = 'print("x" * 10, file=open("/dev/full", "w"), flush=True)'


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_outs_and_says_how_to_go_on(
    environment: Callable[[], dict[str, str]], number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-c", CHILD.replace("{work}", WAIT)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), text=True, **pipes) as child:  # type: ignore[call-overload]
        try:
            assert child.stdout.readline() == "ready\n"
            child.send_signal(number)
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == code
    assert said == f"\nfetch@digits: stopped by {number.name}\n{GO_ON}\n"
    assert old()


@pytest.mark.parametrize(("work", "sentence"), [(FILL, "File too large"), (FULL, "No space left on device")])
def test_a_disk_that_is_really_full_is_one_sentence(
    environment: Callable[[], dict[str, str]], work: str, sentence: str
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", CHILD.replace("{work}", work)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"\nfetch@digits: {sentence}")
    assert done.stderr.endswith(f"\n{GO_ON}\n")
    assert "Traceback" not in done.stderr
    assert old()


def test_a_file_in_the_place_of_a_folder_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("results").write_text("a file in the way")

    def body(_: Stage) -> None:
        with outs.staged(Path("results/x/metrics.json")):
            pass

    assert run(body) == 1
    said = capsys.readouterr().err
    assert said.startswith("\nfetch@digits: Not a directory: results")
    assert said.endswith(f"\n{GO_ON}\n")
