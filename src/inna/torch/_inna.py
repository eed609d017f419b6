"""INNA for PyTorch: the update three times over (loop, foreach, fused), then the class around it."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import chain, compress, repeat
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ._contract import InertialOptimizer, Number, Tensors
from ._fused import fused_step

__all__ = ["INNA"]


def _single_tensor_inna(
    tensors: Tensors, directions: Iterable[Tensor], *, capturable: bool, **options: Any
) -> None:
    """One parameter after the other, its v drawn from `directions`. This loop is the truth."""
    for param, u, step, low, v in zip(*tensors[:4], directions, strict=True):
        keep, lr, push, damp, gain = _coefficients(step if capturable else step.item(), param, **options)
        theta = param if low is None else low  # with kahan_sum the step is summed up in `low`
        _scale(theta, keep)
        if low is not None:
            _add(low, param, keep - 1)
        _add(theta, u, -lr)
        _add(theta, v, -push)
        _scale(u, damp)
        _add(u, v, gain)
        step += lr != 0
        if low is not None:
            before = param.clone()
            param.add_(low)
            low.add_(before.sub_(param))  # what the rounding of param lost


def _multi_tensor_inna(
    tensors: Tensors, directions: Callable[[Tensors], list[Tensor]], *, capturable: bool, **options: Any
) -> None:
    """All parameters at once, which are `_alike`; `directions` makes the v of a block of them."""
    steps = tensors.steps
    step = torch.stack(steps) if capturable else steps[0].item()
    keep, lr, push, damp, gain = _coefficients(step, tensors.params[0], **options)
    for block in [tensors] if capturable else _blocks(tensors):
        params, us, _, lows = block[:4]
        vs = directions(block)
        thetas = params if lows[0] is None else lows
        _foreach_scale(thetas, keep)
        if thetas is lows:
            _foreach_add(lows, params, keep - 1)
        _foreach_add(thetas, us, -lr)
        _foreach_add(thetas, vs, -push)
        _foreach_scale(us, damp)
        _foreach_add(us, vs, gain)
        vs.clear()  # their memory is wanted
        if thetas is lows:
            before = [param.clone() for param in params]
            torch._foreach_add_(params, lows)
            torch._foreach_sub_(before, params)
            torch._foreach_add_(lows, before)
            before.clear()
    one = (lr != 0).to(steps[0]) if isinstance(lr, Tensor) else _one(steps[0].dtype)
    torch._foreach_add_(steps, [one] * len(steps))


@cache
def _one(dtype: torch.dtype) -> Tensor:
    return torch.ones((), dtype=dtype, device="cpu")


def _coefficients(
    step: Number,
    param: Tensor,
    *,
    lr: Number,
    alpha: Number,
    beta: Number,
    speed: Number,
    decay: Number,
    sign: float,
) -> tuple[Any, ...]:
    """Of theta <- keep theta - lr u - push v and u <- damp u + gain v; tensors if step or an option is one.

    The start u_0 = (s - beta) v_0 is part of the first step's coefficients. It costs no pass over memory.
    """
    wide = torch.float64 if param.dtype == torch.float64 else torch.float32
    lr, alpha, beta, speed, decay = (
        option.to(param.device, wide) if isinstance(option, Tensor) else option
        for option in (lr, alpha, beta, speed, decay)
    )
    first: Any = (step == 0) & (lr != 0)
    if isinstance(first, Tensor):
        first = first.to(param.device, wide)
    start = first * (speed - beta)
    damp = 1 - alpha * lr
    keep = 1 - lr * decay if isinstance(decay, Tensor) or decay != 0 else 1.0
    return keep, lr, sign * lr * (beta + start), damp, sign * (lr * (1 - alpha * beta) + damp * start)


def _add(y: Tensor, x: Tensor, a: Number) -> None:
    """Y += a x."""
    if not isinstance(a, Tensor):
        y.add_(x, alpha=a)
    elif torch.is_grad_enabled() or y.element_size() < 4:  # autograd keeps the old x; 16 bits would round a
        y.add_(x.to(a.dtype, copy=True) * a)
    else:
        y.addcmul_(x, a)


def _scale(y: Tensor, a: Number) -> None:
    """Y *= a."""
    if isinstance(a, Tensor) and (torch.is_grad_enabled() or y.element_size() < 4):
        y.copy_(y.to(a.dtype, copy=True) * a)
    elif isinstance(a, Tensor) or a != 1:
        y.mul_(a)


def _foreach_add(ys: list[Tensor], xs: list[Tensor], a: Number) -> None:
    """Y += a x for each pair; a tensor a has one element or one a pair."""
    if not isinstance(a, Tensor):
        torch._foreach_add_(ys, xs, alpha=a) if a != 0 else None
    elif ys[0].element_size() < 4:
        torch._foreach_add_(ys, torch._foreach_mul([x.to(a.dtype) for x in xs], a.expand(len(ys)).unbind()))
    else:
        torch._foreach_addcmul_(ys, xs, a.expand(len(ys)).unbind())


def _foreach_scale(ys: list[Tensor], a: Number) -> None:
    """Y *= a for each."""
    if isinstance(a, Tensor) and ys[0].element_size() < 4:
        torch._foreach_copy_(ys, torch._foreach_mul([y.to(a.dtype) for y in ys], a))
    elif isinstance(a, Tensor):
        torch._foreach_mul_(ys, a.to(ys[0].dtype))
    else:  # y + (a - 1) y; a product with a number would first make tensors of it, one for each of ys
        _foreach_add(ys, ys, a - 1)


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
            code does.
        weight_decay: lambda >= 0: adds lambda theta to the gradient, or
        decoupled_weight_decay: shrinks theta by the factor 1 - lr lambda instead; the momentum stays.
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
        kahan_sum: sum up what 16-bit parameters lose by rounding (one more tensor of state).
        state_dtype: dtype of the momentum, such as torch.float32 for bfloat16 parameters. None: as theirs.

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
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        kahan_sum: bool = False,
        state_dtype: torch.dtype | None = None,
    ) -> None:
        options = dict(locals())
        super().__init__(
            params, {k: v for k, v in options.items() if k not in ("self", "params", "__class__")}
        )

    def _update(self, tensors: Tensors, group: dict[str, Any], options: dict[str, Any]) -> None:
        """One step of the parameters of a group by the implementation that its flags choose."""
        capturable = self._on_device(group)
        if group["fused"]:
            fused_step(tensors, group, options, self._gradient_scale())
        elif self._takes_foreach(tensors, group):
            directions = partial(
                self._foreach_directions, group=group, options=options, capturable=capturable
            )
            for some in _alike(tensors, capturable):
                _multi_tensor_inna(some, directions, capturable=capturable, **options)
        else:
            each = self._directions(tensors, group, options, capturable)
            _single_tensor_inna(tensors, each, capturable=capturable, **options)

    def _directions(
        self, tensors: Tensors, group: dict[str, Any], options: dict[str, Any], capturable: bool
    ) -> Iterator[Tensor]:
        """The v of each parameter (with `maximize` -v), made when its turn comes."""
        coupled = _coupled_decay(group, options)
        for param, grad in zip(tensors.params, tensors.grads, strict=True):
            yield grad + coupled * param if coupled != 0 else grad

    def _foreach_directions(
        self, tensors: Tensors, group: dict[str, Any], options: dict[str, Any], capturable: bool
    ) -> list[Tensor]:
        coupled = _coupled_decay(group, options)
        if coupled == 0:
            return list(tensors.grads)
        return list(torch._foreach_add(tensors.grads, tensors.params, alpha=coupled))


def _coupled_decay(group: dict[str, Any], options: dict[str, Any]) -> float:
    return 0.0 if group["decoupled_weight_decay"] else options["sign"] * float(group["weight_decay"])


def _alike(tensors: Tensors, capturable: bool) -> Iterable[Tensors]:
    """Split into lists of one device, dtype and kind of step (a parameter's first or a later one) each."""
    kinds = [  # with `capturable` each parameter has coefficients of its own
        (param.device, param.dtype, capturable or step.item() == 0)
        for param, step in zip(tensors.params, tensors.steps, strict=True)
    ]
    if len(different := dict.fromkeys(kinds)) == 1:
        return [tensors]
    return [
        Tensors(*(list(compress(column, map(kind.__eq__, kinds))) for column in tensors))
        for kind in different
    ]


def _blocks(tensors: Tensors, size: int = 2**19) -> Iterator[Tensors]:
    """On a CPU about `size` values at a time: a kernel then finds in the cache what the last one touched."""
    if tensors.params[0].device.type != "cpu" or sum(param.numel() for param in tensors.params) <= 2 * size:
        yield tensors
        return
    rows: list[Any] = []
    values = 0
    for piece in chain.from_iterable(_pieces(row, size) for row in zip(*tensors, strict=True)):
        rows.append(piece)
        values += piece[0].numel()
        if values >= size:
            yield Tensors(*map(list, zip(*rows, strict=True)))
            rows, values = [], 0
    if rows:
        yield Tensors(*map(list, zip(*rows, strict=True)))


def _pieces(row: tuple[Any, ...], size: int) -> Iterable[tuple[Any, ...]]:
    """A parameter and what belongs to it, cut where it is long and lies straight in memory."""
    if row[0].numel() <= size or not all(t is None or t.is_contiguous() for t in row):
        return [row]
    parts = (repeat(t) if t is None or t.dim() == 0 else t.view(-1).split(size) for t in row)
    return zip(*parts, strict=False)
