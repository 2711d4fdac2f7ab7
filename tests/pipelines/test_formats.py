"""Broken files are named, with the byte offset, line or column of the fault; never another exception."""

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.datasets import cifar10, digits, mnist
from pipelines.faults import Fault
from pipelines.formats.images import ImagePrepareConfig
from pipelines.transport.raw import write_manifest
from tests.pipelines.samples import CLASSES, cifar_members, fetched, idx, mnist_parts, pixels, tar_gz, zipped

PER_EXAMPLE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
RECORD = 3073


@pytest.fixture(autouse=True)
def _own_state(folder: Path) -> None:
    """Partial downloads go below the working folder."""


@pytest.mark.parametrize("packed", [False, True])
def test_idx_is_read_gzipped_or_plain(tmp_path: Path, packed: bool) -> None:
    values = pixels(5, 4, 3)
    file = tmp_path / "images"
    file.write_bytes(zipped(idx(values)) if packed else idx(values))
    assert np.array_equal(mnist.read_idx(file, 3), values)


@PER_EXAMPLE
@given(length=st.integers(0, 16 + 60 - 1), packed=st.booleans())
def test_idx_cut_off_anywhere_is_a_fault(tmp_path: Path, length: int, packed: bool) -> None:
    content = idx(pixels(5, 4, 3))[:length]
    file = tmp_path / "images"
    file.write_bytes(zipped(content) if packed else content)
    with pytest.raises(Fault, match=rf"images is cut off at byte offset {length}:"):
        mnist.read_idx(file, 3)


@PER_EXAMPLE
@given(cut=st.integers(3, 40), content=st.binary(max_size=80))
def test_a_broken_gzip_stream_is_a_fault(tmp_path: Path, cut: int, content: bytes) -> None:
    file = tmp_path / "images"
    file.write_bytes(zipped(idx(pixels(5, 4, 3)))[:-cut] + content)
    with pytest.raises(Fault, match="images"):
        mnist.read_idx(file, 3)


@PER_EXAMPLE
@given(content=st.binary(max_size=60), dimensions=st.sampled_from([1, 3]))
def test_any_bytes_are_an_array_or_a_fault(tmp_path: Path, content: bytes, dimensions: int) -> None:
    file = tmp_path / "any"
    file.write_bytes(content)
    with suppress(Fault):
        assert mnist.read_idx(file, dimensions).ndim == dimensions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(pixels(3)), "byte offset 0: .*begins with 0x00000803, not with 0x00000801"),
        (idx(pixels(3, 2, 2)) + b"x", "goes on after byte offset 28"),
        (struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1), "cut off at byte offset 16"),
    ],
    ids=["magic", "surplus", "huge"],
)
def test_idx_faults_are_located(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(Fault, match=message):
        mnist.read_idx(tmp_path / "images", 3)


def test_mnist_comes_in_order_with_its_test_set(tmp_path: Path) -> None:
    examples = mnist.read(fetched("mnist", tmp_path), ImagePrepareConfig())
    parts = mnist_parts()
    assert np.array_equal(examples.x[:60, 0], parts["train_images"])
    assert np.array_equal(examples.x[60:, 0], parts["test_images"])
    assert examples.official_test is not None
    assert examples.official_test.tolist() == [False] * 60 + [True] * 20


def test_mnist_images_and_labels_must_pair_up(tmp_path: Path) -> None:
    raw = fetched("mnist", tmp_path)
    (raw / "test_labels.idx").write_bytes(idx(mnist_parts()["test_labels"][:-1]))
    write_manifest(raw)
    with pytest.raises(Fault, match=r"\(test\) has 20 images but 19 labels"):
        mnist.read(raw, ImagePrepareConfig())


def test_cifar_comes_in_order_with_its_names(tmp_path: Path) -> None:
    examples = cifar10.read(fetched("cifar10", tmp_path), ImagePrepareConfig())
    record = np.frombuffer(cifar_members()["data_batch_2.bin"], np.uint8)[3 * RECORD : 4 * RECORD]
    assert examples.y[13] == record[0]
    assert np.array_equal(examples.x[13], record[1:].reshape(3, 32, 32))
    assert examples.classes == CLASSES
    assert examples.official_test is not None
    assert examples.official_test.tolist() == [False] * 50 + [True] * 10


def bad_label(content: bytes) -> bytes:
    return content[: 4 * RECORD] + b"\x0a" + content[4 * RECORD + 1 :]


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("data_batch_3.bin", bad_label, rf"data_batch_3\.bin, byte offset {4 * RECORD}: label 10"),
        ("test_batch.bin", lambda content: content[:-1], rf"test_batch\.bin is cut off .* {10 * RECORD - 1}"),
        ("data_batch_1.bin", lambda content: b"", r"data_batch_1\.bin is cut off at byte offset 0"),
        ("batches.meta.txt", lambda content: content[:9], r"batches\.meta\.txt names 1 classes"),
    ],
)  # fmt: skip
def test_cifar_faults_are_located(tmp_path: Path, name: str, harm: object, message: str) -> None:
    assert callable(harm)
    members = cifar_members()
    (tmp_path / cifar10.ARCHIVE).write_bytes(tar_gz(members | {name: harm(members[name])}))
    write_manifest(tmp_path)
    with pytest.raises(Fault, match=message):
        cifar10.read(tmp_path, ImagePrepareConfig())


