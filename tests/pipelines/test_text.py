"""Running text: whole documents on one side, tokens that give the text back, honest bits per byte; what is pictured."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.numpy import load_file

from lit_models.forms import load_spec
from lit_models.gpt import GPTConfig, LitGPT
from lit_models.specs.sequence import TextSpec
from pipelines.datasets.python_docs import PYTHON_DOCS
from pipelines.datasets.text_files import TEXT_FILES, TextFilesFetch
from pipelines.evaluations.base import Task
from pipelines.evaluations.reading import differing_heads
from pipelines.evaluations.text import TEXT, TextEvaluateConfig
from pipelines.faults import Fault
from pipelines.formats.ngrams import bigram_bits, unigram, unigram_bits
from pipelines.formats.text import PARTS, Document, TextPrepareConfig, divide, held_out, prepare_text, without_repeats
from pipelines.formats.tokenization import (
    END,
    SMALLEST,
    TokenizerName,
    encode,
    load_tokenizer,
    token_bytes,
    train_tokenizer,
)
from pipelines.headlines import HEADLINES
from pipelines.transport.raw import write_manifest

STRANGE = "naïve “Größe” 字 🙂\ttab, $x^2$ and <|end|> itself"


def documents(count: int = 12) -> list[Document]:
    """Of different sizes; each has words that no other has."""
    return [
        Document(
            f"d{n:02d}", "\n\n".join(f"Word{n} number {line} of text {n} says {n * line}." for line in range(4 + n))
        )
        for n in range(count)
    ]


def config(**settings: Any) -> TextPrepareConfig:
    return TextPrepareConfig(**{"length": 16, "vocabulary": 300, **settings})


def prepared(folder: Path, found: list[Document] | None = None, **settings: Any) -> tuple[Path, dict[str, Any]]:
    folder.mkdir()
    assert prepare_text(documents() if found is None else found, config(**settings), folder)
    return folder, json.loads((folder / "card.json").read_text())


@pytest.mark.parametrize("kind", ["bpe", "byte"])
def test_tokens_give_every_text_back(kind: TokenizerName) -> None:
    tokenizer = train_tokenizer(kind, [one.text for one in documents()], 300)
    for text in (STRANGE, "", " ", "\n\n", "Word1 number 2"):
        ids = encode(tokenizer, [text])
        assert ids.dtype == np.int32
        assert ids[0] == ids[-1] == 0
        assert 0 not in ids[1:-1]  # not even where the text has END's letters
        assert tokenizer.decode(ids.tolist()) == text
        assert token_bytes(tokenizer)[ids].sum() == len(text.encode())
    assert tokenizer.id_to_token(0) == END


def test_bytes_are_learned_nowhere_and_pairs_from_text() -> None:
    texts = ["the cat and the hat"] * 3
    by_bytes, pairs = train_tokenizer("byte", texts, 300), train_tokenizer("bpe", texts, 300)
    assert by_bytes.get_vocab_size() == SMALLEST
    assert SMALLEST < pairs.get_vocab_size() < 300  # there are no more pairs
    assert len(encode(by_bytes, texts)) == 3 * len(texts[0]) + 4
    assert len(encode(pairs, texts)) < len(encode(by_bytes, texts)) / 2


def test_another_process_learns_the_same(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pipelines.formats.tokenization import train_tokenizer\n"
        "from pydoc_data.topics import topics\n"
        "sys.stdout.buffer.write(train_tokenizer('bpe', list(topics.values())[:20], 700).to_str().encode())\n"
    )
    one, other = (subprocess.run([sys.executable, "-c", script], check=True, capture_output=True) for _ in range(2))
    assert one.stdout == other.stdout != b""


def test_windows_are_the_text_and_the_same_one_token_on(tmp_path: Path) -> None:
    folder, card = prepared(tmp_path / "p")
    tokenizer = load_tokenizer(folder)
    texts = {one.name: one.text for one in documents()}
    counted = 0
    for part in PARTS:
        tensors = load_file(folder / f"{part}.safetensors")
        x, y = tensors["x"], tensors["y"]
        assert x.shape == y.shape == (card["counts"][part], 16)
        assert x.dtype == y.dtype == np.int32
        assert tensors["index"].tolist() == list(range(counted, counted + len(x)))
        counted += len(x)
        assert x.ravel()[1:].tolist() == y.ravel()[:-1].tolist()
        whole = END + "".join(texts[name] + END for name in card["parts"][part]["documents"])
        shown = tokenizer.decode([*x.ravel().tolist(), int(y[-1, -1])], skip_special_tokens=False)
        assert whole.startswith(shown)
        assert len(whole) - len(shown) < 16 * 12  # less than a window is left out


def test_each_document_is_in_one_part_and_the_seed_says_in_which(tmp_path: Path) -> None:
    parts = [prepared(tmp_path / str(seed), seed=seed)[1]["parts"] for seed in (0, 1)]
    for found in parts:
        names = [name for part in PARTS for name in found[part]["documents"]]
        assert sorted(names) == [one.name for one in documents()]
    assert parts[0]["test"]["documents"] != parts[1]["test"]["documents"]


def test_the_tokenizer_knows_training_text_alone(tmp_path: Path) -> None:
    folder, card = prepared(tmp_path / "p")
    texts = {one.name: one.text for one in documents()}
    learned = train_tokenizer("bpe", [texts[name] for name in card["parts"]["train"]["documents"]], 300)
    assert load_tokenizer(folder).to_str() == learned.to_str()
    everything = train_tokenizer("bpe", list(texts.values()), 300)
    assert learned.to_str() != everything.to_str()


def test_the_same_text_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [prepared(tmp_path / name)[0] for name in ("one", "two")]
    files = sorted(path.name for path in folders[0].iterdir())
    assert files == ["card.json", "test.safetensors", "tokenizer.json", "train.safetensors", "val.safetensors"]
    for name in files:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_the_card_reckons_each_part_by_its_own_bytes(tmp_path: Path) -> None:
    folder, card = prepared(tmp_path / "p")
    sizes = token_bytes(load_tokenizer(folder))
    counts = np.bincount(load_file(folder / "train.safetensors")["y"].ravel(), minlength=len(sizes)) + 1
    for part in PARTS:
        y = load_file(folder / f"{part}.safetensors")["y"].ravel()
        told = card["parts"][part]
        length = sum(int(sizes[token]) for token in y)
        assert (told["tokens"], told["bytes"]) == (len(y), length)
        assert told["bytes_per_token"] == pytest.approx(length / len(y))
        bits = sum(-math.log2(counts[token] / counts.sum()) for token in y)
        assert told["unigram_bits_per_byte"] == pytest.approx(bits / length)
    assert len({told["bytes_per_token"] for told in card["parts"].values()}) == 3
    assert load_spec(folder) == TextSpec(len(sizes), 16, card["parts"]["train"]["bytes_per_token"])


def test_pairs_are_counted_as_witten_and_bell_did() -> None:
    x, y = np.array([1, 1, 1, 2, 0]), np.array([2, 2, 3, 0, 1])
    own = unigram(y, 5)
    assert own.tolist() == [0.2, 0.2, 0.3, 0.2, 0.1]
    assert unigram_bits(own, np.array([0, 4])) == pytest.approx(-math.log2(0.2) - math.log2(0.1))
    # 1 came three times and was followed by two tokens; 3 was followed by none.
    told = {(1, 2): (2 + 2 * 0.3) / 5, (1, 4): 2 * 0.1 / 5, (2, 0): (1 + 0.2) / 2, (3, 2): 0.3, (4, 4): 0.1}
    for (before, token), probability in told.items():
        bits = bigram_bits((x, y), own, np.array([before]), np.array([token]))
        assert bits == pytest.approx(-math.log2(probability))
    for before in range(5):
        bits = [bigram_bits((x, y), own, np.array([before]), np.array([token])) for token in range(5)]
        assert sum(2**-cost for cost in bits) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["bpe", "byte"])
def test_the_sketch_is_what_the_data_will_be_but_for_their_bytes(kind: TokenizerName, tmp_path: Path) -> None:
    folder, _ = prepared(tmp_path / "p", tokenizer=kind)
    sketch = PYTHON_DOCS.sketch(PYTHON_DOCS.FetchConfig(), config(tokenizer=kind))
    found = load_spec(folder)
    assert isinstance(sketch, TextSpec)
    assert isinstance(found, TextSpec)
    assert (sketch.vocabulary, sketch.length) == (found.vocabulary, found.length)


def test_paragraphs_of_two_documents_stay_in_the_longer() -> None:
    shared = "This paragraph is so long that it is in two documents for a reason."
    long = Document("long", f"Begin.\n\n{shared}\n\n" + "More that nobody else has to say about it. " * 5)
    short = Document(
        "short",
        "Something of its own, which is a little longer than what it shares with another.\n\n"
        + shared.replace(" ", "\n"),
    )
    copy = Document("copy", f"The end.\n\n{shared}")
    assert without_repeats([copy, short, long]) == [Document("short", short.text.split("\n\n")[0]), long]
    twice = Document("twice", f"{shared}\n\n{shared}")
    assert without_repeats([twice]) == [twice]


def test_the_docs_share_no_paragraph_between_parts(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    PYTHON_DOCS.fetch(PYTHON_DOCS.FetchConfig(), raw, tmp_path)
    found = [Document(path.stem, path.read_text(encoding="utf-8")) for path in sorted(raw.glob("*.txt"))]
    assert len(found) > 50

    def paragraphs(parts: dict[str, list[Document]], part: str) -> set[str]:
        split = (paragraph for one in parts[part] for paragraph in one.text.split("\n\n"))
        return {folded for paragraph in split if len(folded := " ".join(paragraph.split())) >= 40}

    repeated, clean = (divide(found, config(repeats=repeats)) for repeats in (True, False))
    assert paragraphs(repeated, "train") & paragraphs(repeated, "test")
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not paragraphs(clean, one) & paragraphs(clean, other)


@pytest.mark.parametrize("sizes", [[5, 5, 5], [1000, 1, 1], [1, 1, 1, 1, 10_000], list(range(1, 60))], ids=str)
@pytest.mark.parametrize(("val", "test"), [(0.15, 0.15), (0.01, 0.01), (0.49, 0.5), (0.05, 0.9)])
def test_every_part_gets_a_document(sizes: list[int], val: float, test: float) -> None:
    for seed in range(5):
        parts = held_out(sizes, config(seed=seed, val=val, test=test))
        assert sorted(row for rows in parts.values() for row in rows) == list(range(len(sizes)))
        assert all(parts.values())
        if sum(sizes) * min(val, test) > max(sizes):
            shares = [sum(sizes[row] for row in parts[part]) / sum(sizes) for part in ("val", "test")]
            assert shares == pytest.approx([val, test], abs=max(sizes) / sum(sizes))


@pytest.mark.parametrize("count", [1, 2])
def test_few_documents_are_cut_into_beginning_middle_and_end(count: int) -> None:
    found = [Document(f"d{n}", "\n".join(f"line {n} {line}" for line in range(100))) for n in range(count)]
    parts = divide(found, config(val=0.2, test=0.1))
    texts = [parts[part][0].text for part in PARTS]
    assert "".join(texts) == "\n\n".join(one.text for one in found)
    assert all(text.endswith("\n") for text in texts[:2])
    assert [round(len(text) / len("".join(texts)), 1) for text in texts] == [0.7, 0.2, 0.1]


@pytest.mark.parametrize(
    ("found", "settings", "message"),
    [
        ([], {}, "there is no text to prepare"),
        ([Document("a", " \n"), Document("b", "")], {}, "there is no text to prepare"),
        ([Document("one", "a single line")], {}, "one has too few lines to be cut into a training, a validation"),
        (documents(), {"length": 5000}, "the train part has .* tokens, too few for a window of 5000: give more text"),
        (documents(4), {"length": 120}, "the (val|test) part has .* tokens, too few for a window of 120"),
    ],
    ids=str,
)
def test_too_little_text_is_told(found: list[Document], settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match=message):
        prepare_text(found, config(**settings), tmp_path)


def test_a_vocabulary_has_room_for_every_byte() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 257"):
        TextPrepareConfig(vocabulary=256)


def own(path: Path, tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    raw.mkdir()
    TEXT_FILES.fetch(TextFilesFetch(path=str(path)), raw, tmp_path)
    return raw


def test_a_folder_of_ones_own_is_taken_file_by_file(tmp_path: Path) -> None:
    folder, out = tmp_path / "mine", tmp_path / "out"
    for one in documents():
        path = folder / ("inner" if one.name > "d05" else "") / f"{one.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.text, encoding="utf-8")
    (folder / ".hidden").write_bytes(b"\xff")
    out.mkdir()
    assert "300 tokens" in TEXT_FILES.prepare(own(folder, tmp_path), config(), out)
    card = json.loads((out / "card.json").read_text())
    names = [name for part in PARTS for name in card["parts"][part]["documents"]]
    assert sorted(names) == sorted(f"inner/{one.name}" if one.name > "d05" else one.name for one in documents())


def test_a_single_file_of_ones_own_is_cut(tmp_path: Path) -> None:
    path, out = tmp_path / "mine.text", tmp_path / "out"
    path.write_bytes("\ufeff".encode() + "\r\n".join(one.text for one in documents()).encode())
    out.mkdir()
    TEXT_FILES.prepare(own(path, tmp_path), config(), out)
    card = json.loads((out / "card.json").read_text())
    assert [card["parts"][part]["documents"] for part in PARTS] == [["texts"]] * 3
    begin = load_tokenizer(out).decode(load_file(out / "train.safetensors")["x"][0].tolist())
    assert begin.startswith("Word0 number 0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.txt is empty: there is no text in it"),
        (b" \n\t\n", "bad.txt is empty"),
        ("first\nsecond größer\n".encode("latin-1"), "bad.txt, line 2: byte 0xf6 is not UTF-8"),
        (
            "größer\n".encode() + "größer\n".encode("latin-1"),
            "bad.txt, line 2: byte 0xf6 is not UTF-8; part of the file",
        ),
        ("text".encode("utf-16"), "bad.txt, line 1: this is UTF-16"),
        (b"one\ntwo\0\n", "bad.txt, line 2: a NUL byte is no text"),
    ],
    ids=str,
)
def test_bad_text_is_named_by_file_and_line(content: bytes, message: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    (folder / "good.txt").write_text("good text\n")
    (folder / "bad.txt").write_bytes(content)
    out.mkdir()
    with pytest.raises(Fault, match=message):
        TEXT_FILES.prepare(own(folder, tmp_path), config(), out)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(Fault, match=r"mine/picture.png is no .txt file"):
        own(tmp_path / "mine", tmp_path)


def test_a_raw_file_that_changed_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    write_manifest(tmp_path)
    (tmp_path / "a.txt").write_text("text2")
    with pytest.raises(Fault, match=r"a\.txt has 5 bytes instead of 4"):
        TEXT_FILES.prepare(tmp_path, config(), tmp_path)


def task(tmp_path: Path, found: list[Document] | None = None, **model: Any) -> Task:
    """A model that has learned nothing, on a small text."""
    folder, card = prepared(tmp_path / "prepared", found)
    spec: Any = load_spec(folder)
    network = LitGPT(GPTConfig(**{"width": 8, "heads": 2, "blocks": 2, **model}), spec).eval()
    tensors = {name: torch.from_numpy(value) for name, value in load_file(folder / "test.safetensors").items()}
    (tmp_path / "history.csv").write_text("epoch,train_loss,val_loss,val_accuracy\n1,5,5.1,0.1\n2,4,4.2,0.2\n")
    made = Task(network, tensors["x"], tensors["y"], card, folder, tmp_path, tmp_path / "plots")
    for place in (made.pictures, made.tables):
        place.mkdir(parents=True)
    return made


def test_bits_per_byte_are_those_of_the_test_part(tmp_path: Path) -> None:
    made = task(tmp_path)
    scores = TEXT.run(made, TextEvaluateConfig(tokens=4, temperatures=[0.0]))
    with torch.no_grad():
        told = made.model(made.x).log_softmax(2).gather(2, made.y.long().unsqueeze(2)).double()
    sizes = token_bytes(load_tokenizer(made.prepared))
    assert scores["bits_per_byte"] == pytest.approx(-float(told.sum()) / math.log(2) / sizes[made.y.numpy()].sum())
    assert scores["perplexity"] == pytest.approx(math.exp(-float(told.mean())))
    assert scores["token_accuracy"] == pytest.approx(float((made.model(made.x).argmax(2) == made.y).double().mean()))
    assert scores["bigram_bits_per_byte"] == made.card["parts"]["test"]["bigram_bits_per_byte"]
    assert scores["baseline"] == made.card["parts"]["test"]["unigram_bits_per_byte"] > 0
    assert scores[HEADLINES["text"].name] == scores["bits_per_byte"]
    assert scores["tokens_per_second"] > 0


def test_everything_is_pictured(tmp_path: Path) -> None:
    strange = [Document(f"s{n}", f"{STRANGE} {n}\n" * 9) for n in range(9)]
    made = task(tmp_path, strange)
    TEXT.run(made, TextEvaluateConfig(prompt=STRANGE, sentence=STRANGE, tokens=60, top_k=50, top_p=0.95))
    for name in ("samples", "attention_two_heads", "learning_curves"):
        with Image.open(made.pictures / f"{name}.png") as picture:
            assert min(picture.size) > 300
    text = (made.tables / "samples.txt").read_text(encoding="utf-8")
    assert [line for line in text.split("\n") if line.startswith("== ")] == [
        f"== temperature {temperature}" for temperature in ("0", "0.5", "0.8", "1", "1.2")
    ]
    assert text.count(STRANGE) == 5


def test_samples_are_the_same_again(tmp_path: Path) -> None:
    made = task(tmp_path)
    found = []
    for seed in (0, 0, 1):
        TEXT.run(made, TextEvaluateConfig(seed=seed, tokens=20, prompt=""))
        files = (made.tables / "samples.txt", made.pictures / "samples.png", made.pictures / "attention_two_heads.png")
        found.append([path.read_bytes() for path in files])
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_single_head_is_not_pictured_beside_itself(tmp_path: Path) -> None:
    made = task(tmp_path, heads=1, blocks=1)
    TEXT.run(made, TextEvaluateConfig(tokens=4))
    assert not (made.pictures / "attention_two_heads.png").exists()


def test_the_heads_that_differ_most_are_found() -> None:
    weights = np.zeros((2, 2, 3, 3))
    weights[..., 0] = 1.0
    weights[0, 1] = np.eye(3)
    weights[1, 0] = np.eye(3)[[0, 0, 1]]
    two = differing_heads(weights, skip=1)
    assert list(two) == ["block 1, head 2", "block 2, head 1"]
    np.testing.assert_array_equal(two["block 1, head 2"], np.eye(3))
    assert list(differing_heads(weights[:1, :1])) == ["block 1, head 1"]


@pytest.mark.parametrize("wrong", [{"temperatures": [0.5, -1.0]}, {"temperatures": []}, {"top_p": 0.0}], ids=str)
def test_impossible_sampling_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"temperatures|top_p"):
        TextEvaluateConfig(**wrong)
