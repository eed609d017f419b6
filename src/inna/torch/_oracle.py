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

    Raises:
        ValueError: by the oracle, the function gives several numbers, or a derivative not finite where
            theta and J are, as sqrt(theta^2) does at 0.

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

    def scalar(x: Tensor) -> Tensor:
        value = function(x)
        if value.numel() != 1:
            raise ValueError(f"the function must give one number, got the shape {tuple(value.shape)}: sum it")
        return value.reshape(())

    def values(x: Tensor) -> Tensor:
        if x.ndim == 1:
            return scalar(x)
        return torch.vmap(scalar)(x.flatten(0, -2)).reshape(x.shape[:-1])

    def slope(x: Tensor, create_graph: bool = False) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            height = values(x)
            (grad,) = torch.autograd.grad(height.sum(), x, create_graph=create_graph)
        return height, grad

    def checked(derivative: Tensor, height: Tensor, x: Tensor) -> Array:
        """A point that diverged may have any derivative; another must have one."""
        sound = height.isfinite() & x.isfinite().all(-1)
        wrong = sound & ~derivative.isfinite().all(-1)
        if wrong.any():
            raise ValueError(
                f"automatic differentiation gives {derivative[wrong][0].tolist()} at {x[wrong][0].tolist()}, "
                "where the function is finite: write it so that it does not differentiate a root at 0 "
                "(torch.linalg.vector_norm, abs), or see inna.nonsmooth"
            )
        return array(derivative)

    def objective(x: Array) -> Array:
        with torch.no_grad():
            return array(values(tensor(x)))

    def gradient(x: Array) -> Array:
        point = tensor(x).requires_grad_()
        height, grad = slope(point)
        return checked(grad, height, point)

    def hessian_times(x: Array, w: Array) -> Array:
        point = tensor(x).requires_grad_()
        height, grad = slope(point, create_graph=True)
        if not grad.requires_grad:  # piecewise linear
            return np.zeros_like(x)
        (product,) = torch.autograd.grad(grad, point, tensor(w), materialize_grads=True)
        return checked(product, height, point)

    return Oracle(objective, gradient, hessian_times)