@PER_EXAMPLE
@given(part=st.floats(0, 0.99))
def test_a_cifar_archive_cut_off_anywhere_is_a_fault(tmp_path: Path, part: float) -> None:
    content = tar_gz({name: content[:RECORD] for name, content in cifar_members().items()})
    archive = tmp_path / cifar10.ARCHIVE
    archive.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(Fault, match="cifar-10-binary"):
        cifar10.read_members(archive, (*cifar10.TRAIN, cifar10.TEST, cifar10.META))


def test_cifar_members_are_read_but_never_written(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    archive = tmp_path / "inner" / cifar10.ARCHIVE
    archive.write_bytes(tar_gz(cifar_members(), folder="../"))
    assert set(cifar10.read_members(archive, (cifar10.TEST,))) == {cifar10.TEST}
    assert sorted(path.name for path in tmp_path.rglob("*")) == [cifar10.ARCHIVE, "inner"]
    with pytest.raises(Fault, match=r"holds no nothing\.bin"):
        cifar10.read_members(archive, ("nothing.bin",))


def test_digits_are_the_real_ones(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    examples = digits.read(fetched("digits", tmp_path), ImagePrepareConfig())
    assert np.array_equal(examples.x[:, 0], bunch.images)
    assert examples.y.tolist() == bunch.target.tolist()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["0"] * 64, "line 2: 64 instead of 65 columns"),
        (["0"] * 7 + ["17"] + ["0"] * 57, "line 2, column 8: '17' is no whole number from 0 to 16"),
        (["0"] * 64 + ["10"], "line 2, column 65: '10' is no whole number from 0 to 9"),
        (["x"] + ["0"] * 64, "line 2, column 1: 'x'"),
    ],
)
def test_digit_faults_are_located(tmp_path: Path, line: list[str], message: str) -> None:
    good = ",".join(["0"] * 65)
    (tmp_path / "d.gz").write_bytes(zipped(f"{good}\n{','.join(line)}\n".encode()))
    with pytest.raises(Fault, match=message):
        digits.parse(tmp_path / "d.gz")


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", zipped(b"0,1")[:-4], zipped(b"\xff")],
    ids=["empty", "plain", "cut", "no text"],
)
def test_broken_digits_are_a_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.gz").write_bytes(content)
    with pytest.raises(Fault, match=r"d\.gz"):
        digits.parse(tmp_path / "d.gz")
