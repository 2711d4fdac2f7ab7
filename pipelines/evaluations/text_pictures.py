"""Pictures of models of text: a page of samples, and where two heads look."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.evaluations.lettering import MONOSPACE, plain
from pipelines.evaluations.reading import differing_heads
from pipelines.evaluations.sequence_pictures import heads
from pipelines.formats.tokenization import encode
from pipelines.pictures import save

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lit_models.gpt import GPT

INK, ACCENT = "#22303c", "#22577a"
COLUMNS, LINES = 100, 14
"""Letters of a line and lines of a sample on the page; what is longer is cut."""
PAGE, MARGIN, LEADING, SIZE = 9.0, 0.4, 0.17, 9
"""Width, margin and distance of lines in inches; points of a letter."""
MOST_STEPS = 32


def samples_page(samples: Sequence[tuple[float, str]], prompt: str, picture: Path) -> None:
    """Draw a page of samples, one below the other, each under its temperature.

    Args:
        samples: temperature and text of each.
        prompt: what all go on from.
        picture: the PNG to write.
    """
    from matplotlib.figure import Figure

    blocks = [(f"temperature {temperature:g}", _wrapped(text)) for temperature, text in samples]
    height = 2 * MARGIN + 0.3 + sum(0.55 + LEADING * len(lines) for _, lines in blocks)
    figure = Figure(figsize=(PAGE, height))

    def write(y: float, text: str, **style: Any) -> None:
        options = {"va": "top", "parse_math": False, "color": INK, "fontsize": SIZE, **style}
        figure.text(MARGIN / PAGE, y / height, text, **options)

    top = height - MARGIN
    shown = f"going on from {plain(prompt)!r}" if prompt else "beginning a document"
    write(top, f"Samples, {shown}", fontsize=13)
    top -= 0.5
    for caption, lines in blocks:
        write(top, caption, color=ACCENT, fontsize=10, weight="bold")
        top -= 0.25
        for line in lines:
            write(top, line, family=MONOSPACE)
            top -= LEADING
        top -= 0.3
    save(figure, picture)


def _wrapped(text: str) -> list[str]:
    """The text as lines that fit the page, several blank ones as one; an ellipsis where there are more."""
    lines: list[str] = []
    for line in text.expandtabs(4).split("\n"):
        if line.strip():
            indent = " " * min(len(line) - len(line.lstrip()), COLUMNS // 2)
            lines += textwrap.wrap(plain(line), COLUMNS, subsequent_indent=indent)
        elif lines and lines[-1]:
            lines.append("")
    kept = lines[: LINES - 1] if len(lines) > LINES else lines
    while kept and not kept[-1]:
        kept.pop()
    return [*kept, "\u2026"] if len(lines) > LINES else kept


def two_heads(network: "GPT", tokenizer: "Tokenizer", sentence: str, picture: Path) -> None:
    """Draw where the two heads that differ most look, over one sentence; none if there is one head in all."""
    import torch

    ids = encode(tokenizer, [sentence])[:-1][: min(MOST_STEPS, network.length)]  # END before it, but not after
    tokens = [tokenizer.decode([token], skip_special_tokens=False) for token in ids]
    with torch.inference_mode():
        weights = network.attention(torch.from_numpy(ids).unsqueeze(0))[:, 0].double().numpy()
    two = differing_heads(weights, skip=1)
    if len(two) == 2:
        heads(tokens, list(two.values()), list(two), picture)
