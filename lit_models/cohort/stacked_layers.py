"""How some layers of stacked lanes are computed: lane by lane, as dense matrices, or as torch does.

Under `torch.vmap` the convolutions of K lanes become one with K groups, and their batch norms one over K times the
channels. Which kernel a CPU's library takes for that, and where its vectors end, depends on K and on a lane's place, so
that a lane's bits would too; and one layer after another is up to three times faster. Tiny images are convolved by
dense matrices, which is faster still (`dense_conv`), on a GPU too; else torch's own way stays there. For torch's
recurrent layers `torch.vmap` has no way of its own, so on a CPU they go lane by lane: each walks its steps in C++,
several times as fast as stacked lanes that walk them in Python. On a GPU stacked lanes walk (`stacked_recurrence`).
Max pooling goes by whole rows of numbers on a CPU (`stacked_pooling`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lit_models.cohort import dense_conv, stacked_pooling
from lit_models.cohort.dense_conv import dense_conv2d
from lit_models.cohort.stacked_pooling import max_pool2x2
from lit_models.cohort.stacked_recurrence import walk

Pair = tuple[int, int]


class StackedLayers(TorchFunctionMode):
    """While active, layers on a CPU go by what suits stacked lanes; to be used around `torch.vmap`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, or what replaces it."""
        replacement = REPLACEMENTS.get(func)
        return (replacement or func)(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor,  # noqa: A002  # torch's name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    # Any: torch's own annotation takes no tuple that is a choice of kinds.
    layout: Any = (_pair(stride), padding if isinstance(padding, str) else _pair(padding), _pair(dilation), groups)
    if input.dim() == 4 and dense_conv.pays(input, weight, bias, *layout):
        return dense_conv2d(input, weight, bias, *layout)
    return _on_device(partial(_convolve, layout), input, weight, bias)


def _convolve(layout: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.conv2d(x, weight, bias, *layout)


def _conv1d(
    input: Tensor,  # noqa: A002  # torch's name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    return _on_device(partial(_convolve_steps, (stride, padding, dilation, groups)), input, weight, bias)


def _convolve_steps(layout: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.conv1d(x, weight, bias, *layout)


def _pair(value: int | Sequence[int]) -> Pair:
    both = (value,) if isinstance(value, int) else tuple(value)
    return both[0], both[-1]


def _batch_norm(
    input: Tensor,  # noqa: A002  # torch's name
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    call = partial(_normalize, (training, momentum, eps))
    return _on_device(call, input, running_mean, running_var, weight, bias)


def _normalize(settings: Any, x: Tensor, *statistics_and_scale: Tensor | None) -> Tensor:
    return F.batch_norm(x, *statistics_and_scale, *settings)  # type: ignore[arg-type]


def _recurrent(
    layer: Callable[..., tuple[Tensor, ...]], x: Tensor, state: Tensor | Sequence[Tensor], *rest: Any
) -> tuple[Tensor, ...]:
    """Call one of torch's recurrent layers of padded sequences: `rest` is its weights, and what is no tensor."""
    weights, *settings = rest
    alone = isinstance(state, Tensor)
    states = (state,) if isinstance(state, Tensor) else tuple(state)
    if x.is_cuda:
        return (walk(layer, x, states, weights),)

    def call(x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        return layer(x, tensors[0] if alone else tensors[: len(states)], tensors[len(states) :], *settings)

    results: tuple[Tensor, ...] = _LaneByLane.apply(call, x, *states, *weights)
    return results


def _max_pool2d(
    input: Tensor,  # noqa: A002  # torch's name
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    # Any: see `_conv2d`.
    layout: Any = (_pair(kernel_size), _pair(stride or kernel_size), _pair(padding), _pair(dilation))
    if not return_indices and stacked_pooling.pays(input, *layout):
        return max_pool2x2(input)
    rest: Any = (ceil_mode, return_indices)
    return F.max_pool2d(input, *layout, *rest)


REPLACEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.conv1d: _conv1d,
    torch.conv2d: _conv2d,
    F.max_pool2d: _max_pool2d,
    F.batch_norm: _batch_norm,
    **{layer: partial(_recurrent, layer) for layer in (torch.lstm, torch.gru, torch.rnn_tanh)},
}


def _on_device(call: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """Call a function of tensors, the first of which is there: lane by lane on a CPU, as it is elsewhere."""
    first = inputs[0]
    on_cpu = first is not None and first.device.type == "cpu"
    return lane_by_lane(call, *inputs) if on_cpu else call(*inputs)


def lane_by_lane(call: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """Call a function of tensors; under `torch.vmap`, once for each lane.

    It may change inputs that need no gradient in place.
    """
    result: Tensor = _LaneByLane.apply(call, *inputs)
    return result


class _LaneByLane(torch.autograd.Function):
    """A call whose rule under `torch.vmap` is a loop; backward there goes through what the loop did."""

    @staticmethod
    def forward(call: Callable[..., Any], *inputs: Tensor | None) -> Any:
        return call(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        del output
        ctx.call = inputs[0]
        ctx.save_for_backward(*(None if value is None else value.detach().clone() for value in inputs[1:]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Call again: only what has no lanes, so hardly ever anything, comes here."""
        wanted = [place for place, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
        inputs = list(ctx.saved_tensors)
        for place in wanted:
            inputs[place].requires_grad_()
        with torch.enable_grad():
            y = ctx.call(*inputs)
        found = dict(zip(wanted, torch.autograd.grad(y, [inputs[place] for place in wanted], gradients), strict=True))
        return None, *(found.get(place) for place in range(len(inputs)))

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], call: Callable[..., Any], *inputs: Tensor | None
    ) -> tuple[Any, Any]:
        """Call for each lane; taken apart by unbind, whose backward is a single stack."""
        columns = [_lanes(value, dim, info.batch_size) for value, dim in zip(inputs, in_dims[1:], strict=True)]
        results = [call(*own) for own in zip(*columns, strict=True)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])


def _lanes(value: Tensor | None, dim: int | None, count: int) -> Sequence[Tensor | None]:
    """Return what each lane has of a tensor: all the same where it has no lanes."""
    return [value] * count if value is None or dim is None else value.unbind(dim)
