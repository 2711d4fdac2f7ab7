"""Recurrent networks: stacked RNN, LSTM or GRU, read out at the end, on average, or by attention."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from lit_models.core.config import FamilyConfig, InitName
from lit_models.core.sequence import SequenceConfig, SequenceModel
from lit_models.parts.pooling import Pool
from lit_models.parts.recurrent import CellName, RecurrentStack


class RNNConfig(SequenceConfig):
    """Hyperparameters of recurrent networks."""

    init: InitName = Field("default", description="how weights begin; `default` is orthogonal from state to state")
    cell: CellName = Field("lstm", description="what happens at each step")
    embedding: int = Field(
        32, ge=0, le=65536, description="numbers a step goes in as; 0 is one-hot tokens, or a series as it is"
    )
    width: int = Field(64, ge=1, le=65536, description="numbers of the state, for each direction")
    layers: int = Field(1, ge=1, le=100, description="recurrent layers, one on another")
    bidirectional: bool = Field(False, description="whether sequences are read backwards too")
    readout: Literal["last", "mean", "attention"] = Field("last", description="what is made of the states")
    forget_bias: float = Field(
        1.0, ge=-10, le=10, description="added to the gate that remembers, of `lstm` and `gru`; 1 helps over many steps"
    )


class LitRNN(SequenceModel):
    """A recurrent network; dropout is between layers and before the last linear layer."""

    Config: ClassVar[type[FamilyConfig]] = RNNConfig
    config: RNNConfig

    def build(self) -> nn.Module:
        """Build the network."""
        config, entry = self.config, self.entry(self.config.embedding)
        body = RecurrentStack(
            config.cell,
            entry.width,
            config.width,
            config.layers,
            config.bidirectional,
            config.dropout,
            config.forget_bias,
        )
        return self.reader(entry, body, Pool(config.readout, body.width, both=config.bidirectional), body.width)

    def attention(self, x: Tensor) -> Tensor:
        """Return how much the readout `attention` looks at each step: (B, T), rows sum to 1.

        Raises:
            ValueError: the readout is another.
        """
        return self.network.pool.weights(*self.network.read(self.normalize(x)))
