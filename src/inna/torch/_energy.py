"""The energy of a training run, live: the Lyapunov function that Theorem 3.1 rests on."""

from typing import Any, cast

import torch
from torch import Tensor

from ..reference import momentum_from_psi
from ._eight_bit import read, values
from ._inna import INNA

__all__ = ["energy"]


@torch.no_grad()
def energy(optimizer: INNA, loss: float | Tensor, lam: float | None = None) -> float:
    r"""The energy of a training run, now.

    .. math:: E = 2(1 + \alpha\beta) J + |u|^2 \qquad\text{or}\qquad E_\lambda = \lambda J + |u|^2/2

    With the whole objective and small steps E decreases; with mini-batches it wavers and settles where the
    loss does. Take it between `backward` and `step`: there the loss belongs to the present weights and
    momentum, and before the first step to the start u_0 = (s - beta) v_0.

    Args:
        optimizer: the optimizer, an `INNA`.
        loss: the objective J at the present weights, without the penalty of a coupled `weight_decay`: that is
            added here. A decoupled one is no part of J.
        lam: lambda; None for E. Parameter groups that differ in alpha beta have no E in common, only
            E_lambda with a lambda that all of them allow (`inna.dynamics.lambda_range`).

    Raises:
        TypeError: the optimizer is an `INNAprop` (whose direction is no gradient) or none of ours.
        ValueError: lam is None and alpha beta is not the same in all groups, or some groups maximize.

    Example:
        >>> theta = torch.tensor([3.0], requires_grad=True)
        >>> optimizer = INNA([theta], lr=0.01, alpha=0.5, beta=0.1)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     loss = theta.square().sum() / 2
        ...     loss.backward()
        ...     print(round(energy(optimizer, loss), 2))
        ...     optimizer.step()
        16.74
        16.63
        16.53

    Reference: Castera et al. (2021), (17), Lemmas 3.5 and 3.6.
    """
    if not isinstance(optimizer, INNA):
        raise TypeError(f"the energy is that of an inna.torch.INNA, got {type(optimizer).__name__}")
    groups = optimizer.param_groups
    products = {float(group["alpha"]) * float(group["beta"]) for group in groups}
    if lam is None and len(products) > 1:
        raise ValueError(
            f"the groups have alpha beta = {', '.join(f'{p:g}' for p in sorted(products))} and no E in "
            "common: give a lam"
        )
    if len({group["maximize"] for group in groups}) > 1:
        raise ValueError("some groups maximize and some minimize: there is no energy in common")
    objective, square = float(loss) * (-1 if groups[0]["maximize"] else 1), 0.0
    for group in groups:
        penalty = 0.0 if group["decoupled_weight_decay"] else float(group["weight_decay"])
        for param in group["params"]:
            if penalty != 0:
                objective += penalty / 2 * _square(param)
            square += _square(_momentum(param, optimizer.state.get(param, {}), group, penalty))
    return 2 * (1 + products.pop()) * objective + square if lam is None else lam * objective + square / 2


def _momentum(param: Tensor, state: dict[str, Any], group: dict[str, Any], penalty: float) -> Tensor:
    alpha, beta = float(group["alpha"]), float(group["beta"])
    if "psi" in state:  # a checkpoint of the authors' optimizer, before the first step from it
        return cast(Tensor, momentum_from_psi(param, state["psi"], alpha=alpha, beta=beta))
    if state.get("step", 0) > 0:
        return values(read(state, "momentum_buffer"))
    if param.grad is None or group["initial_speed"] is None:
        return torch.zeros_like(param)
    v = -param.grad if group["maximize"] else param.grad
    return (float(group["initial_speed"]) - beta) * (v + penalty * param)


def _square(x: Tensor) -> float:
    """|x|^2, in float32 at least, of a sharded tensor as a whole."""
    x = torch.view_as_real(x) if x.is_complex() else x
    norm = torch.linalg.vector_norm(x, dtype=torch.promote_types(x.dtype, torch.float32))
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm) ** 2
