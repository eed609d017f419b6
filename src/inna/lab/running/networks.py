"""Networks, and initial weights that depend on the seed alone."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from ..imports import imported

__all__ = ["INITIALISERS", "NETWORKS", "build", "check_initialiser", "layout", "resolve"]

Shape = tuple[int, int, int]


def nin(shape: Shape, classes: int) -> nn.Sequential:
    """Network in Network as the paper's authors had it: about 967,000 parameters for 32 x 32 x 3, 10 classes.

    Reference: Lin, Chen, Yan (2014), slightly modified by Castera et al. (2021), Section 5.2.
    """
    channels, height, _ = shape
    if height not in (28, 32):
        raise ValueError(f"nin takes images of 32 x 32 pixels, or 28 x 28 padded to that, got {height}")

    def conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, kernel), nn.ReLU(inplace=True)]

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
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 16, 5),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(16 * pooled(height) * pooled(width), 120),
        nn.ReLU(inplace=True),
        nn.Linear(120, 84),
        nn.ReLU(inplace=True),
        nn.Linear(84, classes),
    )


def small(shape: Shape, classes: int) -> nn.Sequential:
    """A small convolutional network for 8 x 8 digits: 4,858 parameters for 8 x 8 x 1 and 10 classes."""
    channels, height, width = shape
    if min(height, width) < 8:
        raise ValueError(f"small takes images of at least 8 x 8 pixels, got {height} x {width}")
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(16 * ((height - 4) // 2) * ((width - 4) // 2), 48),
        nn.ReLU(inplace=True),
        nn.Linear(48, classes),
    )


NETWORKS: dict[str, Callable[[Shape, int], nn.Module]] = {"nin": nin, "lenet5": lenet5, "small": small}
"""The networks by name."""
INITIALISERS: dict[str, Callable[..., torch.Tensor]] = {
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "he_normal": nn.init.kaiming_normal_,
    "normal": partial(nn.init.normal_, std=0.05),  # Keras's, with its standard deviation
}
"""How matrices and kernels are drawn, by name."""


def build(network: str, shape: Shape, classes: int, *, init: str, seed: int) -> nn.Module:
    """Build a network on the CPU with initial weights drawn from the seed alone.

    Matrices and kernels come from the initialiser, biases are zero, and what else has one dimension (the
    gains of normalisation layers) stays as it was built; with ``init="own"`` everything does.

    Args:
        network: a key of `NETWORKS`, or the import path of a function (shape, classes) -> module.
        shape: (channels, height, width) of an image.
        classes: number of classes.
        init: a key of `INITIALISERS`, or ``"own"``.
        seed: the same seed gives the same weights, whatever the optimizer.

    Raises:
        ValueError: a name is unknown, or the network does not map images of this shape to a number a class.

    Example:
        >>> sum(p.numel() for p in build("nin", (3, 32, 32), 10, init="glorot_normal", seed=0).parameters())
        967096
    """
    make = resolve(network)
    check_initialiser(init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = make(shape, classes) if network in NETWORKS else _own(network, make, shape, classes)
    if init != "own":
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, param in net.named_parameters():
                if param.ndim > 1:
                    INITIALISERS[init](param, generator=generator)
                elif name.rpartition(".")[2] == "bias":
                    param.zero_()
    return net


def resolve(network: str) -> Callable[[Shape, int], nn.Module]:
    """The function behind a key of `NETWORKS` or an import path.

    Raises:
        ValueError: there is no such network.
    """
    if network in NETWORKS:
        return NETWORKS[network]
    if "." not in network:
        raise ValueError(
            f"unknown network {network!r}: choose from {', '.join(NETWORKS)}, or give the import path of a "
            "function (shape, classes) -> torch.nn.Module"
        )
    try:
        make: Callable[[Shape, int], nn.Module] = imported(network)
        inspect.signature(make).bind((1, 8, 8), 10)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"network {network!r} must be a function (shape, classes) -> torch.nn.Module: {error}"
        ) from None
    return make


def check_initialiser(init: str) -> None:
    """Raise a ValueError for an initialiser that `build` does not know."""
    if init != "own" and init not in INITIALISERS:
        raise ValueError(f"unknown initialiser {init!r}: choose from {', '.join(INITIALISERS)}, own")


def layout(network: str) -> torch.memory_format:
    """How its images lie in memory: with the channels last ours are faster; own networks may not take it."""
    return torch.channels_last if network in NETWORKS else torch.contiguous_format


def _own(network: str, make: Callable[[Shape, int], Any], shape: Shape, classes: int) -> nn.Module:
    """The user's network, tried on two black images."""
    try:
        net = make(shape, classes)
        if not isinstance(net, nn.Module):
            raise TypeError(f"it returned {type(net).__name__}, not a torch.nn.Module")
        with torch.no_grad():
            output = net.eval()(torch.zeros(2, *shape))
        if output.shape != (2, classes):
            raise TypeError(f"for two images it gives shape {tuple(output.shape)}, not {(2, classes)}")
    except Exception as error:  # whatever the user's network does
        kind = "" if type(error) is TypeError else f"{type(error).__name__}: "
        reason = str(error).partition("\n")[0]
        raise ValueError(f"network {network} fails on images of shape {shape}: {kind}{reason}") from None
    return net
