import math
from typing import Any

import pytest
import torch

from inna.lab.running import networks


def build(name: str, shape: tuple[int, int, int], classes: int = 10, **kw: Any) -> torch.nn.Sequential:
    net = networks.build(name, shape, classes, **{"init": "glorot_normal", "seed": 0, **kw})
    assert isinstance(net, torch.nn.Sequential)
    return net


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("nin", (3, 32, 32), 967_096),
        ("nin", (1, 28, 28), 967_096 - 2 * 25 * 192),
        ("lenet5", (1, 28, 28), 44_426),
        ("lenet5", (3, 32, 32), 62_006),
        ("small", (1, 8, 8), 4_858),
    ],
)
def test_sizes(name: str, shape: tuple[int, int, int], parameters: int) -> None:
    net = build(name, shape)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net(torch.rand(2, *shape)).shape == (2, 10)


def test_nin_has_as_many_outputs_as_classes() -> None:
    assert build("nin", (3, 32, 32), classes=100)(torch.rand(1, 3, 32, 32)).shape == (1, 100)


def test_nin_pads_28_to_32() -> None:
    image = torch.rand(1, 1, 28, 28)
    net = build("nin", (1, 28, 28)).eval()
    assert torch.equal(net(image), net[1:](torch.nn.functional.pad(image, (2, 2, 2, 2))))


def test_weights_depend_on_the_seed_alone() -> None:
    first = build("small", (1, 8, 8), seed=1)
    torch.rand(10)  # the global generator has no say
    for a, b in zip(first.parameters(), build("small", (1, 8, 8), seed=1).parameters(), strict=True):
        assert torch.equal(a, b)
    other = build("small", (1, 8, 8), seed=2)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_glorot_normal_weights_and_zero_biases() -> None:
    layer = build("nin", (3, 32, 32))[9]  # the widest layer: 96 -> 192, 5 x 5
    assert isinstance(layer, torch.nn.Conv2d)
    assert layer.bias is not None
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (25 * (96 + 192))), rel=0.01)
    assert torch.all(layer.bias == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet", (3, 32, 32)), "unknown network 'resnet': choose from nin, lenet5, small"),
        (("nin", (1, 8, 8)), "nin takes images of 32 x 32 pixels"),
        (("lenet5", (1, 8, 8)), "lenet5 takes images of at least 16 x 16 pixels, got 8 x 8"),
        (("small", (1, 4, 4)), "small takes images of at least 8 x 8"),
    ],
)
def test_what_does_not_fit_is_named(arguments: tuple[str, tuple[int, int, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(*arguments)


def test_unknown_initialiser() -> None:
    with pytest.raises(ValueError, match="unknown initialiser 'zeros': choose from glorot_normal"):
        build("small", (1, 8, 8), init="zeros")
