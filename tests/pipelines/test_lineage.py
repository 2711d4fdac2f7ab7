"""Where a result comes from: data hashes as DVC has them, the commit, whether it was dirty."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from pipelines import lineage, places
from pipelines.lineage import dvc_hash, params_hash

GIT = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")


def git(*arguments: str) -> str:
    command = ["git", *GIT, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def dvc(*arguments: str) -> None:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_TEST": "1"}
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture
def repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit, alone in its folder."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    git("init", "-q")
    (folder / "code.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "-qm", "one")
    return folder


MAKE = """
from pathlib import Path
out = Path("data/raw/d")
(out / "sub dir").mkdir(parents=True)
(out / "b.txt").write_text("b")
(out / "a.txt").write_text("one")
(out / "a-b").mkdir()
(out / "a-b" / "x").write_bytes(bytes(range(256)))
(out / "sub dir" / "ü.txt").write_text("line\\r\\n")
(out / "empty").touch()
Path("one.bin").write_bytes(b"123")
"""


def test_hashes_are_those_that_dvc_repro_writes_in_its_lock(repository: Path) -> None:
    (repository / "make.py").write_text(MAKE)
    stages = {"make": {"cmd": f"{sys.executable} make.py", "outs": ["data/raw/d", "one.bin"]}}
    YAML().dump({"stages": stages}, repository / "dvc.yaml")
    dvc("init", "-q")
    dvc("repro", "-q")
    locked = YAML(typ="safe").load(repository / "dvc.lock")["stages"]["make"]["outs"]
    expected = {out["path"]: out["md5"] for out in locked}
    without = Path("no.lock")
    for path, md5 in expected.items():
        assert dvc_hash(Path(path), without) == md5
        assert dvc_hash(Path(path)) == md5
    assert expected["data/raw/d"].endswith(".dir")


def write_lock(md5: str, size: int, nfiles: int) -> None:
    out = {"path": "data/raw/d", "md5": md5, "size": size, "nfiles": nfiles}
    YAML().dump({"schema": "2.0", "stages": {"fetch@d": {"cmd": "x", "outs": [out]}}}, Path("dvc.lock"))


@pytest.fixture
def data(folder: Path) -> Path:
    out = Path("data/raw/d")
    out.mkdir(parents=True)
    (out / "a").write_text("abc")
    os.utime(out / "a", (1000, 1000))
    return out


def test_a_newer_lock_that_fits_spares_the_hashing(data: Path) -> None:
    write_lock("trusted.dir", size=3, nfiles=1)
    assert dvc_hash(data) == "trusted.dir"


@pytest.mark.parametrize("doubt", ["older", "size", "number", "other"])
def test_a_lock_that_may_speak_of_other_data_is_not_trusted(data: Path, doubt: str) -> None:
    truth = dvc_hash(data)
    write_lock("stale.dir", size=4 if doubt == "size" else 3, nfiles=2 if doubt == "number" else 1)
    if doubt == "older":
        os.utime("dvc.lock", (999, 999))
    if doubt == "other":
        Path("dvc.lock").write_text(Path("dvc.lock").read_text().replace("data/raw/d", "data/raw/e"))
    assert dvc_hash(data) == truth != "stale.dir"


@pytest.mark.parametrize("text", ["", "schema: '2.0'\n", "stages: {}\n"])
def test_a_lock_without_stages_is_no_obstacle(data: Path, text: str) -> None:
    Path("dvc.lock").write_text(text)
    assert dvc_hash(data).endswith(".dir")


class Section(BaseModel):
    a: int = 1
    b: tuple[float, float] = (0.5, 1.0)


def test_data_that_are_not_on_this_machine_are_told_by_the_lock(folder: Path) -> None:
    """The head of a cluster is sent dvc.lock and the prepared data, not the raw ones."""
    lineage.LOCK.write_text("stages: {a: {outs: [{path: data/raw/d, md5: abc.dir, size: 3, nfiles: 1}]}}\n")
    assert dvc_hash(Path("data/raw/d")) == "abc.dir"
    with pytest.raises(FileNotFoundError):
        dvc_hash(Path("data/raw/other"))


def test_parameters_hash_by_value_and_not_by_order() -> None:
    assert params_hash(Section()) == params_hash(Section(b=(0.5, 1.0), a=1))
    assert params_hash(Section()) != params_hash(Section(a=2))
    assert len(params_hash(Section())) == 16


def prepare_data() -> None:
    for out in (places.raw("d"), places.prepared("d"), places.augmented("d")):
        out.mkdir(parents=True)
        (out / "train.safetensors").write_text(out.as_posix())


def test_tags_say_data_commit_and_parameters(repository: Path) -> None:
    (repository / ".gitignore").write_text("/data/\n")
    git("add", ".")
    git("commit", "-qm", "two")
    prepare_data()
    tags = lineage.tags("d", Section())
    assert tags["git.commit"] == git("rev-parse", "HEAD")
    assert tags["git.dirty"] == "false"
    assert tags["params.hash"] == params_hash(Section())
    assert tags["data.raw"] == dvc_hash(places.raw("d"))
    assert tags["data.prepared"] == dvc_hash(places.prepared("d"))
    assert len({tags["data.raw"], tags["data.prepared"], tags["data.augmented"]}) == 3
    assert "dvc.exp_name" not in tags


@pytest.mark.parametrize(
    ("change", "dirty"),
    [
        (lambda: Path("dvc.lock").write_text("x: 1\n"), "false"),
        (lambda: Path("code.py").write_text("x = 2\n"), "true"),
        (lambda: Path("new.py").write_text("x = 2\n"), "true"),
    ],
)
def test_dirty_is_code_and_not_the_lock_that_dvc_rewrites(
    repository: Path, change: Callable[[], object], dirty: str
) -> None:
    Path("dvc.lock").write_text("old\n")
    git("add", ".")
    git("commit", "-qm", "lock")
    assert lineage._git_tags()["git.dirty"] == "false"
    change()
    assert lineage._git_tags()["git.dirty"] == dirty


def test_a_lock_that_git_does_not_know_yet_is_not_dirty(repository: Path) -> None:
    Path("dvc.lock").write_text("new\n")
    assert lineage._git_tags()["git.dirty"] == "false"


def test_without_git_the_tags_say_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    assert lineage._git_tags() == {"git.commit": "none", "git.dirty": "unknown"}
    monkeypatch.setenv("PATH", "")
    assert lineage._git_tags() == {"git.commit": "none", "git.dirty": "unknown"}


def test_experiments_of_dvc_name_themselves_and_their_baseline(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_data()
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc123")
    monkeypatch.setenv("DVC_EXP_NAME", "quick-fox")
    tags = lineage.tags("d", Section())
    assert (tags["dvc.exp_baseline"], tags["dvc.exp_name"]) == ("abc123", "quick-fox")
