"""Model families as Lightning modules: networks, tricks of training, data loading and the train entry.

Depends on torch, Lightning and their kin alone. To add a family, write its file (its `Config` above its
module) and add one line to `FAMILIES`; the conformance suite in `tests/lit_models` picks it up by itself.
"""

import os

from lit_models.cnn import LitCNN
from lit_models.conv1d import LitConv1d
from lit_models.core.base import FamilyConfig, LitModel
from lit_models.dqn import LitDQN
from lit_models.encoder import LitEncoder
from lit_models.gnn import LitGNN
from lit_models.gpt import LitGPT
from lit_models.mlp import LitMLP
from lit_models.ppo import LitPPO
from lit_models.resnet import LitResNet
from lit_models.rnn import LitRNN
from lit_models.specs.base import DataSpec, ImageSpec
from lit_models.transformer import LitTransformer

FAMILIES: dict[str, type[LitModel]] = {
    "mlp": LitMLP,
    "cnn": LitCNN,
    "resnet": LitResNet,
    "conv1d": LitConv1d,
    "rnn": LitRNN,
    "encoder": LitEncoder,
    "transformer": LitTransformer,
    "gpt": LitGPT,
    "gnn": LitGNN,
    "dqn": LitDQN,
    "ppo": LitPPO,
}

# MKL chooses a product's kernel by where its operands lie in memory, unless told that the same numbers shall give the
# same bits. It looks when it is first called, and importing torch does not call it.
os.environ.setdefault("MKL_CBWR", "AUTO")

__all__ = ["FAMILIES", "DataSpec", "FamilyConfig", "ImageSpec", "LitModel"]
