"""A step of the fused engine through `torch.compile`: traced once for each set of shapes, then compiled.

`torch.compile` cannot follow Python that copies pydantic models and sets attributes for the time of a call, as our
lanes do. `make_fx` sees the operators alone that such Python calls, backward's among them, and what it notes down is a
plain graph. On a GPU that becomes Triton kernels, replayed as one CUDA graph, so that none waits for Python; on a CPU
it becomes C++.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# "reduce-overhead" is torch's name for CUDA graphs.
MODE = {"cpu": "default", "cuda": "reduce-overhead"}
BACKEND = "inductor"

Group = Mapping[Any, Tensor]
Step = Callable[..., tuple[Tensor, ...]]
Flat = Callable[..., tuple[Tensor, ...]]


class Compiled:
    """Calls a function of groups of tensors as `torch.compile` makes it.

    What the function reads beside its arguments is taken to be the same at every call of the same shapes.

    Args:
        step: takes the state, which it changes in place, and other groups; returns tensors.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._ready: dict[tuple[torch.Size, ...], Flat] = {}

    def __call__(self, state: Group, *groups: Group) -> tuple[Tensor, ...]:
        """Do what `step` does.

        Raises:
            RuntimeError: it cannot be compiled; says why in one line.
        """
        inputs = [tensor for group in (state, *groups) for tensor in group.values()]
        shapes = tuple(tensor.shape for tensor in inputs)
        with torch.no_grad():
            if shapes in self._ready:
                results = self._call(self._ready[shapes], inputs)
            else:
                results = self._first(shapes, inputs, (state, *groups))
            for old, new in zip(state.values(), results, strict=False):
                old.copy_(new)
        # A CUDA graph writes its next results where these are.
        return tuple(result.clone() for result in results[len(state) :])

    def _call(self, compiled: Flat, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return compiled(*inputs)

    def _first(
        self, shapes: tuple[torch.Size, ...], inputs: list[Tensor], groups: tuple[Group, ...]
    ) -> tuple[Tensor, ...]:
        """Trace, compile and call for the first time with these shapes."""
        from torch.fx.experimental.proxy_tensor import make_fx

        try:
            with warnings.catch_warnings():
                # Torch's compilers warn of what is their own: what is deprecated within torch, which trick is off.
                warnings.simplefilter("ignore")
                # By operators, with real tensors: what is cached on the way must be good for other calls too.
                with torch.enable_grad():
                    graph = make_fx(self._flat(groups))(*inputs)
                compiled = torch.compile(
                    graph, fullgraph=True, dynamic=False, backend=BACKEND, mode=MODE[inputs[0].device.type]
                )
                results = self._call(compiled, inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of torch's many compilers
            text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise RuntimeError(f"torch.compile failed: {text[:160]}") from error
        self._ready[shapes] = compiled
        return results

    def _flat(self, like: tuple[Group, ...]) -> Flat:
        """The step as a function of tensors that returns the changed state too, and changes nothing."""

        def flat(*inputs: Tensor) -> tuple[Tensor, ...]:
            rest = iter(inputs)
            groups = [{name: next(rest) for name in group} for group in like]
            groups[0] = {name: tensor.clone() for name, tensor in groups[0].items()}
            results = self._step(*groups)
            return (*groups[0].values(), *results)

        return flat
