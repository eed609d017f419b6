"""The largest curvature of a loss, from which the largest stable lr follows."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["curvature"]


def curvature(
    loss: Callable[[], Tensor],
    params: Iterable[Tensor],
    *,
    iterations: int = 50,
    tolerance: float = 1e-4,
    generator: torch.Generator | None = None,
) -> float:
    r"""The largest eigenvalue of the Hessian of a loss, by Lanczos' method on Hessian-vector products.

    .. math:: L = \max_{\|x\| = 1} x^T \, \nabla^2 J(\theta)\, x

    The loss is evaluated once, and differentiated again once an iteration; neither the parameters nor
    their `.grad` are touched. It keeps a vector of the parameters' size an iteration. The estimate never
    exceeds L.

    Args:
        loss: evaluates J and returns it as a tensor with one element; twice differentiable. Use a batch that
            is representative, in evaluation mode or with a fixed dropout mask.
        params: the parameters that the optimizer moves.
        iterations: largest number of Hessian-vector products, >= 1.
        tolerance: relative accuracy at which to stop, >= 0.
        generator: source of the first vector; None is a generator with seed 0, the same vector every time.

    Raises:
        ValueError: no parameter requires a gradient, the loss has more than one element, no gradient, or is
            not finite.
        TypeError: the loss is no tensor.

    Example:
        >>> from inna.hyperparameters import max_stable_lr
        >>> theta = torch.ones(3, requires_grad=True)
        >>> largest = curvature(lambda: (torch.tensor([1.0, 10.0, 100.0]) * theta**2).sum() / 2, [theta])
        >>> round(largest, 3), round(max_stable_lr(alpha=0.5, beta=0.1, curvature=largest), 3)
        (100.0, 0.105)

    Reference: Lanczos (1950); for the stability limit `inna.hyperparameters.max_stable_lr`.
    """
    inputs = [p for p in params if p.requires_grad]
    if not inputs:
        raise ValueError("no parameter requires a gradient: pass the parameters that the loss depends on")
    # the other kernels of attention can be differentiated once only
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        value = evaluated(loss)
        if not value.isfinite():
            raise ValueError(f"the loss must be finite, got {value.item()}")
        grads = torch.autograd.grad(value.reshape(()), inputs, create_graph=True, materialize_grads=True)

    def hessian_times(x: Tensor) -> Tensor:
        pieces = torch.split(x, [p.numel() for p in inputs])
        parts = [piece.view_as(p) for piece, p in zip(pieces, inputs, strict=True)]
        curved = [(g, part) for g, part in zip(grads, parts, strict=True) if g.requires_grad]
        if not curved:  # a linear loss
            return torch.zeros_like(x)
        gs, xs = zip(*curved, strict=True)
        products = torch.autograd.grad(gs, inputs, xs, retain_graph=True, materialize_grads=True)
        return torch.cat([product.reshape(-1) for product in products])

    generator = generator or torch.Generator().manual_seed(0)
    first = inputs[0]
    size = sum(p.numel() for p in inputs)
    x = torch.randn(size, generator=generator, dtype=torch.float64).to(first.device, first.dtype)
    basis = [x / x.norm()]
    tridiagonal = torch.zeros(iterations, iterations, dtype=torch.float64)
    largest = 0.0
    for k in range(iterations):
        w = hessian_times(basis[k])
        tridiagonal[k, k] = w @ basis[k]
        before, largest = largest, float(torch.linalg.eigvalsh(tridiagonal[: k + 1, : k + 1])[-1])
        for _ in range(2):  # once is not enough in floating point
            for b in basis:
                w = w - (w @ b) * b
        norm = w.norm()
        if (
            k + 1 == iterations
            or norm <= 1e-6 * abs(largest)
            or abs(largest - before) <= tolerance * abs(largest) / 10
        ):
            break
        tridiagonal[k, k + 1] = tridiagonal[k + 1, k] = norm
        basis.append(w / norm)
    return largest


def evaluated(loss: Callable[[], Tensor]) -> Tensor:
    """The loss, if it can be differentiated."""
    with torch.enable_grad():
        value = loss()
    if not isinstance(value, Tensor):
        raise TypeError(f"the loss must return a tensor, got {type(value).__name__}")
    if value.numel() != 1:
        raise ValueError(f"the loss must have one element, got shape {tuple(value.shape)}: return its mean")
    if not value.requires_grad:
        raise ValueError("the loss has no gradient: is it detached, or computed in inference mode?")
    return value
