"""INNA for PyTorch: the update of one parameter after the other, which is the truth, then the class."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ._coefficients import coefficients, pull, start_of, where_the_step_nears_0
from ._eight_bit import EIGHT_BIT, Coded, encode, values
from ._foreach import alike, foreach_add, multi_tensor_inna, zeros_unless
from ._fused import fused_step
from ._optimizer import InertialOptimizer, Number, Tensors, on_device, takes_foreach
from ._rounding import rounded

__all__ = ["INNA"]


def single_tensor_inna(
    tensors: Tensors,
    directions: Callable[[Tensors], list[Tensor]],
    *,
    capturable: bool,
    stochastic: bool = False,
    cautious: bool = False,
    through_psi: bool = False,
    **options: Any,
) -> None:
    """One step of one parameter after the other; `directions` makes the v of each when its turn comes."""
    for param, momentum_buffer, step, compensation, exp_avg_sq, grad in zip(*tensors, strict=True):
        (v,) = directions(Tensors([param], [momentum_buffer], [step], [compensation], [exp_avg_sq], [grad]))
        start = start_of(step if capturable else step.item(), param, **options)
        keep, lr, push, damp, gain = coefficients(start, param, **options)
        if through_psi:
            add_(momentum_buffer, param, pull(keep, **options))
        if cautious:
            keep = where_the_step_nears_0(keep, param, lr * momentum_buffer + push * v)
        theta = param if compensation is None else compensation  # with kahan_sum the step is summed up there
        if rounds := stochastic and param.element_size() == 2:
            theta = param.float()

        scale_(theta, keep)  # theta <- keep theta - lr u - push v
        if compensation is not None:
            add_(compensation, param, keep - 1)
        add_(theta, momentum_buffer, -lr)
        add_(theta, v, -push)
        scale_(momentum_buffer, damp)  # u <- damp u + gain v
        add_(momentum_buffer, v, gain)

        if rounds:
            param.copy_(rounded(theta, param, step))
        step.add_(lr != 0)
        if compensation is not None:
            before = param.clone()
            param.add_(compensation)
            compensation.add_(before.sub_(param))  # what the rounding of param lost


def in_float32(tensors: Tensors, update: Callable[[Tensors], None], lr: Number) -> None:
    """The same with moments in 8 bits: each is decoded for the update, and encoded after it."""
    for row in zip(*tensors, strict=True):
        coded = Tensors(*([each] for each in row))
        plain = coded._replace(
            momentum_buffers=[values(coded.momentum_buffers[0])], exp_avg_sqs=[values(coded.exp_avg_sqs[0])]
        )
        step = coded.steps[0].clone()
        update(plain)
        keep = lr == 0 if isinstance(lr, Tensor) else None
        for moment, exact in ((coded[1][0], plain[1][0]), (coded[4][0], plain[4][0])):
            if isinstance(moment, Coded):
                encode(moment, exact, step, keep)


def add(ys: list[Tensor], xs: list[Tensor], a: Number) -> list[Tensor]:
    """Return y + a x for each pair."""
    sums = [y.clone() for y in ys]
    for y, x in zip(sums, xs, strict=True):
        add_(y, x, a)
    return sums


def add_(y: Tensor, x: Tensor, a: Number) -> None:
    """Compute y <- y + a x in place."""
    if not isinstance(a, Tensor):
        y.add_(x, alpha=a)
    elif torch.is_grad_enabled() or y.element_size() < 4:  # autograd keeps the old x; 16 bits would round a
        y.add_(x.to(a.dtype, copy=True) * a)
    else:
        y.addcmul_(x, a)


def scale_(y: Tensor, a: Number) -> None:
    """Compute y <- a y in place."""
    if isinstance(a, Tensor) and (torch.is_grad_enabled() or y.element_size() < 4):
        y.copy_(y.to(a.dtype, copy=True) * a)
    elif isinstance(a, Tensor) or a != 1:
        y.mul_(a)


def take_step(
    optimizer: InertialOptimizer, tensors: Tensors, group: dict[str, Any], options: dict[str, Any]
) -> None:
    """One step of the parameters of a group by the implementation that its flags choose."""
    if group["fused"]:
        fused_step(tensors, group, options, optimizer.gradient_scale())
        return
    capturable, foreach, lr = on_device(group), takes_foreach(tensors.params, group), options["lr"]
    coupled = coupled_decay(group, options["sign"])

    silences = isinstance(lr, Tensor) and not torch.is_grad_enabled()  # 0 times NaN is no 0
    decays = isinstance(coupled, Tensor) or coupled != 0
    added = foreach_add if foreach else add

    def directions(some: Tensors) -> list[Tensor]:
        if silences:
            some = some._replace(grads=zeros_unless(lr != 0, some.grads))
        if decays:
            some = some._replace(grads=added(some.grads, some.params, coupled))
        return optimizer.directions(some, group, lr)

    options |= {"cautious": group["cautious_weight_decay"]}
    options |= {"through_psi": group.get("weight_decay_through_psi", False)}
    if foreach:
        for some in alike(tensors, capturable):
            multi_tensor_inna(some, directions, capturable=capturable, **options)
    else:
        stochastic = group["stochastic_rounding"]

        def update(some: Tensors) -> None:
            single_tensor_inna(some, directions, capturable=capturable, stochastic=stochastic, **options)

        if group["state_dtype"] == EIGHT_BIT:
            in_float32(tensors, update, lr)
        else:
            update(tensors)


def coupled_decay(group: dict[str, Any], sign: float) -> Number:
    """The weight decay that is part of the gradient; with `maximize` of its negative."""
    decay = 0.0 if group["decoupled_weight_decay"] else group["weight_decay"]
    if isinstance(decay, Tensor) and on_device(group):
        return sign * decay.reshape(())
    return sign * float(decay)


class INNA(InertialOptimizer):
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
        lr: step size gamma, >= 0; a number or a tensor. A step with lr 0 changes nothing.
        alpha: viscous damping, >= 0. Lower it when convergence is slow.
        beta: Newtonian damping, >= 0 (0: heavy ball). Raise it when the loss oscillates. alpha and beta may
            change from step to step, as lr may; the momentum is kept.
        initial_speed: s >= 0: the first step starts with velocity -s v_0, that is with u_0 = (s - beta) v_0.
            1 is the paper's start; `beta`, also written None, starts without momentum as the authors' PyTorch
            code does. Along a curvature L the start swings theta to s sqrt(L) times its distance from the
            minimum: with 1 the loss rises at first, often for 20 steps, where L > 1. None avoids it.
        weight_decay: lambda >= 0: adds lambda theta to the gradient, or
        decoupled_weight_decay: shrinks theta by the factor 1 - lr lambda instead; the momentum stays.
        cautious_weight_decay: shrinks only the values that the step moves towards 0 or leaves (Chen et al.
            2025, arXiv 2510.12402); with decoupled_weight_decay, and not with fused.
        maximize: climb instead of descend.
        foreach: update all tensors with a few multi-tensor kernels, not one after the other. None chooses as
            `torch.optim` does: the kernels when all parameters are on an accelerator.
        capturable: keep every decision on the device, for CUDA graphs; works on a CPU as well. With lr, alpha
            and beta in tensors `torch.compile` makes one graph of the step; numbers it reads outside. Neither
            is compiled again when they change.
        differentiable: let autograd record the step.
        fused: one pass over memory. On a CPU it is compiled once, at first use, with the C++ compiler that
            the environment variable CXX names or the system's, and kept in ~/.cache/inna or the folder that
            INNA_CACHE_DIR names; on a GPU it needs Triton, and every decision stays on the device.
        kahan_sum: sum up what 16-bit parameters lose by rounding (one more tensor of state), or
        stochastic_rounding: round 16-bit parameters up or down at random, so that they lose nothing on
            average; not with foreach.
        state_dtype: dtype of the momentum. None: as the parameter's, but float32 for 16 bits, in which a long
            memory would be lost; a checkpoint's 16 bits stay until a dtype is given, at any time. "8bit": a
            byte for each value, in blocks of 64, rounded at random so that a long memory is right on average;
            parameters of fewer than 1,024 values keep float32. Not with foreach, differentiable, kahan_sum,
            complex or sharded parameters.

    Raises:
        ValueError: an option is negative, NaN or infinite; the message names it.
        RuntimeError: options that exclude each other, or parameters that an implementation cannot take.

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
        lr: float | Tensor = 0.1,
        alpha: float | Tensor = 0.5,
        beta: float | Tensor = 0.1,
        *,
        initial_speed: float | None = 1.0,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        cautious_weight_decay: bool = False,
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
            "initial_speed": initial_speed,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
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

    def _update(self, tensors: Tensors, group: dict[str, Any], options: dict[str, Any]) -> None:
        take_step(self, tensors, group, options)
