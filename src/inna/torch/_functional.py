"""One step for those who keep the state themselves, such as `inna.keras`."""

from typing import Any

import torch
from torch import Tensor

from ._coefficients import Number
from ._foreach import alike, multi_tensor_inna, zeros_unless
from ._innaprop import multi_tensor_scaled
from ._optimizer import Tensors

__all__ = ["foreach_step"]


@torch.no_grad()
def foreach_step(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    steps: list[Tensor],
    exp_avg_sqs: list[Tensor] | None = None,
    *,
    lr: Number,
    alpha: Number,
    beta: Number,
    initial_speed: Number,
    weight_decay: float = 0.0,
    sigma: float = 0.999,
    eps: float = 1e-8,
) -> None:
    r"""One step of INNA, or with `exp_avg_sqs` of INNAprop, in place, with a few multi-tensor kernels.

    .. math::
        \theta &\leftarrow (1 - \gamma\lambda)\, \theta - \gamma (u + \beta v) \\
        u &\leftarrow (1 - \alpha \gamma)\, u + \gamma (1 - \alpha \beta)\, v

    Args:
        params: the parameters theta.
        grads: their gradients v, of the same shapes.
        momentum_buffers: their u, of the same shapes; 0 before the first step.
        steps: for each the number of steps so far, of shape (): on a CPU, or where lr is a tensor beside the
            parameter.
        exp_avg_sqs: for INNAprop the second moments, of the same shapes; 0 before the first step.
        lr: step size gamma >= 0; at 0 nothing changes. If it is a tensor of shape (), nothing is decided on
            the host, and nothing waits for the device.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.
        initial_speed: s >= 0, for u_0 = (s - beta) v_0 in the first step of a parameter.
        weight_decay: lambda >= 0, decoupled.
        sigma: decay of the second moment, in [0, 1).
        eps: added to its root, >= 0.

    Example:
        >>> theta, v, u, step = torch.ones(2), torch.tensor([2.0, 0.0]), torch.zeros(2), torch.zeros(())
        >>> foreach_step([theta], [v], [u], [step], lr=0.5, alpha=0.5, beta=0.5, initial_speed=0.5)
        >>> theta, u, step
        (tensor([0.5000, 1.0000]), tensor([0.7500, 0.0000]), tensor(1.))

    Reference: Castera et al. (2021), equation (12); Bolte et al. (2024), Algorithm 1.
    """
    on_device = isinstance(lr, Tensor)
    if not params or (not on_device and lr == 0):
        return
    options: dict[str, Any] = {"lr": lr, "alpha": alpha, "beta": beta, "speed": initial_speed}
    options |= {"decay": weight_decay, "sign": 1.0}
    absent = [None] * len(params)
    grads = [grad.to(param.dtype) for grad, param in zip(grads, params, strict=True)]
    if isinstance(lr, Tensor):
        grads = zeros_unless(lr != 0, grads)  # 0 times NaN is no 0
    tensors = Tensors(params, momentum_buffers, steps, absent, exp_avg_sqs or absent, grads)

    def directions(some: Tensors) -> list[Tensor]:
        if exp_avg_sqs is None:
            return some.grads
        own: dict[str, Any] = {"lr": lr, "sigma": sigma, "eps": eps, "capturable": on_device}
        return multi_tensor_scaled(some.grads, some.exp_avg_sqs, some.steps, **own)

    for some in alike(tensors, capturable=on_device):
        multi_tensor_inna(some, directions, capturable=on_device, **options)
