"""A quadratic function of given spectrum, whose minimum is 0."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from .task import Batch, Split, Task

__all__ = ["Quadratic"]


class Quadratic(Task):
    """f(x) = 1/2 sum of c_i x_i^2 from x = (1, ..., 1), the c_i spread geometrically between two curvatures.

    Gradients are those of f, with Gaussian noise if there is some. The loss is f, and its minimum is 0.

    Args:
        dimension: how many coordinates, at least 1.
        smallest: the least curvature, > 0.
        largest: the greatest curvature, at least `smallest`.
        noise: each coordinate's standard deviation in the gradient, for batches of one; >= 0.
        epoch: steps of an epoch, at least 1.
    """

    def __init__(
        self,
        dimension: int = 100,
        smallest: float = 0.01,
        largest: float = 1.0,
        noise: float = 0.0,
        epoch: int = 100,
    ) -> None:
        if not (0 < smallest <= largest and dimension >= 1 and epoch >= 1 and noise >= 0):
            raise ValueError(
                "quadratic needs 0 < smallest <= largest, dimension >= 1, epoch >= 1 and noise >= 0, got "
                f"{smallest}, {largest}, {dimension}, {epoch} and {noise}"
            )
        self.curvatures = torch.from_numpy(np.geomspace(smallest, largest, dimension)).float()
        self.noise, self.epoch = noise, epoch

    def network(self) -> nn.Module:
        """The point x."""
        return nn.ParameterDict({"x": nn.Parameter(torch.ones_like(self.curvatures))})

    def steps(self, batch_size: int) -> int:
        """The same for each batch size."""
        return self.epoch

    def batches(self, seed: int, epoch: int, batch_size: int) -> Iterable[Batch]:
        """The curvatures, and the noise of each gradient."""
        random = np.random.default_rng([seed, epoch + 1])
        spread = self.noise / batch_size**0.5
        noises = (spread * random.standard_normal((self.epoch, len(self.curvatures)))).astype(np.float32)
        return ((self.curvatures, noise) for noise in torch.from_numpy(noises))

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The function f, with the noise's linear term."""
        curvatures, noise = batch
        x: Tensor = net["x"]  # type: ignore[index]
        loss: Tensor = 0.5 * (curvatures * x.square()).sum() + (noise * x).sum()
        return loss

    def held(self, split: Split) -> Iterable[Batch]:
        """The function without noise."""
        return [(self.curvatures, torch.zeros_like(self.curvatures))]
