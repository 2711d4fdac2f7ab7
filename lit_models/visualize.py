"""What a trained network looks for: its first layer's filters, and for any conv layer the images that excite them."""

import torch
from torch import Tensor, nn

from lit_models.core.image import ImageModel

STEP = 0.05
PULL = 0.01
STARTS = 64


def first_layer_filters(model: ImageModel) -> Tensor | None:
    """Return the weights (filters, C, h, w) of the first layer that sees pixels, or None if it has none.

    A linear layer over all pixels is shown as images of the input's size.
    """
    for module in model.network.modules():
        if isinstance(module, nn.Conv2d):
            return module.weight.detach().clone()
        if isinstance(module, nn.Linear):
            channels, height, width = model.spec.shape
            if module.in_features != channels * height * width:
                return None
            return module.weight.detach().reshape(-1, channels, height, width).clone()
    return None


def conv_layers(model: ImageModel) -> dict[str, nn.Conv2d]:
    """The network's convolutions by name, in the order in which they were made."""
    return {name: module for name, module in model.network.named_modules() if isinstance(module, nn.Conv2d)}


def maximizing_images(model: ImageModel, layer: nn.Conv2d, filters: int, steps: int, seed: int = 0) -> Tensor:
    """Climb from noise to the images that maximize a layer's filters (Erhan et al., 2009).

    All filters climb at once, each on its own image, for the unit in the middle of its map: the mean over the map
    would show little more than whether a filter likes light or dark. Images keep to the range of real pixels, and a
    small pull to the mean image fades what the unit does not see (Yosinski et al., 2015).

    Args:
        model: in evaluation mode; its weights stay as they are.
        layer: one of `conv_layers(model)`.
        filters: how many of the layer's filters, the first ones.
        steps: gradient steps.
        seed: of the noise.

    Returns:
        (filters, C, H, W), float in [0, 1].
    """
    count = min(filters, layer.out_channels)
    generator = torch.Generator().manual_seed(seed)
    mean = torch.tensor(model.spec.mean).view(1, -1, 1, 1)
    starts = 0.5 * (mean + torch.rand(STARTS, *model.spec.shape, generator=generator))
    caught: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: caught.append(output))

    def middle(images: Tensor) -> Tensor:
        caught.clear()
        model.network(model.normalize(images))
        maps = caught[-1]
        return maps[:, :count, maps.shape[2] // 2, maps.shape[3] // 2]

    try:
        # Each filter starts where it is excited already: where its ReLUs are shut there is no gradient to climb.
        with torch.no_grad():
            excitements = middle(starts)
            images = starts[excitements.argmax(0)]
            # Filters differ in scale; the pull must weigh the same for all.
            unit = excitements.std(0).clamp_min(1e-12)
        images.requires_grad_()
        optimizer = torch.optim.Adam([images], lr=STEP)
        for _ in range(steps):
            excitement = middle(images).diagonal() / unit
            pull = PULL * (images - mean).square().sum(dim=(1, 2, 3))
            (images.grad,) = torch.autograd.grad((pull - excitement).sum(), images)
            optimizer.step()
            with torch.no_grad():
                images.clamp_(0, 1)
    finally:
        handle.remove()
    return images.detach()
