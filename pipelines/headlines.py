"""The score that counts for each form of data: what the report ranks by, and the evaluation says first."""

from typing import NamedTuple


class Headline(NamedTuple):
    """One of the scores in metrics.json.

    Attributes:
        name: its key.
        higher_is_better: whether a higher one is better.
    """

    name: str
    higher_is_better: bool


HEADLINES = {
    "image": Headline("accuracy", True),
    "tokens": Headline("accuracy", True),
    "series": Headline("mse", False),
    "text": Headline("bits_per_byte", False),
    "pairs": Headline("exact_match", True),
    "graph": Headline("accuracy", True),
    "graphs": Headline("accuracy", True),
    "control": Headline("mean_return", True),
}
