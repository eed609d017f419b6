"""INNAprop for PyTorch: INNA on a gradient that RMSprop has scaled."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ._contract import InertialOptimizer, Number, Tensors
from ._inna import INNA, _add, _foreach_add, _foreach_scale, _scale

__all__ = ["INNAprop"]


def _single_tensor_scaled(
    grad: Tensor, square: Tensor, step: Number, lr: Number, sigma: float, eps: float
) -> Tensor:
    """The v of INNAprop; the second moment moves on, unless lr is 0."""
    grad = grad.to(square.dtype)  # the square of a float16 gradient would underflow
    fresh = _fresh(lr, square, sigma)
    _scale(square, 1 - fresh)
    _add(square, grad * grad, fresh)
    seen = square.clone() if torch.is_grad_enabled() else square
    return grad / ((seen / (1 - sigma ** (step + 1))).sqrt() + _above_0(eps, square, lr))


def _multi_tensor_scaled(
    grads: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    lr: Number,
    sigma: float,
    eps: float,
    capturable: bool,
) -> list[Tensor]:
    """The same for all at once; what it returns is its one intermediate of their size."""
    fresh = _fresh(lr, squares[0], sigma)
    corrections: Any = (
        (1 - sigma ** (torch.stack(steps).to(squares[0].device, torch.float64) + 1)).unbind()
        if capturable
        else [1 - sigma ** (step.item() + 1) for step in steps]
    )
    _foreach_scale(squares, 1 - fresh)
    if isinstance(fresh, Tensor):
        wide = [grad.to(square.dtype) for grad, square in zip(grads, squares, strict=True)]
        _foreach_add(squares, list(torch._foreach_mul(wide, wide)), fresh)
    else:
        torch._foreach_addcmul_(squares, grads, grads, value=fresh)
    scaled = list(torch._foreach_div(squares, corrections))
    torch._foreach_sqrt_(scaled)
    torch._foreach_add_(scaled, _above_0(eps, squares[0], lr))
    torch._foreach_reciprocal_(scaled)
    torch._foreach_mul_(scaled, grads)
    return scaled


def _above_0(eps: float, square: Tensor, lr: Number) -> Number:
    """Nothing is divided by 0: float16 has no 1e-8, and a step with lr 0 may be the first of zeros."""
    eps = max(eps, torch.finfo(square.dtype).tiny)
    return eps + (lr == 0).to(square.device, torch.float64) if isinstance(lr, Tensor) else eps


def _fresh(lr: Number, square: Tensor, sigma: float) -> Number:
    """The weight of the new square, 1 - sigma."""
    if not isinstance(lr, Tensor):
        return 1 - sigma
    return (1 - sigma) * (lr != 0).to(
        square.device, torch.float64 if square.dtype == torch.float64 else torch.float32
    )


class INNAprop(INNA):
    r"""INNAprop: INNA whose gradient is divided by a running root mean square of itself, as in RMSprop.

    With a mini-batch gradient g_k, the second moment s_k (`exp_avg_sq`) and the momentum u_k, one step is

    .. math::
        s_{k+1} &= \sigma s_k + (1 - \sigma)\, g_k^2, \qquad
        v_k = g_k \Big/ \left(\sqrt{s_{k+1} / (1 - \sigma^{k+1})} + \epsilon\right) \\
        \theta_{k+1} &= (1 - \gamma_k \lambda)\, \theta_k - \gamma_k (u_k + \beta v_k) \\
        u_{k+1} &= (1 - \alpha \gamma_k)\, u_k + \gamma_k (1 - \alpha \beta)\, v_k

    At weight decay 0 it is the recursion of its paper in the phase variable psi, without that form's
    condition lr != beta. The weight decay is decoupled; the paper's also acts through psi.

    Args:
        params: parameters, named parameters or groups of them, as any `torch.optim` optimizer takes them.
        lr: step size gamma, >= 0; a number or a tensor. A step with lr 0 changes nothing.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0. alpha = beta = 1 is Adam without first moment, betas=(0, sigma).
        sigma: decay of the second moment, in [0, 1).
        eps: added to the root, >= 0.
        weight_decay: lambda >= 0, decoupled.
        initial_speed: s >= 0, for u_0 = (s - beta) v_0. None is beta: the paper's start, without momentum.
        maximize, foreach, capturable, differentiable, fused, kahan_sum, state_dtype: as in `INNA`. Give
            float16 parameters a state of float32: in float16 the second moment underflows below .01.

    Raises:
        ValueError: an option is negative, NaN or infinite, or sigma is not below 1; the message names it.
        RuntimeError: options that exclude each other, or parameters that an implementation cannot take.

    Example:
        >>> import torch
        >>> theta = torch.tensor([1.0, -200.0], requires_grad=True)
        >>> optimizer = INNAprop([theta], lr=0.1)
        >>> theta.square().sum().backward()
        >>> optimizer.step()
        >>> (theta * 1000).round().tolist()  # the same step whatever the size of the gradient, and the decay
        [909.0, -199710.0]

    Reference: Bolte, Boustany, Pauwels, Purica, *A second-order-like optimizer with adaptive gradient scaling
    for deep learning* (2024), arXiv 2410.05871, Algorithm 1.
    """

    _state_names = ("momentum_buffer", "exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        alpha: float | Tensor = 0.1,
        beta: float | Tensor = 0.9,
        sigma: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        initial_speed: float | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        kahan_sum: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None:
        options = {k: v for k, v in locals().items() if k not in ("self", "params", "__class__")}
        InertialOptimizer.__init__(self, params, {**options, "decoupled_weight_decay": True})

    def _directions(
        self, tensors: Tensors, group: dict[str, Any], options: dict[str, Any], capturable: bool
    ) -> Iterator[Tensor]:
        gradients = super()._directions(tensors, group, options, capturable)
        for grad, square, step in zip(gradients, tensors.exp_avg_sqs, tensors.steps, strict=True):
            k = (
                step.to(grad.device, torch.float64) if capturable else step.item()
            )  # 1 - .999 needs the digits
            yield _single_tensor_scaled(grad, square, k, options["lr"], group["sigma"], group["eps"])

    def _foreach_directions(
        self, tensors: Tensors, group: dict[str, Any], options: dict[str, Any], capturable: bool
    ) -> list[Tensor]:
        grads = super()._foreach_directions(tensors, group, options, capturable)
        return _multi_tensor_scaled(
            grads,
            tensors.exp_avg_sqs,
            tensors.steps,
            options["lr"],
            group["sigma"],
            group["eps"],
            capturable,
        )
