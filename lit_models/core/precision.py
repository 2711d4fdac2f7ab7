"""Mixed precision: layers in bfloat16, norms and losses in float32, alone and under `torch.vmap` alike."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode

HALF = torch.bfloat16
# Under `torch.vmap` autocast does not reach convolutions, which are rewritten before it looks.
LAYERS = frozenset({torch.conv1d, torch.conv2d, torch.conv3d})
# A norm of half precision with scales of full precision is refused under `torch.vmap`, and squares need the digits.
NORMS = frozenset({F.batch_norm, F.layer_norm, F.group_norm, F.instance_norm})


@contextmanager
def half_precision(device: str) -> Iterator[None]:
    """Compute layers in bfloat16 while the block works; weights and float64 stay what they are.

    Args:
        device: kind of device, `cpu` or `cuda`.
    """
    with torch.autocast(device, HALF), _Casts():
        yield


class _Casts(TorchFunctionMode):
    """Casts what autocast leaves to chance."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in LAYERS:
            return _called(func, args, kwargs, torch.float32, HALF)
        return _called(func, args, kwargs, HALF, torch.float32) if func in NORMS else func(*args, **kwargs)


def _called(
    func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], kind: torch.dtype, wanted: torch.dtype
) -> Any:
    """Call with every tensor of one kind as another."""

    def cast(value: Any) -> Any:
        return value.to(wanted) if isinstance(value, Tensor) and value.dtype == kind else value

    return func(*map(cast, args), **{name: cast(value) for name, value in kwargs.items()})
