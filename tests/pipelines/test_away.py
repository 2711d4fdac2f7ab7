"""What goes to other machines and comes back: data in pieces, checkpoints whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import away


class Post:
    """Carries pieces; counts what was asked for."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.received = 0

    def send(self, piece: bytes) -> int:
        self.pieces.append(piece)
        return len(self.pieces) - 1

    def receive(self, number: int) -> bytes:
        self.received += 1
        return self.pieces[number]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setattr(away, "PIECE", 10)
    (tmp_path / "long").write_bytes(bytes(range(35)))
    (tmp_path / "empty").touch()
    return {"prepared/long": tmp_path / "long", "augmented/deep/empty": tmp_path / "empty"}


def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir(exist_ok=True)
    return tmp_path / "base"


def test_files_arrive_whole_and_once_on_each_machine(files: dict[str, Path], tmp_path: Path) -> None:
    post = Post()
    parcel = away.pack(files, post.send)
    assert [len(piece) for piece in post.pieces] == [10, 10, 10, 5]
    folder = away.unpack(parcel, base(tmp_path), post.receive)
    assert (folder / "prepared/long").read_bytes() == bytes(range(35))
    assert (folder / "augmented/deep/empty").read_bytes() == b""
    assert away.unpack(parcel, base(tmp_path), post.receive) == folder
    assert post.received == 4


def test_other_bytes_or_names_have_another_folder(files: dict[str, Path], tmp_path: Path) -> None:
    one = away.pack(files, Post().send).name
    assert away.pack({"prepared/short": files["prepared/long"]}, Post().send).name != one
    files["prepared/long"].write_bytes(bytes(35))
    assert away.pack(files, Post().send).name != one


def test_what_was_half_unpacked_is_begun_anew(files: dict[str, Path], tmp_path: Path) -> None:
    post = Post()
    parcel = away.pack(files, post.send)

    def broken(number: int) -> bytes:
        if number == 2:
            raise OSError("the machine that had it is gone")
        return post.pieces[number]

    with pytest.raises(OSError, match="gone"):
        away.unpack(parcel, base(tmp_path), broken)
    folder = away.unpack(parcel, base(tmp_path), post.receive)
    assert (folder / "prepared/long").read_bytes() == bytes(range(35))


def test_only_the_data_of_some_searches_stay(files: dict[str, Path], tmp_path: Path) -> None:
    folders = []
    for number in range(away.KEPT + 2):
        files["prepared/long"].write_bytes(bytes([number]))
        post = Post()
        folders.append(away.unpack(away.pack(files, post.send), base(tmp_path), post.receive))
        os.utime(folders[-1], (number, number))
    assert [folder.is_dir() for folder in folders] == [False, False, *[True] * away.KEPT]


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = away.machine_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert away.machine_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="open to other users"):
        away.machine_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        away.machine_folder()


def test_a_cohort_goes_on_elsewhere_from_what_is_at_home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    home = away.Home(str(tmp_path / "home"))
    assert home.give("c0") is None
    with away.desk("c0", tmp_path, base(tmp_path), home) as desk:
        assert list(desk.checkpoints.iterdir()) == []
        desk.deliver()
        (desk.checkpoints / "c0.safetensors").write_bytes(b"epoch 1")
        desk.deliver()
    assert not desk.checkpoints.exists()
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["c0.safetensors"]
    with away.desk("c0", tmp_path, base(tmp_path), home) as desk:
        assert (desk.checkpoints / "c0.safetensors").read_bytes() == b"epoch 1"
        (desk.checkpoints / "c0.done.safetensors").write_bytes(b"the end")
        desk.deliver()
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["c0.done.safetensors"]
    assert home.give("c0") == ("c0.done.safetensors", b"the end")


def test_what_came_from_home_is_not_sent_back(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    home = away.Home(str(tmp_path / "home"))
    home.keep("c0", "c0.safetensors", b"epoch 1")
    before = (tmp_path / "home" / "c0.safetensors").stat()
    with away.desk("c0", tmp_path, base(tmp_path), home) as desk:
        desk.deliver()
    assert (tmp_path / "home" / "c0.safetensors").stat().st_ino == before.st_ino


def test_what_killed_workers_left_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = base(tmp_path) / f"work-{ended.pid}-x"
    left.mkdir()
    with away.desk("c0", tmp_path, base(tmp_path), away.Home(str(tmp_path / "home"))):
        assert not left.exists()
