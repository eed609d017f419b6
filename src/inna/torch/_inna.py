"""INNA for PyTorch, in the momentum form of the recursion."""

from collections.abc import Callable, Iterable
from typing import Any, cast, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

__all__ = ["INNA"]


def _single_tensor_inna(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    *,
    lr: float,
    alpha: float,
    beta: float,
    decay: float,
) -> None:
    for param, grad, buf in zip(params, grads, momentum_buffers, strict=True):
        if decay != 1:
            param.mul_(decay)
        param.add_(buf, alpha=-lr).add_(grad, alpha=-lr * beta)
        buf.mul_(1 - alpha * lr).add_(grad, alpha=lr * (1 - alpha * beta))


def _multi_tensor_inna(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    *,
    lr: float,
    alpha: float,
    beta: float,
    decay: float,
) -> None:
    for device_params, device_grads, device_bufs in _by_device_and_dtype(params, grads, momentum_buffers):
        if decay != 1:
            torch._foreach_mul_(device_params, decay)
        torch._foreach_add_(device_params, device_bufs, alpha=-lr)
        torch._foreach_add_(device_params, device_grads, alpha=-lr * beta)
        torch._foreach_mul_(device_bufs, 1 - alpha * lr)
        torch._foreach_add_(device_bufs, device_grads, alpha=lr * (1 - alpha * beta))


class INNA(Optimizer):
    r"""The Inertial Newton Algorithm.

    With a mini-batch (sub)gradient v_k and the momentum u_k (`momentum_buffer`), one step is

    .. math::
        \theta_{k+1} &= \theta_k - \gamma_k (u_k + \beta v_k) \\
        u_{k+1} &= (1 - \alpha \gamma_k)\, u_k + \gamma_k (1 - \alpha \beta)\, v_k

    which is, exactly, the paper's recursion in (theta, psi) for
    :math:`\psi = \beta u + (1 - \alpha\beta)\theta`. It discretises
    :math:`\ddot\theta + \alpha\dot\theta + \beta\nabla^2 J(\theta)\dot\theta + \nabla J(\theta) = 0` and
    needs no Hessian. The long-run step is lr / alpha; `inna.hyperparameters.describe` tells more.

    Args:
        params: parameters, named parameters or groups of them, as any `torch.optim` optimizer takes them. A
            group may have its own lr, alpha, beta and every other option.
        lr: step size gamma, >= 0. A step with lr 0 changes neither parameters nor state.
        alpha: viscous damping, >= 0. Lower it when convergence is slow.
        beta: Newtonian damping, >= 0 (0: heavy ball). Raise it when the loss oscillates.
        initial_speed: s >= 0: the first step starts with velocity -s v_0, that is with u_0 = (s - beta) v_0.
            1 is the paper's start, `beta` starts without momentum as the authors' PyTorch code does.
        weight_decay: lambda >= 0: adds lambda theta to the gradient, or
        decoupled_weight_decay: shrinks theta by the factor 1 - lr lambda instead; the momentum stays.
        maximize: climb instead of descend.
        foreach: update all tensors with a few multi-tensor kernels, not one tensor after the other. None
            chooses as `torch.optim` does: the kernels when all parameters are on an accelerator.

    Raises:
        ValueError: an option is negative, NaN or infinite; the message names it.

    Example:
        >>> import torch
        >>> theta = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = INNA([theta], lr=0.1, alpha=0.5, beta=0.1)
        >>> for _ in range(500):
        ...     optimizer.zero_grad()
        ...     theta.square().sum().backward()
        ...     loss = optimizer.step()
        >>> bool(theta.detach().norm() < 1e-3)
        True

    Reference: Castera, Bolte, Févotte, Pauwels, *An Inertial Newton Algorithm for Deep Learning*, JMLR 22
    (2021), equation (12), Table 1 and, for the start, Section 5.2.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        alpha: float = 0.5,
        beta: float = 0.1,
        *,
        initial_speed: float = 1.0,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "beta": beta,
            "initial_speed": initial_speed,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, at any time; its parameters have a start of their own."""
        for name in ("lr", "alpha", "beta", "initial_speed", "weight_decay"):
            value = param_group.get(name, self.defaults[name])
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be finite and non-negative, got {value}")
        super().add_param_group(param_group)

    def phase(self, param: Tensor) -> Tensor:
        r"""The paper's phase variable of a parameter, :math:`\psi = \beta u + (1 - \alpha\beta)\theta`.

        Raises:
            KeyError: `param` is not a parameter of this optimizer or has not taken a step yet.
        """
        for group in self.param_groups:
            if any(p is param for p in group["params"]) and self.state[param].get("step", 0) > 0:
                alpha, beta = float(group["alpha"]), float(group["beta"])
                buf: Tensor = self.state[param]["momentum_buffer"]
                return beta * buf + (1 - alpha * beta) * param.detach()
        raise KeyError("psi exists for parameters of this optimizer that have taken a step")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step.

        Args:
            closure: evaluates the model again and returns the loss; called once, with gradients enabled.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        params: list[Tensor] = [p for p in group["params"] if p.grad is not None]
        states = [self._state_of(p) for p in params]
        lr, beta, weight_decay = group["lr"], group["beta"], group["weight_decay"]
        if lr == 0 or not params:
            return
        grads = cast(list[Tensor], [p.grad for p in params])
        decay = 1.0
        if group["maximize"]:
            grads = [-g for g in grads]
        if group["decoupled_weight_decay"]:
            decay = 1 - lr * weight_decay
        elif weight_decay != 0:
            grads = [g.add(p, alpha=weight_decay) for g, p in zip(grads, params, strict=True)]
        for state, grad in zip(states, grads, strict=True):
            if state["step"] == 0:
                state["momentum_buffer"].copy_(grad).mul_(group["initial_speed"] - beta)
            state["step"] += 1
        update = _multi_tensor_inna if _use_foreach(group["foreach"], params) else _single_tensor_inna
        update(
            params,
            grads,
            [state["momentum_buffer"] for state in states],
            lr=lr,
            alpha=group["alpha"],
            beta=beta,
            decay=decay,
        )

    def _state_of(self, param: Tensor) -> dict[str, Any]:
        if cast(Tensor, param.grad).is_sparse:
            raise RuntimeError("INNA does not support sparse gradients: use sparse=False in the embedding")
        state = cast(dict[str, Any], self.state[param])
        if not state:
            state["step"] = torch.tensor(0.0)
            state["momentum_buffer"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state


def _use_foreach(foreach: bool | None, params: list[Tensor]) -> bool:
    if foreach is None:
        return all(
            type(p) in (Tensor, torch.nn.Parameter) and p.device.type in ("cuda", "xpu") for p in params
        )
    return foreach


def _by_device_and_dtype(*lists: list[Tensor]) -> Iterable[list[list[Tensor]]]:
    """Split parallel lists of tensors into parallel lists of one device and dtype each."""
    groups: dict[tuple[torch.device, torch.dtype], list[list[Tensor]]] = {}
    for tensors in zip(*lists, strict=True):
        key = (tensors[0].device, tensors[0].dtype)
        for group, tensor in zip(groups.setdefault(key, [[] for _ in lists]), tensors, strict=True):
            group.append(tensor)
    return groups.values()
