"""INNAprop for PyTorch: INNA on a gradient that RMSprop has scaled."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ._coefficients import Number, exact
from ._foreach import foreach_scale_
from ._inna import add_, scale_, take_step
from ._optimizer import InertialOptimizer, Tensors, on_device, takes_foreach

__all__ = ["INNAprop"]


def single_tensor_scaled(
    grad: Tensor, exp_avg_sq: Tensor, step: Number, *, lr: Number, sigma: float, eps: float
) -> Tensor:
    """The v of INNAprop; the second moment moves on, unless lr is 0."""
    dtype = exact(exp_avg_sq.dtype)  # in 16 bits squares underflow, and above 255 overflow
    grad, s = grad.to(dtype), exp_avg_sq.to(dtype)
    fresh = weight_of_new(lr, s, sigma)
    scale_(s, 1 - fresh)
    add_(s, grad * grad, fresh)
    if s is not exp_avg_sq:
        exp_avg_sq.copy_(s)
    elif torch.is_grad_enabled():
        s = s.clone()  # autograd keeps it, and the next step changes it in place
    return grad / ((s / (1 - sigma ** (step + 1))).sqrt() + above_0(eps, s, lr))


def multi_tensor_scaled(
    grads: list[Tensor],
    exp_avg_sqs: list[Tensor],
    steps: list[Tensor],
    *,
    lr: Number,
    sigma: float,
    eps: float,
    capturable: bool,
) -> list[Tensor]:
    """The same for lists; what it returns is its one intermediate of their size."""
    dtype = exact(exp_avg_sqs[0].dtype)
    squares = [exp_avg_sq.to(dtype) for exp_avg_sq in exp_avg_sqs]
    fresh = weight_of_new(lr, squares[0], sigma)
    corrections: Any
    if capturable:  # in float64: 1 - .999 has only four digits in float32
        k = torch.stack(steps).to(squares[0].device, torch.float64) + 1
        corrections = (1 - sigma**k).unbind()
    else:
        corrections = [1 - sigma ** (step.item() + 1) for step in steps]
    foreach_scale_(squares, 1 - fresh)
    if isinstance(fresh, Tensor):
        wide = [grad.to(dtype) for grad in grads]
        new = torch._foreach_mul(wide, wide)
        torch._foreach_mul_(new, fresh)
        torch._foreach_add_(squares, new)
        del new
    else:
        torch._foreach_addcmul_(squares, grads, grads, value=fresh)
    if squares[0] is not exp_avg_sqs[0]:
        torch._foreach_copy_(exp_avg_sqs, squares)
    scaled = list(torch._foreach_div(squares, corrections))
    torch._foreach_sqrt_(scaled)
    small = above_0(eps, squares[0], lr)
    if isinstance(small, Tensor):
        torch._foreach_add_(scaled, small, alpha=1)  # without alpha torch would read it as a number
    else:
        torch._foreach_add_(scaled, small)
    torch._foreach_reciprocal_(scaled)
    torch._foreach_mul_(scaled, grads)
    return scaled


def above_0(eps: float, square: Tensor, lr: Number) -> Number:
    """What is added to the root, so that nothing is divided by 0, not even if lr is 0 in the first step."""
    eps = max(eps, torch.finfo(square.dtype).tiny)
    return eps + (lr == 0).to(square) if isinstance(lr, Tensor) else eps


def weight_of_new(lr: Number, square: Tensor, sigma: float) -> Number:
    """The weight of the new square, 1 - sigma; 0 if lr is 0."""
    return (1 - sigma) * (lr != 0).to(square) if isinstance(lr, Tensor) else 1 - sigma


class INNAprop(InertialOptimizer):
    r"""INNAprop: INNA whose gradient is divided by a running root mean square of itself, as in RMSprop.

    With a mini-batch gradient g_k, the second moment s_k (`exp_avg_sq`) and the momentum u_k, one step is

    .. math::
        s_{k+1} &= \sigma s_k + (1 - \sigma)\, g_k^2, \qquad
        v_k = g_k \Big/ \left(\sqrt{s_{k+1} / (1 - \sigma^{k+1})} + \epsilon\right) \\
        \theta_{k+1} &= (1 - \gamma_k \lambda)\, \theta_k - \gamma_k (u_k + \beta v_k) \\
        u_{k+1} &= (1 - \alpha \gamma_k)\, u_k + \gamma_k (1 - \alpha \beta)\, v_k

    At weight decay 0 it is the recursion of its paper in the phase variable psi, without that form's
    condition lr != beta. The weight decay is decoupled and leaves u as it is; the paper's leaves psi.

    Args:
        params: parameters, named parameters or groups of them, as any `torch.optim` optimizer takes them.
        lr: step size gamma, >= 0; a number or a tensor. A step with lr 0 changes nothing.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0. alpha = beta = 1 is Adam without first moment, betas=(0, sigma).
        sigma: decay of the second moment, in [0, 1).
        eps: added to the root, >= 0.
        weight_decay: lambda >= 0, decoupled.
        weight_decay_through_psi: the decay of the paper and of the authors' code: it leaves psi as it is, so
            that u gains :math:`\gamma_k \lambda (1/\beta - \alpha)\, \theta_k`; beta > 0, and not with fused.
        cautious_weight_decay: as in `INNA`.
        initial_speed: s >= 0, for u_0 = (s - beta) v_0. None is beta: the paper's start, without momentum.
        maximize, foreach, capturable, differentiable, fused, kahan_sum, stochastic_rounding, state_dtype: as
            in `INNA`. A second moment of float16 underflows where gradients are below .01, and overflows
            above 256.

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

    state_names = ("momentum_buffer", "exp_avg_sq")

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
        weight_decay_through_psi: bool = False,
        cautious_weight_decay: bool = False,
        initial_speed: float | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        kahan_sum: bool = False,
        state_dtype: torch.dtype | Literal["8bit"] | None = None,
        stochastic_rounding: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "beta": beta,
            "sigma": sigma,
            "eps": eps,
            "initial_speed": initial_speed,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "weight_decay_through_psi": weight_decay_through_psi,
            "cautious_weight_decay": cautious_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "kahan_sum": kahan_sum,
            "state_dtype": state_dtype,
            "stochastic_rounding": stochastic_rounding,
        }
        super().__init__(params, defaults)

    def directions(self, tensors: Tensors, group: dict[str, Any], lr: Number) -> list[Tensor]:
        """The gradients over their running root mean squares."""
        capturable, sigma, eps = on_device(group), group["sigma"], group["eps"]
        if takes_foreach(tensors.params, group):
            return multi_tensor_scaled(
                tensors.grads,
                tensors.exp_avg_sqs,
                tensors.steps,
                lr=lr,
                sigma=sigma,
                eps=eps,
                capturable=capturable,
            )
        scaled = []
        for grad, exp_avg_sq, step in zip(tensors.grads, tensors.exp_avg_sqs, tensors.steps, strict=True):
            # in float64: 1 - .999 has only four digits in float32
            k = step.to(grad.device, torch.float64) if capturable else step.item()
            scaled.append(single_tensor_scaled(grad, exp_avg_sq, k, lr=lr, sigma=sigma, eps=eps))
        return scaled

    _fused_directions = directions

    def _update(self, tensors: Tensors, group: dict[str, Any], options: dict[str, Any]) -> None:
        take_step(self, tensors, group, options)
