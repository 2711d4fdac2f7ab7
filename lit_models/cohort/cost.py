"""Whether to fuse, and how many lanes: a rule over what a step costs, or a timed probe where one is asked for.

Fusing spares kernels' overhead, and gives up some of the speed at which large kernels run. So what decides is the work
of one kernel: below a threshold overhead rules and fusing gains, above it fusing loses. The thresholds come from
`python -m lit_models.cohort.bench`; docs/search.md has the table.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lit_models.cohort.engine import Engine, Setting
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lanes import Lane
from lit_models.cohort.lone import LoneEngine
from lit_models.core.base import FamilyConfig, LitModel
from lit_models.core.data import EVAL_BATCH
from lit_models.specs.base import DataSpec

EngineName = Literal["fused", "lone"]

# Floating-point operations of one kernel, forward and backward, of one lane's step, below which fusing pays. On a GPU
# measured on an H100: ten times as fast at 33 million, six times at 71, no faster at 519.
FUSE_BELOW = {"cpu": 4e6, "cuda": 4e8}
# More lanes than this gain nothing more.
MOST_LANES = {"cpu": 32, "cuda": 128}
# Whether fused steps go through torch.compile where nobody says. Compiling takes half a minute and more for each number
# of lanes, longer than the searches that fusing is for; on a GPU it makes a Transformer 1.8 times as fast as CUDA
# graphs do, and a CNN no faster.
COMPILE = {"cpu": False, "cuda": False}
# A lone cohort saves imports alone; small ones spread better over workers.
LONE_LANES = 4
# Weights, gradients, two moments, and working memory beside the activations of forward and backward.
COPIES = 5
# Activations that are in memory at a time where none is kept for backward.
LIVE = 4


@dataclass(frozen=True)
class Cost:
    """What one lane's step of training costs.

    Attributes:
        flops: floating-point operations of forward and backward.
        kernels: nodes of the graph that backward walks, which is about how many kernels forward starts.
        bytes: memory that a lane takes: weights, gradients, moments, activations.
        shared: memory that a cohort takes beside its lanes: what validation works on, and the data.
    """

    flops: int
    kernels: int
    bytes: int
    shared: int = 0

    @property
    def flops_per_kernel(self) -> float:
        """The work of a kernel."""
        return self.flops / self.kernels


def step_cost(family: type[LitModel], config: FamilyConfig, spec: DataSpec, samples: int = 0) -> Cost:
    """Count without computing: the model is built and run on torch's meta device.

    Args:
        family: the class of the model.
        config: its hyperparameters.
        spec: the data it is built for.
        samples: of the training and the validation set together, which every worker holds.
    """
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.device("meta"):
        model = family(config.model_copy(update={"init": "default", "precision": "32"}), spec)
        model = model.to("meta").train()  # with the tensors that the spec brought along
        x, y = spec.blank(config.batch_size)
        weights = sum(parameter.nbytes for parameter in model.parameters())
        if family.ALONE:  # there is nothing to decide
            return Cost(1, 1, COPIES * weights)
        counter = FlopCounterMode(display=False)
        with counter, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = model.training_losses(x, y, 0, None).mean()
            kernels = _nodes(loss)
            torch.autograd.backward(loss)
    # Validation keeps nothing for a backward; a few of the largest activations are there at a time.
    validation = LIVE * max(kept, default=0) * max(1, EVAL_BATCH // config.batch_size)
    data = samples * (x.nbytes + y.nbytes) // config.batch_size
    return Cost(counter.get_total_flops(), kernels, COPIES * weights + 2 * sum(kept), validation + data)


def _nodes(loss: Tensor) -> int:
    """Count the nodes of the graph that ends in `loss`."""
    seen, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [parent for parent, _ in node.next_functions]
    return max(1, len(seen))


def choose_engine(cost: Cost, device: str) -> EngineName:
    """Say which engine is faster; the same answer every time for one kind of device."""
    return "fused" if cost.flops_per_kernel < FUSE_BELOW[device] else "lone"


def choose_lanes(cost: Cost, engine: EngineName, device: str, memory: int) -> int:
    """Say how many lanes a cohort has at most, 0 if the memory (bytes) is too little for one."""
    most = MOST_LANES[device] if engine == "fused" else LONE_LANES
    # The lone engine keeps every lane's weights and moments, but the activations of one alone.
    if memory < cost.bytes:
        return 0
    return max(1, min(most, (memory - cost.shared) // cost.bytes))


def probe(lanes: Sequence[Lane], setting: Setting) -> EngineName:
    """Time an epoch of both engines, after two to warm up (a GPU notes its graphs down), and return the faster."""
    seconds: dict[EngineName, float] = {}
    engines: dict[EngineName, Engine] = {"fused": FusedEngine(lanes, setting), "lone": LoneEngine(lanes, setting)}
    for name, engine in engines.items():
        for epoch in range(2):
            engine.run_epoch(epoch)
        began = time.perf_counter()
        engine.run_epoch(2)
        seconds[name] = time.perf_counter() - began
    return min(seconds, key=lambda name: seconds[name])


def obstacle(lanes: Sequence[Lane], setting: Setting) -> str:
    """Try a step of two lanes, and say why they cannot be fused, or nothing if they can."""
    few = replace(setting.data, x=setting.data.x[:2], y=setting.data.y[:2], val_x=setting.data.val_x[:2])
    few = replace(few, val_y=setting.data.val_y[:2])
    try:
        FusedEngine(lanes, replace(setting, data=few)).run_epoch(0)
    except (RuntimeError, ValueError, TypeError) as error:  # what torch.vmap and our own check refuse with
        return str(error).splitlines()[0][:200]
    return ""
