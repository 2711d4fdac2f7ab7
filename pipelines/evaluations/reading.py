"""What models tell of how they read a sequence, if they do: attention, and states of a recurrent network."""

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from lit_models.core.base import LitModel

Floats = NDArray[np.float64]


def readout_weights(model: "LitModel", x: "Tensor") -> Floats | None:
    """How much a recurrent network's readout attends to each step (N, T), None if it does not."""
    from lit_models.rnn import LitRNN

    if isinstance(model, LitRNN) and model.config.readout == "attention":
        return _told(model.attention, x)
    return None


def states(model: "LitModel", x: "Tensor") -> Floats | None:
    """The states (N, T, units) of a recurrent network's last layer, as it reads forwards; None of another network."""
    from lit_models.rnn import LitRNN

    return _told(model.states, x)[..., : model.config.width] if isinstance(model, LitRNN) else None


def head_weights(model: "LitModel", x: "Tensor") -> Floats | None:
    """How much each step attends to each: (blocks, N, heads, T, T), None without self-attention."""
    from lit_models.encoder import LitEncoder

    return _told(model.attention, x) if isinstance(model, LitEncoder) else None


def differing_heads(weights: Floats, skip: int = 0) -> dict[str, Floats]:
    """The two heads that differ most, by name; of fewer, all.

    Args:
        weights: (blocks, heads, T, S).
        skip: columns that do not count. Heads that have nothing to say look at the first step (Xiao et al., Efficient
            streaming language models with attention sinks, 2023).

    Returns:
        Two entries (T, S), or one.
    """
    found = {
        f"block {block + 1}, head {head + 1}": weights[block, head]
        for block in range(weights.shape[0])
        for head in range(weights.shape[1])
    }
    pairs = combinations(found, 2)
    told = {name: own[:, skip:] for name, own in found.items()}
    pair = max(pairs, key=lambda two: float(np.abs(told[two[0]] - told[two[1]]).sum()), default=tuple(found))
    return {name: found[name] for name in pair}


def first_filters(model: "LitModel") -> Floats | None:
    """The first convolution's weights for each token: (filters, vocabulary, width), None without one."""
    from lit_models.conv1d import LitConv1d

    return _told(model.first_filters) if isinstance(model, LitConv1d) else None


def _told(ask: Any, *arguments: Any) -> Floats:
    """What a method of the model returns."""
    import torch

    with torch.inference_mode():
        told: Floats = ask(*arguments).double().numpy()
    return told
