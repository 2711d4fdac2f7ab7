"""Tests translators: exact match and BLEU, greedy and by beam search, on lengths known from training and on others."""

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import Field

from pipelines.evaluations import pairs_pictures
from pipelines.evaluations.base import BASELINE, Evaluation, Task
from pipelines.evaluations.curves import learning_curves
from pipelines.formats.pairs import BEGIN, END, HELD_OUT, SPECIAL, UNKNOWN, joined
from pipelines.section import Section

if TYPE_CHECKING:
    from torch import Tensor

    from lit_models.parts.decoding import Decoded
    from lit_models.transformer import LitTransformer

BATCH = 256
UNSEEN = "<unseen>"
"""What a target's token is called that the vocabulary lacks: nothing that a model writes is equal to it."""


class PairsEvaluateConfig(Section):
    """The section `experiments.<key>.evaluate` of translators."""

    beam: int = Field(default=4, ge=2, le=64, description="beginnings that the beam search keeps")
    length_penalty: float = Field(default=0.6, ge=0, le=4, description="how much the beam search helps long targets")
    examples: int = Field(default=100, ge=1, le=100_000, description="translations of each part to list, wrong first")
    steps: int = Field(default=24, ge=2, le=80, description="most tokens of the pair whose attention is drawn")


@dataclass(frozen=True)
class Result:
    """One part, translated.

    Attributes:
        name: of the part.
        x: sources (N, S).
        y: targets (N, T).
        found: how it was decoded -> what came of it.
    """

    name: str
    x: "Tensor"
    y: "Tensor"
    found: "dict[str, Decoded]"

    def right(self, decoding: str) -> "Tensor":
        """Say which targets (N,) bool were written without any fault; never one with a token that training lacks."""
        tokens = self.found[decoding].tokens
        return (tokens == self.y).all(1) & (self.y != UNKNOWN).all(1)


def run(task: Task, config: PairsEvaluateConfig) -> dict[str, float]:
    """Score the model and draw the pictures."""
    test, speed = _translate(task, "test", task.x, task.y, config)
    results = [test, *_held_out(task, config)]
    learning_curves(
        task.trained / "history.csv",
        task.learning,
        task.pictures / "learning_curves.png",
        loss="cross-entropy (nats a token)",
        hits="Validation targets right (teacher-forced)",
    )
    _list_translations(task, results, config.examples)
    pairs_pictures.accuracy_by_length(
        {r.name: ((r.y > END).sum(1).numpy(), r.right("greedy").numpy()) for r in results},
        task.pictures / "accuracy_by_length.png",
    )
    pairs_pictures.attention(task, test.right("greedy"), config.steps)
    return {**_scores(task, results), **_baselines(task), "sequences_per_second": speed}


def _held_out(task: Task, config: PairsEvaluateConfig) -> list[Result]:
    from lit_models.core.data import read_split

    path = task.prepared / HELD_OUT.replace(".tsv", ".safetensors")
    if not path.is_file():
        return []
    return [_translate(task, "held_out", *read_split(path, task.model.spec), config)[0]]


def _translate(task: Task, name: str, x: "Tensor", y: "Tensor", config: PairsEvaluateConfig) -> tuple[Result, float]:
    """Translate a part greedily and by beam search; also say how many a second greedily."""
    import time

    import torch

    from lit_models.parts.decoding import Decoded

    model = cast("LitTransformer", task.model)

    def all_of_it(beam: int) -> "Decoded":
        pieces = [model.translate(batch, beam, config.length_penalty) for batch in torch.split(x, BATCH)]
        return Decoded(*map(torch.cat, zip(*pieces, strict=True)))

    with torch.inference_mode():
        began = time.perf_counter()
        greedy = all_of_it(1)
        seconds = time.perf_counter() - began
        return Result(name, x, y, {"greedy": greedy, "beam": all_of_it(config.beam)}), len(x) / seconds


def _scores(task: Task, results: list[Result]) -> dict[str, float]:
    """Scores of each part and decoding; also written to a table, with BLEU's signature."""
    scores: dict[str, float] = {}
    with (task.tables / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["part", "decoding", "exact_match", "bleu", "mean_log_probability", "signature"])
        for result in results:
            for decoding, decoded in result.found.items():
                exact = float(result.right(decoding).double().mean())
                bleu, signature = _bleu(task.card, decoded.tokens, result.y)
                mean = float(decoded.log_probabilities.double().mean())
                table.writerow([result.name, decoding, f"{exact:.4f}", f"{bleu:.2f}", f"{mean:.4f}", signature])
                prefix = ("" if result.name == "test" else "held_out_") + ("" if decoding == "greedy" else "beam_")
                scores |= {f"{prefix}exact_match": exact, f"{prefix}bleu": bleu}
    return scores


def _bleu(card: dict[str, Any], written: "Tensor", y: "Tensor") -> tuple[float, str]:
    """BLEU (Papineni et al. 2002) by sacrebleu (Post 2018), 0 to 100, over our own tokens, and its signature."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="none", force=True)
    hypotheses = [" ".join(_visible(words(card, "target", ids))) for ids in written.tolist()]
    references = [" ".join(_visible(words(card, "target", ids, UNSEEN))) for ids in y.tolist()]
    score = metric.corpus_score(hypotheses, [references]).score
    return float(score), str(metric.get_signature())


def words(card: dict[str, Any], side: str, ids: list[int], unknown: str = SPECIAL[UNKNOWN]) -> list[str]:
    """Name the tokens of a `source` or a `target`, without padding and what frames it, up to its end."""
    vocabulary = card[f"{side}_vocabulary"]
    if side == "target":
        ids = ids[: ids.index(END)] if END in ids else ids
        ids = [number for number in ids if number != BEGIN]
    return [unknown if number == UNKNOWN else vocabulary[number] for number in ids if number]


def _visible(tokens: list[str]) -> list[str]:
    """Characters may be blanks, at which sacrebleu would split."""
    return [token.replace(" ", "\u2423") for token in tokens]


def _baselines(task: Task) -> dict[str, float]:
    """Exact match of what needs no learning: the source as it is, or the training set's most frequent target."""
    from lit_models.core.data import read_split

    _, y = read_split(task.prepared / "train.safetensors", task.model.spec)
    targets, counts = np.unique(y.numpy(), axis=0, return_counts=True)
    frequent = float((task.y.numpy() == targets[counts.argmax()]).all(1).mean())
    same = [
        words(task.card, "source", source, "<lost>") == words(task.card, "target", target, UNSEEN)
        for source, target in zip(task.x.tolist(), task.y.tolist(), strict=True)
    ]
    copied = sum(same) / len(same)
    return {BASELINE: max(copied, frequent), "copy_exact_match": copied, "most_frequent_exact_match": frequent}


def _list_translations(task: Task, results: list[Result], most: int) -> None:
    """Write `most` translations of each part, the wrong ones first."""
    with (task.tables / "translations.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["part", "source", "target", "greedy", "greedy_right", "beam", "beam_right"])
        for result in results:
            order = result.right("greedy").int().argsort(stable=True)[:most].tolist()
            for i in order:
                row = [
                    result.name,
                    *(_text(task.card, *side) for side in (("source", result.x[i]), ("target", result.y[i]))),
                ]
                for decoding, decoded in result.found.items():
                    row += [_text(task.card, "target", decoded.tokens[i]), str(bool(result.right(decoding)[i])).lower()]
                table.writerow(row)


def _text(card: dict[str, Any], side: str, ids: "Tensor") -> str:
    return joined(words(card, side, ids.tolist()), card["tokens"])


PAIRS = Evaluation(PairsEvaluateConfig, run)
