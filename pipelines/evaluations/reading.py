"""What models tell of how they read a sequence, if they do: attention, and states of a recurrent network."""

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
