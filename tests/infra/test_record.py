"""What this machine knows of a cluster: whole or not there, closed to others, and one command at a time."""

from pathlib import Path

import pytest

from infra import keys, record
from infra.faults import Fault, Refused
from infra.up import up
from tests.infra.desk import desk

pytestmark = pytest.mark.usefixtures("folder")


def test_it_is_read_as_it_was_written() -> None:
    kept = up(desk().context)
    assert record.load("main") == kept
    assert record.clusters() == ["main"]


def test_it_lies_in_the_checkout_that_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    assert record.file("x") == tmp_path / "main" / ".fifty" / "cloud" / "x.json"


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"\xff"])
def test_what_cannot_be_read_is_a_sentence(content: bytes) -> None:
    record.write(record.file("main"), content)
    with pytest.raises(Fault, match=r"main.json cannot be read .*`fifty down` needs no such file"):
        record.load("main")


def test_a_file_is_whole_and_nothing_is_left_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    record.write(record.file("main"), b"old")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            record.write(record.file("main"), b"new")
    assert [path.read_bytes() for path in record.folder().iterdir()] == [b"old"]
    assert record.file("main").stat().st_mode & 0o777 == 0o600
    assert record.folder().stat().st_mode & 0o777 == 0o700


def test_one_command_at_a_time() -> None:
    with record.lock("main"):
        with pytest.raises(Refused, match="another `fifty` is at work on cluster main"), record.lock("main"):
            pass
        with record.lock("other"):
            pass
    with record.lock("main"):
        pass


def test_a_key_is_made_once_and_stays() -> None:
    path = record.file("main", ".pem")
    public = keys.public_key(path)
    assert public.startswith("ssh-ed25519 ")
    assert keys.public_key(path) == public
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_may_read_is_refused(mode: int) -> None:
    path = record.file("main", ".pem")
    keys.public_key(path)
    path.chmod(mode)
    with pytest.raises(Refused, match=f"mode {mode:03o}.*chmod 600"):
        keys.public_key(path)


def test_what_is_no_key_is_refused() -> None:
    record.write(record.file("main", ".pem"), b"nonsense")
    with pytest.raises(Refused, match="holds no private key"):
        keys.public_key(record.file("main", ".pem"))
