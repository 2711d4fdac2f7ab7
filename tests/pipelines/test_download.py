"""A download ends with the right bytes or with one sentence, whatever the server does."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.faults import Fault
from pipelines.transport.download import download
from pipelines.transport.sources import public
from tests.pipelines.site import Site, serving

CONTENT = bytes(range(256)) * 1280
SHA = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as served:
        yield served


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "staging").mkdir()
    return tmp_path / "staging" / "data.bin"


def fetch(url: str | list[str], target: Path, checksum: str = SHA, **more: Any) -> None:
    options: dict[str, Any] = {"timeout": 5, "retries": 2, "backoff": 0.01} | more
    download(url, checksum, target, target.parent.parent / "partial", **options)


def partials(target: Path) -> list[Path]:
    return list((target.parent.parent / "partial").glob("*.partial"))


def test_brings_the_bytes_and_leaves_no_partial(site: Site, target: Path) -> None:
    fetch(site.serve("/a.bin", CONTENT), target)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    assert not partials(target)


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_takes_published_checksums_of_either_kind(site: Site, target: Path, algorithm: str) -> None:
    checksum = f"{algorithm}:{hashlib.new(algorithm, CONTENT, usedforsecurity=False).hexdigest()}"
    fetch(site.serve("/a.bin", CONTENT), target, checksum)
    assert target.read_bytes() == CONTENT


def test_resumes_by_range_where_it_broke_off(site: Site, target: Path) -> None:
    fetch(site.serve("/a.bin", CONTENT, "cut"), target)
    assert site.ranges("/a.bin") == [None, f"bytes={len(CONTENT) // 2}-"]
    assert target.read_bytes() == CONTENT


def test_a_later_run_resumes_too(site: Site, target: Path) -> None:
    url = site.serve("/a.bin", CONTENT, "cut")
    with pytest.raises(Fault, match="broke off"):
        fetch(url, target, retries=0)
    assert not target.exists()
    fetch(url, target, retries=0)
    assert site.ranges("/a.bin")[1] == f"bytes={len(CONTENT) // 2}-"
    assert target.read_bytes() == CONTENT


def test_progress_counts_tries_anew(site: Site, target: Path) -> None:
    fetch(site.serve("/a.bin", CONTENT, "cut", "cut", "cut"), target, retries=1)
    assert target.read_bytes() == CONTENT


def test_starts_again_where_the_server_ignores_ranges(site: Site, target: Path) -> None:
    fetch(site.serve("/a.bin", CONTENT, "cut", "no range"), target)
    assert len(site.ranges("/a.bin")) == 2
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "left",
    [CONTENT, CONTENT + b"more", b"\1" * 1000, b"\1" * len(CONTENT)],
    ids=["whole", "long", "other", "other whole"],
)
def test_survives_any_partial_of_an_earlier_run(site: Site, target: Path, left: bytes) -> None:
    url = site.serve("/a.bin", CONTENT, "cut")
    with pytest.raises(Fault):
        fetch(url, target, retries=0)
    partials(target)[0].write_bytes(left)
    fetch(url, target)
    assert target.read_bytes() == CONTENT


def test_wrong_checksum_names_url_expected_and_got(site: Site, target: Path) -> None:
    url = site.serve("/a.bin", b"something else")
    got = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(Fault) as caught:
        fetch(url, target)
    assert all(part in str(caught.value) for part in (url, SHA, got))
    assert not partials(target)
    assert not target.exists()


def test_missing_file_fails_at_once(site: Site, target: Path) -> None:
    with pytest.raises(Fault, match=r"nothing\.bin answered 404"):
        fetch(f"{site.url}/nothing.bin", target)
    assert len(site.requests) == 1


def test_a_stall_ends_in_a_sentence(site: Site, target: Path) -> None:
    with pytest.raises(Fault, match=r"a\.bin sent nothing for 0\.2 seconds"):
        fetch(site.serve("/a.bin", CONTENT, "stall"), target, timeout=0.2, retries=0)


def test_server_errors_are_tried_again(site: Site, target: Path) -> None:
    fetch(site.serve("/a.bin", CONTENT, "500", "500"), target)
    assert target.read_bytes() == CONTENT
    with pytest.raises(Fault, match=r"answered 500 .*tried 3 times"):
        fetch(site.serve("/a.bin", CONTENT, "500", "500", "500"), target)


def test_mirrors_are_tried_in_order(site: Site, target: Path) -> None:
    bad = site.serve("/bad.bin", b"bad")
    good = site.serve("/good.bin", CONTENT)
    fetch([f"{site.url}/missing.bin", bad, good], target)
    assert [path for path, _ in site.requests] == ["/missing.bin", "/bad.bin", "/good.bin"]
    assert target.read_bytes() == CONTENT


def test_an_unreachable_server_gives_one_sentence_without_credentials(target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Fault, match=r"cannot reach 127\.0\.0\.1") as caught:
        fetch(f"http://me:secret@127.0.0.1:{port}/a.bin?token=hidden", target, retries=1)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_public_urls_hold_no_credentials() -> None:
    assert public("s3://key:secret@bucket/a/b?token=1#x") == "s3://bucket/a/b"
    assert public("data/mnist") == "data/mnist"


@pytest.mark.parametrize("url", ["data.bin", "file"])
def test_local_files_count_from_base(tmp_path: Path, target: Path, url: str) -> None:
    source = tmp_path / "data.bin"
    source.write_bytes(CONTENT)
    fetch(source.as_uri() if url == "file" else url, target, base=tmp_path)
    assert target.read_bytes() == CONTENT
    assert source.exists()


@pytest.mark.parametrize("url", ["nothing.bin", "nope://a/b", "http://", "staging"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, target: Path, url: str) -> None:
    with pytest.raises(Fault, match=url):
        fetch(url, target, base=tmp_path, retries=0)


def test_a_full_disk_is_a_fault(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.move", no_space)
    with pytest.raises(Fault, match="No space left on device"):
        fetch(site.serve("/a.bin", CONTENT), target)


def test_log_lines_replace_the_bar(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.transport.progress.EVERY", 0)
    fetch(site.serve("/a.bin", CONTENT), target)
    assert "a.bin: 0.3 of 0.3 MB" in capsys.readouterr().err
