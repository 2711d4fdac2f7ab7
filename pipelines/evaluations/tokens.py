"""Tests classifiers of token sequences: scores, confusion, worst mistakes, and how the model reads."""

import csv
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.evaluations import classification, logos, reading
from pipelines.evaluations.base import Evaluation, Task
from pipelines.evaluations.curves import learning_curves
from pipelines.evaluations.sequence_pictures import Passage, evolution, heads, passages
from pipelines.evaluations.speed import predict
from pipelines.section import Section

if TYPE_CHECKING:
    from torch import Tensor

MOST_TOKENS = 150
"""What is shown of a sequence as text."""

DNA = {"", "A", "C", "G", "T", "N"}
"""The tokens that sequences of DNA may have."""


class TokensEvaluateConfig(Section):
    """The section `experiments.<key>.evaluate` of classifiers of token sequences."""

    mistakes: int = Field(default=10, ge=1, le=100, description="worst mistakes to picture")
    calibration_bins: int = Field(default=15, ge=2, le=1000, description="bins of the calibration error")
    examples: int = Field(default=4, ge=1, le=20, description="sequences to shade by a readout's attention")
    steps: int = Field(default=28, ge=2, le=80, description="tokens of the sequence that states and heads are drawn of")
    filters: int = Field(default=16, ge=1, le=256, description="filters to picture of a network that reads DNA")


def run(task: Task, config: TokensEvaluateConfig) -> dict[str, float]:
    """Score the model and draw the pictures that it has to offer."""
    logits, speed = predict(task.model, task.x)
    table, picture = task.confusion / "confusion.csv", task.pictures / "confusion.png"
    classification.confusion(task.y, logits.argmax(1), task.card["classes"], table, picture)
    learning_curves(task.trained / "history.csv", task.learning, task.pictures / "learning_curves.png")
    _mistakes(task, logits, config.mistakes)
    _attention(task, logits, config.examples)
    position = _example(task, logits, config.steps)
    x = task.x[position][None].clone()
    x[:, config.steps :] = 0
    _evolution(task, x, int(task.y[position]))
    _heads(task, x)
    found = _filters(task, config.filters)
    scores = classification.scores(logits, task.y, task.card, config.calibration_bins)
    return {**scores, **found, "sequences_per_second": speed}


def names(card: dict[str, Any], ids: "Tensor") -> list[str]:
    """The tokens of one sequence (T,) as text, without the padding."""
    vocabulary = card["vocabulary"]
    return [vocabulary[i] if isinstance(vocabulary, list) else str(i) for i in ids.tolist() if i]


def _mistakes(task: Task, logits: "Tensor", most: int) -> None:
    classes = task.card["classes"]
    wrong = classification.surest_mistakes(logits, task.y, most)
    with (task.tables / "worst_mistakes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["example", "actual", "predicted", "sure", "tokens"])
        for m in wrong:
            text = " ".join(names(task.card, task.x[m.position]))
            writer.writerow([m.position, classes[m.actual], classes[m.predicted], f"{m.sure:.4f}", text])
    captions = [f"{classes[m.actual]} read as {classes[m.predicted]} ({m.sure:.0%} sure)" for m in wrong]
    title = "Worst mistakes" if wrong else "No mistakes on the test set"
    found = _passages(task, [m.position for m in wrong], captions)
    note = _note(task, "Those that the model was surest of come first.")
    passages(title, note, found, task.pictures / "worst_mistakes.png")


def _attention(task: Task, logits: "Tensor", most: int) -> None:
    """Shade by the readout's attention what was read right: of each class in turn, what the model was surest of."""
    if reading.readout_weights(task.model, task.x[:1]) is None:
        return
    sure, predicted = logits.softmax(1).max(1)
    right = [i for i in sure.argsort(descending=True, stable=True).tolist() if predicted[i] == task.y[i]]
    of_class = [[i for i in right if task.y[i] == label] for label in range(len(task.card["classes"]))]
    in_turn = [i for rank in zip_longest(*of_class) for i in rank if i is not None][:most]
    captions = [f"{task.card['classes'][task.y[i]]} ({sure[i]:.0%} sure)" for i in in_turn]
    path = task.pictures / "attention_over_steps.png"
    passages("Attention over time steps", _note(task, ""), _passages(task, in_turn, captions), path)


def _note(task: Task, text: str) -> str:
    """`text`, and what the shades of passages mean if they have any."""
    attends = reading.readout_weights(task.model, task.x[:1]) is not None
    return f"{text} The darker a token, the more the readout attends to it.".strip() if attends else text


def _passages(task: Task, positions: list[int], captions: list[str]) -> list[Passage]:
    """Sequences as passages, shaded by the readout's attention, if it attends."""
    found = []
    for position, caption in zip(positions, captions, strict=True):
        x = task.x[position : position + 1]
        tokens = names(task.card, x[0])
        weights = reading.readout_weights(task.model, x)
        cut = f", the first {MOST_TOKENS} of {len(tokens)} tokens" if len(tokens) > MOST_TOKENS else ""
        shades = [0.0] * len(tokens) if weights is None else weights[0].tolist()
        found.append(Passage(caption + cut, tokens[:MOST_TOKENS], shades[: min(len(tokens), MOST_TOKENS)]))
    return found


def _example(task: Task, logits: "Tensor", most: int) -> int:
    """The position of a sequence that was read right, if there is one; the longest of at most `most` tokens."""
    lengths = (task.x != 0).sum(1)
    right = logits.argmax(1) == task.y
    fits = lengths <= most
    # What was read right goes before what was not, what fits before what must be cut, long before short.
    rank = right * 4 * most + fits * (most + lengths)
    return int(rank.argmax())


def _evolution(task: Task, x: "Tensor", label: int) -> None:
    """Draw a recurrent network's states over one sequence (1, length), and what it would answer after each token."""
    states = reading.states(task.model, x)
    if states is None:
        return
    tokens = names(task.card, x[0])
    prefixes = x.repeat(len(tokens), 1).tril()
    logits, _ = predict(task.model, prefixes)
    path = task.pictures / "state_evolution.png"
    shares = logits.softmax(1).numpy()
    caption = f"a sequence of the class {task.card['classes'][label]}"
    evolution(tokens, states[0, : len(tokens)], shares, task.card["classes"], caption, path)


def _heads(task: Task, x: "Tensor") -> None:
    """Draw the two heads whose attention over one sequence (1, length) differs most."""
    found = reading.head_weights(task.model, x)
    if found is None or found.shape[0] * found.shape[2] < 2:
        return
    tokens = names(task.card, x[0])
    count = len(tokens)
    two = reading.differing_heads(found[:, 0, :, :count, :count])
    heads(tokens, list(two.values()), list(two), task.pictures / "two_heads.png")


def _filters(task: Task, most: int) -> dict[str, float]:
    """Draw the filters of a network that reads DNA; return how well the best ones match the planted motifs, if any."""
    vocabulary = task.card["vocabulary"]
    filters = reading.first_filters(task.model)
    if filters is None or not isinstance(vocabulary, list) or not set(logos.LETTERS) <= set(vocabulary) <= DNA:
        return {}
    ids = [vocabulary.index(letter) for letter in logos.LETTERS]
    found = logos.frequencies(filters, task.x.numpy(), ids)
    logos.all_filters(found, most, task.pictures / "first_layer_filters.png")
    motifs = task.card.get("motifs")
    if not motifs:
        return {}
    matches = logos.beside_motifs(motifs, found, task.pictures / "motif_filters.png")
    return {"motif_correlation": min(match.correlation for match in matches.values())}


TOKENS = Evaluation(TokensEvaluateConfig, run)
