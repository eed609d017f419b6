"""Networks, and initial weights that depend on the seed alone."""

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["INITIALISERS", "NETWORKS", "build"]

Shape = tuple[int, int, int]


def nin(shape: Shape, classes: int) -> nn.Sequential:
    """Network in Network as the paper's authors had it: about 967,000 parameters for 32 x 32 x 3, 10 classes.

    Reference: Lin, Chen, Yan (2014), slightly modified by Castera et al. (2021), Section 5.2.
    """
    channels, height, _ = shape
    if height not in (28, 32):
        raise ValueError(f"nin takes images of 32 x 32 pixels, or 28 x 28 padded to that, got {height}")

    def conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, kernel), nn.ReLU()]

    return nn.Sequential(
        nn.ZeroPad2d((32 - height) // 2),
        *conv(channels, 192, 5),
        *conv(192, 160, 1),
        *conv(160, 96, 1),
        nn.MaxPool2d(3, 2),
        nn.Dropout(0.5),
        *conv(96, 192, 5),
        *conv(192, 192, 1),
        *conv(192, 192, 1),
        nn.AvgPool2d(3, 2),
        nn.Dropout(0.5),
        *conv(192, 192, 3),
        *conv(192, 192, 1),
        *conv(192, classes, 1),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(classes, classes),
    )


def lenet5(shape: Shape, classes: int) -> nn.Sequential:
    """LeNet-5 with ReLU and max pooling, no padding: 44,426 parameters for 28 x 28 x 1 and 10 classes.

    Reference: LeCun, Bottou, Bengio, Haffner (1998).
    """
    channels, height, width = shape
    if min(height, width) < 16:
        raise ValueError(f"lenet5 takes images of at least 16 x 16 pixels, got {height} x {width}")

    def pooled(size: int) -> int:
        return ((size - 4) // 2 - 4) // 2

    return nn.Sequential(
        nn.Conv2d(channels, 6, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(6, 16, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * pooled(height) * pooled(width), 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def small(shape: Shape, classes: int) -> nn.Sequential:
    """A small convolutional network for 8 x 8 digits: 4,858 parameters for 8 x 8 x 1 and 10 classes."""
    channels, height, width = shape
    if min(height, width) < 8:
        raise ValueError(f"small takes images of at least 8 x 8 pixels, got {height} x {width}")
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * ((height - 4) // 2) * ((width - 4) // 2), 48),
        nn.ReLU(),
        nn.Linear(48, classes),
    )


NETWORKS: dict[str, Callable[[Shape, int], nn.Sequential]] = {"nin": nin, "lenet5": lenet5, "small": small}
INITIALISERS: dict[str, Callable[..., torch.Tensor]] = {
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "he_normal": nn.init.kaiming_normal_,
}


def build(network: str, shape: Shape, classes: int, *, init: str, seed: int) -> nn.Sequential:
    """Build a network on the CPU with weights drawn from the seed alone and zero biases.

    Args:
        network: a key of `NETWORKS`.
        shape: (channels, height, width) of an image.
        classes: number of classes.
        init: a key of `INITIALISERS`.
        seed: the same seed gives the same weights, whatever the optimizer.

    Raises:
        ValueError: a name is unknown, or the network does not take images of this shape.

    Example:
        >>> sum(p.numel() for p in build("nin", (3, 32, 32), 10, init="glorot_normal", seed=0).parameters())
        967096
    """
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r}: choose from {', '.join(NETWORKS)}")
    if init not in INITIALISERS:
        raise ValueError(f"unknown initialiser {init!r}: choose from {', '.join(INITIALISERS)}")
    net = NETWORKS[network](shape, classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in net.parameters():
            if param.ndim > 1:
                INITIALISERS[init](param, generator=generator)
            else:
                param.zero_()
    return net
