"""Outs are swapped in when whole: whatever interrupts a stage, the old content or the new one stands, never a part."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.outs import discard, staged, write_atomically


def tree(folder: Path) -> dict[str, str]:
    """Every file under `folder`, with its content."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_both(content: str) -> None:
    with staged(Path("results/metrics.json"), Path("results/plots")) as (metrics, plots):
        metrics.write_text(content)
        (plots / "deep").mkdir()
        (plots / "a.csv").write_text(content)
        (plots / "deep" / "b.csv").write_text(content)


BOTH = ("results/metrics.json", "results/plots/a.csv", "results/plots/deep/b.csv")


def test_files_and_folders_are_swapped_in_whole_and_nothing_else_is_left(folder: Path) -> None:
    write_both("old")
    assert tree(folder) == dict.fromkeys(BOTH, "old")
    write_both("new")
    assert tree(folder) == dict.fromkeys(BOTH, "new")


def test_what_the_new_folder_lacks_is_gone(folder: Path) -> None:
    write_both("old")
    with staged(Path("results/plots")) as (plots,):
        (plots / "c.csv").write_text("new")
    assert tree(folder / "results/plots") == {"c.csv": "new"}


def test_nothing_is_seen_before_the_block_ends(folder: Path) -> None:
    write_both("old")
    with staged(Path("results/metrics.json")) as (metrics,):
        metrics.write_text("new")
        assert Path("results/metrics.json").read_text() == "old"


def fail_half_way(error: BaseException) -> None:
    with staged(Path("results/metrics.json"), Path("results/plots")) as (metrics, plots):
        metrics.write_text("half")
        (plots / "a.csv").write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_an_exception_leaves_the_old_outs_as_they_were(folder: Path, error: BaseException) -> None:
    write_both("old")
    with pytest.raises(type(error)):
        fail_half_way(error)
    assert tree(folder) == dict.fromkeys(BOTH, "old")
    assert not list(folder.rglob(".*"))


def test_an_out_that_was_not_written_is_named_and_all_old_outs_are_kept(folder: Path) -> None:
    write_both("old")
    with (
        pytest.raises(FileNotFoundError, match=r"results/metrics\.json was not written"),
        staged(Path("results/plots"), Path("results/metrics.json")) as (plots, _),
    ):
        (plots / "a.csv").write_text("new")
    assert tree(folder) == dict.fromkeys(BOTH, "old")


def test_a_first_out_that_fails_leaves_nothing(folder: Path) -> None:
    with pytest.raises(RuntimeError):
        fail_half_way(RuntimeError())
    assert tree(folder) == {}
    assert list(Path("results").iterdir()) == []


def test_a_stage_killed_between_its_two_renames_is_mended_by_the_next(folder: Path) -> None:
    write_both("old")
    Path("results/plots").rename("results/.plots.old")
    Path("results/.plots.new").mkdir()
    Path("results/.plots.new/a.csv").write_text("new")
    with pytest.raises(RuntimeError), staged(Path("results/plots")):
        raise RuntimeError
    assert tree(folder) == dict.fromkeys(BOTH, "old")
    assert not list(Path("results").glob(".*"))


def test_a_stage_killed_after_its_renames_leaves_litter_that_the_next_clears(folder: Path) -> None:
    write_both("new")
    Path("results/.plots.old").mkdir()
    Path("results/.plots.old/a.csv").write_text("old")
    Path("results/.metrics.json.new.json").write_text("half")
    write_both("newer")
    assert tree(folder) == dict.fromkeys(BOTH, "newer")


def test_a_file_takes_the_place_of_a_folder_and_a_folder_that_of_a_file(folder: Path) -> None:
    Path("a.json").mkdir()
    Path("b").write_text("a file")
    with staged(Path("a.json"), Path("b")) as (a, b):
        a.write_text("{}")
        (b / "c").write_text("x")
    assert tree(folder) == {"a.json": "{}", "b/c": "x"}


def test_a_link_is_replaced_and_what_it_points_to_is_kept(folder: Path) -> None:
    cache = folder / "cache"
    cache.mkdir()
    (cache / "a").write_text("cached")
    Path("out").symlink_to(cache)
    with staged(Path("out")) as (out,):
        (out / "a").write_text("new")
    assert tree(cache) == {"a": "cached"}
    assert not Path("out").is_symlink()
    assert Path("out/a").read_text() == "new"


def test_leftovers_of_a_killed_stage_are_ignored_by_dvc(root: Path) -> None:
    from pathspec import PathSpec

    from pipelines.outs import _sibling

    spec = PathSpec.from_lines("gitignore", (root / ".dvcignore").read_text().splitlines())
    for target in (Path("results/x/plots"), Path("results/x/metrics.json"), Path("data/raw/digits")):
        for kind in ("new", "old"):
            assert spec.match_file(_sibling(target, kind).as_posix())
        assert not spec.match_file(target.as_posix())


LOOP = """
import itertools, sys
from pathlib import Path
from pipelines.outs import staged
print("ready", flush=True)
for n in itertools.count():
    with staged(Path("out"), Path("out.json")) as (out, file):
        for name in "abc":
            (out / name).write_text(f"{n}" * 2000)
        file.write_text(f"{n}" * 2000)
"""


def test_kill_at_any_moment_leaves_each_out_whole(folder: Path, environment: Callable[[], dict[str, str]]) -> None:
    chance = random.Random(0)
    for _ in range(12):
        child = subprocess.Popen([sys.executable, "-c", LOOP], env=environment(), stdout=subprocess.PIPE)
        try:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(chance.uniform(0.002, 0.03))
        finally:
            child.send_signal(signal.SIGKILL)
            child.communicate()
        with pytest.raises(RuntimeError), staged(Path("out"), Path("out.json")):
            raise RuntimeError
        found = {path.name: path.read_text() for path in Path("out").iterdir()} if Path("out").exists() else {}
        if found:
            assert sorted(found) == ["a", "b", "c"]
            assert len(set(found.values())) == 1
            assert len(found["a"]) >= 2000
        assert {path.name for path in folder.iterdir()} <= {"out", "out.json"}


def test_an_atomic_write_makes_its_folder_and_leaves_no_litter(folder: Path) -> None:
    write_atomically(Path("a/b.txt"), b"one")
    write_atomically(Path("a/b.txt"), b"two")
    assert tree(folder) == {"a/b.txt": "two"}


def test_an_atomic_write_that_fails_keeps_the_old_content(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(Path("b.txt"), b"one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(Path("b.txt"), b"two")
    assert tree(folder) == {"b.txt": "one"}


def test_discarding_takes_the_parent_only_when_it_is_empty_and_is_safe_twice(folder: Path) -> None:
    for name in ("s/one", "s/two"):
        Path(name).mkdir(parents=True)
        (Path(name) / "file").write_text("x")
    discard(Path("s/one"))
    assert [path.name for path in Path("s").iterdir()] == ["two"]
    discard(Path("s/two"))
    discard(Path("s/two"))
    assert list(folder.iterdir()) == []
