"""A person's own images: every mode is decoded, every fault is named."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets import image_folder
from pipelines.datasets.image_folder import ImageFolderFetch
from pipelines.faults import Fault
from pipelines.formats.decode import decode
from pipelines.formats.images import ImagePrepareConfig
from pipelines.transport.raw import write_manifest
from tests.pipelines.samples import fetched, pixels
from tests.pipelines.samples import image_folder as write_folder


def fetch(path: Path | str, base: Path) -> Path:
    raw = base / "raw"
    raw.mkdir()
    image_folder.fetch(ImageFolderFetch(path=str(path)), raw, base)
    return raw


def test_bytes_are_copied_as_they_are_and_litter_is_not(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets")
    raw = fetch("pets", tmp_path)
    copied = {path.relative_to(raw / "images"): path.read_bytes() for path in raw.rglob("*.[pj][np]g")}
    assert copied == {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.[pj][np]g")}
    assert len(list(raw.rglob("*.*"))) == len(copied) + 1


def test_home_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "pets")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    assert (fetch("~/pets", tmp_path / "elsewhere") / "images" / "cat").is_dir()


def test_examples_come_sorted_with_their_names(tmp_path: Path) -> None:
    examples = image_folder.read(fetched("image_folder", tmp_path), ImagePrepareConfig(size=8))
    assert examples.classes == ("cat", "dog", "fish")
    assert examples.names is not None
    assert examples.names == sorted(examples.names)
    assert [examples.classes[label] for label in examples.y] == [name.split("/")[0] for name in examples.names]


@pytest.mark.parametrize("name", ["README.txt", "cat/notes.txt", "cat/deeper/video.mp4"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, name: str) -> None:
    file = write_folder(tmp_path / "pets") / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("not an image")
    with pytest.raises(Fault, match=name):
        fetch("pets", tmp_path)


def test_folders_without_what_is_needed_are_faults(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets")
    for number, (path, message) in enumerate(
        [
            ("nowhere", "nowhere does not exist"),
            ("pets/cat/0.png", "is a file, not a folder"),
            ("pets/cat", "in no class folder"),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(Fault, match=message):
            fetch(tmp_path / path, tmp_path / str(number))


@pytest.mark.parametrize("hidden", [False, True])
def test_an_empty_class_is_named(tmp_path: Path, hidden: bool) -> None:
    (write_folder(tmp_path / "pets") / "bird").mkdir()
    if hidden:
        (tmp_path / "pets" / "bird" / ".keep").touch()
    with pytest.raises(Fault, match="pets/bird has no images"):
        fetch("pets", tmp_path)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "pets" / "cat" / "a.png")
    with pytest.raises(Fault, match="has 1 class folders"):
        fetch("pets", tmp_path)


def test_mixed_sizes_ask_for_a_size(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="set `size`"):
        image_folder.read(fetched("image_folder", tmp_path), ImagePrepareConfig())


def test_one_size_needs_no_size(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "x" / name).mkdir(parents=True)
        Image.fromarray(pixels(5, 7, 3)).save(tmp_path / "x" / name / "1.png")
    examples = image_folder.read(fetch("x", tmp_path), ImagePrepareConfig())
    assert np.array_equal(examples.x[0], pixels(5, 7, 3).transpose(2, 0, 1))


def test_a_truncated_image_is_named_with_its_offset(tmp_path: Path) -> None:
    raw = fetched("image_folder", tmp_path)
    victim = raw / "images" / "dog" / "1.jpg"
    victim.write_bytes(victim.read_bytes()[:-200])
    write_manifest(raw)
    with pytest.raises(Fault, match=rf"dog/1\.jpg is cut off at byte offset {victim.stat().st_size}"):
        image_folder.read(raw, ImagePrepareConfig(size=8))


@pytest.mark.parametrize("keep", [8, 20, 60])
def test_a_corrupt_image_is_named(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(pixels(9, 9, 3)).save(file)
    file.write_bytes(file.read_bytes()[:keep] + b"\0" * 40)
    with pytest.raises(Fault, match=r"a\.png"):
        decode(file, 8, "rgb")


def test_a_decompression_bomb_is_a_fault(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    for name, side in (("certain", 60_000), ("likely", 10_000)):
        header = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
        content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + content)
        with pytest.raises(Fault, match=f"{name} is too large"):
            decode(tmp_path / name, 8, "rgb")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 100), 100),
        (Image.new("1", (4, 4), 1), 255),
        (Image.new("RGB", (4, 4), (100, 100, 100)), 100),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), 255),
        (Image.new("LA", (4, 4), (7, 0)), 255),
        (Image.new("LA", (4, 4), (7, 255)), 7),
        (Image.new("P", (4, 4), 0).convert("P"), 0),
        (Image.fromarray(np.full((4, 4), 100 * 256 + 3, np.uint16)), 100),
    ],
    ids=["L", "1", "RGB", "RGBA", "LA clear", "LA solid", "P", "I;16"],
)  # fmt: skip
@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_every_mode_has_the_right_values(tmp_path: Path, image: Image.Image, expected: int, channels: str) -> None:
    image.save(tmp_path / "a.png")
    decoded = decode(tmp_path / "a.png", None, "gray" if channels == "gray" else "rgb")
    assert decoded.shape == (1 if channels == "gray" else 3, 4, 4)
    assert set(decoded.ravel().tolist()) == {expected}


def test_exif_turns_the_image_upright(tmp_path: Path) -> None:
    lying = np.zeros((8, 16, 3), np.uint8)
    lying[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.fromarray(lying).save(tmp_path / "a.jpg", exif=exif)
    decoded = decode(tmp_path / "a.jpg", None, "gray")
    assert decoded.shape == (1, 16, 8)
    assert decoded[0, :8].mean() > 200
    assert decoded[0, 8:].mean() < 50


def test_size_keeps_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", 5, "gray").mean() > 150
