"""How weights begin."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def _fan_in(weight: Tensor) -> int:
    """Return the number of inputs that one output unit sums over."""
    return weight[0].numel()


def _small_normal(weight: Tensor) -> Tensor:
    """Draw from a normal of variance 1/n, n inputs (LeCun et al., Efficient BackProp, 1998)."""
    return nn.init.normal_(weight, std=_fan_in(weight) ** -0.5)


def _kaiming_uniform(weight: Tensor) -> Tensor:
    return nn.init.kaiming_uniform_(weight, nonlinearity="relu")


def _kaiming_normal(weight: Tensor) -> Tensor:
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


# xavier: Glorot & Bengio 2010, variance 2 / (fan_in + fan_out). kaiming: He et al. 2015, variance 2 / fan_in.
# zeros is there to show why nobody uses it: all units of a layer stay alike for ever.
INITIALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_uniform": _kaiming_uniform,
    "kaiming_normal": _kaiming_normal,
    "small_normal": _small_normal,
    "zeros": nn.init.zeros_,
}


def initialize(network: nn.Module, name: str) -> None:
    """Set every weight of two dimensions or more by the named rule, and every bias to zero, in place.

    Scales of normalisation layers (one dimension) keep the 1 they were built with. `default` leaves all as
    torch built it. Draws from torch's global generator: seed it around the call.

    Raises:
        KeyError: no rule of that name.
    """
    if name == "default":
        return
    rule = INITIALIZERS[name]
    with torch.no_grad():
        for path, parameter in network.named_parameters():
            if parameter.dim() >= 2:
                rule(parameter)
            elif path.rpartition(".")[2].startswith("bias"):
                parameter.zero_()


def seeded(build: Callable[[], nn.Module], init: str, seed: int) -> nn.Module:
    """Build a network and initialize it, so that the same seed gives the same weights.

    The global CPU generator is left as it was found.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = build()
        initialize(network, init)
    return network
