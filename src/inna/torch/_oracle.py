"""PyTorch functions as the NumPy callables that `inna.dynamics` takes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Oracle", "oracle"]

Array = NDArray[np.float64]


class Oracle(NamedTuple):
    """An objective, its (sub)gradient and its Hessian's products, from NumPy to NumPy."""

    objective: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    hessian_times: Callable[[Array, Array], Array]


def oracle(function: Callable[[Tensor], Tensor], *, device: torch.device | str = "cpu") -> Oracle:
    """Make an oracle of a PyTorch function, in float64.

    At a kink its gradient is what automatic differentiation returns, which need not be a Clarke subgradient.

    Args:
        function: theta of shape (d,) -> J, a scalar. The oracle takes batches, theta of shape (..., d), by
            `torch.vmap`.
        device: where to compute.

    Example:
        >>> from inna.dynamics import DIN
        >>> J = oracle(lambda theta: theta.abs().sum())
        >>> J.gradient(np.array([[-2.0, 1.0], [0.0, 3.0]]))
        array([[-1.,  1.],
               [ 0.,  1.]])
        >>> path = DIN(J.gradient, alpha=0.5, beta=0.1, objective=J.objective).euler([1.0, -2.0], 0.01, 5)

    Reference: Castera et al. (2021), (11).
    """

    def tensor(x: Array) -> Tensor:
        return torch.tensor(x, dtype=torch.float64, device=device)

    def array(x: Tensor) -> Array:
        # Up to PyTorch 2.8 a zero that autograd made lazily has no memory that NumPy could read; a copy has.
        return np.asarray(x.clone().numpy(force=True))

    def values(x: Tensor) -> Tensor:
        if x.ndim == 1:
            return function(x)
        return torch.vmap(function)(x.flatten(0, -2)).reshape(x.shape[:-1])

    def slope(x: Tensor, create_graph: bool = False) -> Tensor:
        with torch.enable_grad():
            total = values(x).sum()
            (grad,) = torch.autograd.grad(total, x, create_graph=create_graph)
        return grad

    def objective(x: Array) -> Array:
        with torch.no_grad():
            return array(values(tensor(x)))

    def gradient(x: Array) -> Array:
        return array(slope(tensor(x).requires_grad_()))

    def hessian_times(x: Array, w: Array) -> Array:
        point = tensor(x).requires_grad_()
        grad = slope(point, create_graph=True)
        if not grad.requires_grad:  # piecewise linear
            return np.zeros_like(x)
        (product,) = torch.autograd.grad(grad, point, tensor(w), materialize_grads=True)
        return array(product)

    return Oracle(objective, gradient, hessian_times)
