"""Tests models of running text: bits per byte beside models that count, samples, attention, speed of writing."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from pydantic import Field, field_validator

from pipelines.evaluations.base import Evaluation, Task
from pipelines.evaluations.curves import learning_curves
from pipelines.formats.tokenization import encode, load_tokenizer, token_bytes
from pipelines.section import Section

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lit_models.gpt import GPT, LitGPT

BATCH = 64
SPEED_TOKENS, SPEED_ROUNDS = 128, 3
END_SHOWN = "\n[end]\n"
"""How a sample shows that the model ended a document."""


class TextEvaluateConfig(Section):
    """The section `experiments.<key>.evaluate` of models of running text."""

    prompt: str = Field(default="The", description="what samples go on from, best without a last space")
    tokens: int = Field(default=160, ge=1, le=100_000, description="tokens of each sample")
    temperatures: list[float] = Field(
        default=[0.0, 0.5, 0.8, 1.0, 1.2], min_length=1, max_length=20, description="one sample each; 0 is greedy"
    )
    top_k: int = Field(default=0, ge=0, description="draw from so many likeliest tokens alone; 0 is all")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="draw from the likeliest tokens of this probability alone"
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the samples")
    sentence: str = Field(
        default="The value of the object is returned by the function.",
        min_length=1,
        description="what two heads are drawn on; its first 32 tokens",
    )

    @field_validator("temperatures")
    @classmethod
    def _none_is_negative(cls, temperatures: list[float]) -> list[float]:
        if min(temperatures) < 0:
            raise ValueError(f"temperatures must be at least 0, not {min(temperatures):g}")
        return temperatures


def run(task: Task, config: TextEvaluateConfig) -> dict[str, float]:
    """Score the model, let it write, and draw the pictures."""
    from pipelines.evaluations import text_pictures

    network = cast("LitGPT", task.model).network
    tokenizer = load_tokenizer(task.prepared)
    samples = _samples(network, tokenizer, config)
    lines = [f"== temperature {temperature:g}\n{text}\n" for temperature, text in samples]
    (task.tables / "samples.txt").write_text("\n".join(lines), encoding="utf-8")
    text_pictures.samples_page(samples, config.prompt, task.pictures / "samples.png")
    text_pictures.two_heads(network, tokenizer, config.sentence, task.pictures / "attention_two_heads.png")
    learning_curves(
        task.trained / "history.csv",
        task.learning,
        task.pictures / "learning_curves.png",
        loss="cross-entropy (nats a token)",
        hits="Share of next tokens told right, validation",
    )
    return {**_scores(task, token_bytes(tokenizer).tolist()), "tokens_per_second": _speed(network)}


def _scores(task: Task, sizes: Sequence[int]) -> dict[str, float]:
    """Score how well each next token of the test part is told, from what its window has of those before it.

    The bytes are those of the tokens that are told, so END costs bits and has no byte.
    """
    import torch

    with torch.inference_mode():
        pairs = zip(torch.split(task.x, BATCH), torch.split(task.y, BATCH), strict=True)
        sums = torch.stack([task.model.validation_sums(x, y).double() for x, y in pairs]).sum(0)
    loss, hits = (sums / len(task.x)).tolist()
    part = task.card["parts"]["test"]
    tokens, length = task.y.numel(), int(torch.tensor(sizes)[task.y.long()].sum())
    return {
        "bits_per_byte": loss / math.log(2) * tokens / length,
        "baseline": float(part["unigram_bits_per_byte"]),
        "bigram_bits_per_byte": float(part["bigram_bits_per_byte"]),
        "loss": loss,
        "perplexity": math.exp(loss),
        "token_accuracy": hits,
        "bytes_per_token": length / tokens,
    }


def _samples(network: "GPT", tokenizer: "Tokenizer", config: TextEvaluateConfig) -> list[tuple[float, str]]:
    """Temperature and text of each sample; the text begins with the prompt."""
    import torch

    from lit_models.parts.generation import Sampling, generate

    prompt = torch.from_numpy(encode(tokenizer, [config.prompt])[:-1]).unsqueeze(0)
    samples = []
    for temperature in config.temperatures:
        sampling = Sampling(temperature, config.top_k, config.top_p, config.seed)
        ids = generate(network, prompt, config.tokens, sampling)[0, 1:].tolist()  # without the END it begins with
        samples.append((temperature, END_SHOWN.join(tokenizer.decode(piece) for piece in _pieces(ids))))
    return samples


def _pieces(ids: Sequence[int]) -> list[list[int]]:
    """The ids between those that are 0, which is END."""
    pieces: list[list[int]] = [[]]
    for token in ids:
        if token:
            pieces[-1].append(token)
        else:
            pieces.append([])
    return pieces


def _speed(network: "GPT") -> float:
    """Tokens per second when one text is written: the fastest of a few rounds."""
    import torch

    from lit_models.parts.generation import Sampling, generate

    prompt = torch.zeros(1, 1, dtype=torch.int64)
    fastest = math.inf
    for _ in range(SPEED_ROUNDS):
        began = time.perf_counter()
        generate(network, prompt, SPEED_TOKENS, Sampling())
        fastest = min(fastest, time.perf_counter() - began)
    return SPEED_TOKENS / fastest


TEXT = Evaluation(TextEvaluateConfig, run)
