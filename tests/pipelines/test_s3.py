"""Datasets come from S3 too: a local server that speaks it stands in for the cloud."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.datasets.image_folder import ImageFolderFetch, fetch
from pipelines.faults import Fault
from pipelines.transport.download import download
from tests.pipelines.samples import image_folder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="data")
    for number, name in enumerate(("a/1.bin", "a/2.bin", "b/1.bin")):
        client.put_object(Bucket="data", Key=name, Body=bytes([number]) * 1000)
    client.close()
    yield "s3://data"
    server.stop()


def test_a_file_comes_from_s3(bucket: str, tmp_path: Path) -> None:
    content = b"\1" * 1000
    download(f"{bucket}/a/2.bin", hashlib.sha256(content).hexdigest(), tmp_path / "x", tmp_path / "partial")
    assert (tmp_path / "x").read_bytes() == content


def test_a_missing_object_is_named(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="s3://data/c does not exist"):
        download(f"{bucket}/c", "0" * 64, tmp_path / "x", tmp_path / "partial", retries=0)


def test_a_folder_of_images_comes_from_s3(bucket: str, tmp_path: Path) -> None:
    import boto3

    client = boto3.client("s3")
    files = {path.relative_to(tmp_path): path.read_bytes() for path in image_folder(tmp_path / "pets").rglob("*.png")}
    for name, content in files.items():
        client.put_object(Bucket="data", Key=f"mine/{name.as_posix()}", Body=content)
    client.close()
    raw = tmp_path / "raw"
    raw.mkdir()
    fetch(ImageFolderFetch(path=f"{bucket}/mine/pets"), raw, tmp_path)
    assert {Path("pets") / path.relative_to(raw / "images"): path.read_bytes() for path in raw.rglob("*.png")} == files


def test_what_is_no_image_in_s3_is_named(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"s3://data/a/1\.bin is no PNG"):
        fetch(ImageFolderFetch(path=bucket), tmp_path, tmp_path)


def test_a_bucket_that_is_not_there_is_named(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="s3://other"):
        fetch(ImageFolderFetch(path="s3://other/pets"), tmp_path, tmp_path)
