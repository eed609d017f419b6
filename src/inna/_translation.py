r"""Settings of one optimizer in the words of another.

INNA with a constant lr is, exactly, a long-run step, a memory and a direct share:

.. math::
    \theta^+ = \theta - \eta\,((1 - c) M + c\,v), \qquad M^+ = (1 - 1/m) M + v/m

with :math:`\eta = \mathrm{lr}/\alpha`, :math:`m = 1/(\alpha\,\mathrm{lr})` steps, :math:`c = \alpha\beta` and
:math:`u = (1 - c) M/\alpha`. This is quasi-hyperbolic momentum (Ma and Yarats, 2019) with beta = 1 - 1/m and
nu = (1 - c)/beta. INNAprop is the same with v divided by its root mean square.
"""

import math
from typing import TypedDict

__all__ = ["from_adamw", "from_memory", "from_sgd", "to_memory", "to_sgd"]


class Memory(TypedDict):
    """A setting as step, memory and direct share."""

    step: float
    memory: float
    direct: float


class InnaSettings(TypedDict):
    """Keyword arguments of INNA and INNAprop."""

    lr: float
    alpha: float
    beta: float
    initial_speed: float


class DecayedSettings(InnaSettings):
    """Keyword arguments of INNA with a coupled weight decay."""

    weight_decay: float


class InnapropSettings(TypedDict):
    """Keyword arguments of INNAprop."""

    lr: float
    alpha: float
    beta: float
    sigma: float
    eps: float
    weight_decay: float


class SgdSettings(TypedDict):
    """Keyword arguments of `torch.optim.SGD`."""

    lr: float
    momentum: float
    nesterov: bool


def from_memory(step: float, memory: float, direct: float) -> InnaSettings:
    r"""The settings of INNA, or of INNAprop, with a given long-run step, memory and direct share.

    :math:`\mathrm{lr} = \sqrt{\eta/m}`, :math:`\alpha = 1/\sqrt{m\eta}`, :math:`\beta = c\sqrt{m\eta}`. The
    start :math:`M_0 = 0` is :math:`u_0 = 0`. Divide a decoupled weight decay by alpha if it is to shrink the
    parameters as AdamW's does with lr = step.

    Args:
        step: eta > 0, the step of plain gradient descent with the same long-run drift.
        memory: m >= 1, in steps: how far back the average of the gradients reaches.
        direct: c >= 0, the share of the newest gradient in the step. 1/m is heavy ball, (2 m - 1)/m^2 is
            Nesterov's momentum, 1 has no inertia.

    Raises:
        ValueError: a value is out of its range.

    Example:
        >>> {name: round(value, 4) for name, value in from_memory(step=0.004, memory=10, direct=0.3).items()}
        {'lr': 0.02, 'alpha': 5.0, 'beta': 0.06, 'initial_speed': 0.06}

    Reference: Ma and Yarats, *Quasi-hyperbolic momentum and Adam for deep learning* (2019).
    """
    _check("step", step, step > 0, "positive")
    _check("memory", memory, memory >= 1, "at least 1 step")
    _check("direct", direct, direct >= 0, "at least 0")
    reach = math.sqrt(memory * step)
    return InnaSettings(
        lr=math.sqrt(step / memory),
        alpha=1 / reach,
        beta=direct * reach,
        initial_speed=direct * reach,
    )


def to_memory(lr: float, alpha: float, beta: float) -> Memory:
    r"""The long-run step lr/alpha, the memory 1/(alpha lr) in steps, and the direct share alpha beta.

    Args:
        lr: step size > 0.
        alpha: viscous damping >= 0; at 0 step and memory are infinite.
        beta: Newtonian damping >= 0.

    Raises:
        ValueError: a value is out of its range.

    Example:
        >>> to_memory(lr=1e-3, alpha=0.1, beta=0.9)  # the published INNAprop
        {'step': 0.01, 'memory': 10000.0, 'direct': 0.09000000000000001}
    """
    _check("lr", lr, lr > 0, "positive")
    _check("alpha", alpha, alpha >= 0, "at least 0")
    _check("beta", beta, beta >= 0, "at least 0")
    if alpha == 0:
        return Memory(step=math.inf, memory=math.inf, direct=0.0)
    return Memory(step=lr / alpha, memory=1 / (alpha * lr), direct=alpha * beta)


def from_sgd(
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
) -> DecayedSettings:
    r"""The INNA that follows the same trajectory as `torch.optim.SGD`, for a constant lr.

    With :math:`h = \sqrt{\mathrm{lr}\,(1 - \mathrm{dampening})}` it is lr = h, alpha = (1 - momentum)/h, and
    beta = h, with Nesterov beta = (1 + momentum) h. `weight_decay` is coupled, as SGD's is: leave
    `decoupled_weight_decay` off. The two differ when lr changes: SGD keeps its momentum, INNA its alpha.

    Args:
        lr: SGD's lr > 0.
        momentum: in [0, 1].
        nesterov: needs a momentum and no dampening, as in PyTorch.
        dampening: in [0, 1). PyTorch does not dampen the first gradient; the initial speed takes that in.
        weight_decay: SGD's, >= 0.

    Raises:
        ValueError: a value is out of its range.

    Example:
        >>> {name: round(value, 4) for name, value in from_sgd(lr=0.01, momentum=0.9, nesterov=True).items()}
        {'lr': 0.1, 'alpha': 1.0, 'beta': 0.19, 'initial_speed': 0.19, 'weight_decay': 0.0}
    """
    _check("lr", lr, lr > 0, "positive")
    _check("momentum", momentum, 0 <= momentum <= 1, "between 0 and 1")
    _check("dampening", dampening, 0 <= dampening < 1, "at least 0 and below 1")
    _check("weight_decay", weight_decay, weight_decay >= 0, "at least 0")
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(
            f"nesterov needs a momentum and no dampening, got momentum {momentum}, dampening {dampening}"
        )
    if momentum == 0:
        dampening = 0.0  # PyTorch dampens only what enters the momentum buffer
    h = math.sqrt(lr * (1 - dampening))
    beta = (1 + momentum) * h if nesterov else h
    return DecayedSettings(
        lr=h,
        alpha=(1 - momentum) / h,
        beta=beta,
        initial_speed=beta if nesterov else lr / h,
        weight_decay=weight_decay,
    )


def to_sgd(lr: float, alpha: float, beta: float) -> SgdSettings:
    """The `torch.optim.SGD` with the same trajectory as INNA with a constant lr and initial_speed = beta.

    There is one for beta = lr (heavy ball), for beta = lr (2 - alpha lr) (Nesterov), and for alpha beta = 1
    (no momentum); every other INNA is none.

    Args:
        lr: step size > 0.
        alpha: viscous damping, 0 <= alpha <= 1/lr.
        beta: Newtonian damping > 0.

    Raises:
        ValueError: this INNA is no SGD, or a value is out of its range.

    Example:
        >>> to_sgd(lr=0.1, alpha=1.0, beta=0.1)
        {'lr': 0.010000000000000002, 'momentum': 0.9, 'nesterov': False}
    """
    _check("lr", lr, lr > 0, "positive")
    _check("alpha", alpha, 0 <= alpha * lr <= 1, f"between 0 and 1/lr = {1 / lr:g}")
    _check("beta", beta, beta > 0, "positive")
    momentum = 1 - alpha * lr
    if math.isclose(alpha * beta, 1, rel_tol=1e-12):
        return SgdSettings(lr=lr * beta, momentum=0.0, nesterov=False)
    for nesterov, wanted in ((False, lr), (True, lr * (1 + momentum))):
        if math.isclose(beta, wanted, rel_tol=1e-12):
            return SgdSettings(lr=lr * lr, momentum=momentum, nesterov=nesterov)
    raise ValueError(
        f"INNA with lr {lr}, alpha {alpha}, beta {beta} is no SGD: beta would have to be "
        f"lr = {lr:g} (heavy ball), lr (2 - alpha lr) = {lr * (1 + momentum):g} (Nesterov)"
        + (f" or 1/alpha = {1 / alpha:g} (no momentum)" if alpha > 0 else "")
    )


def from_adamw(
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.01,
    *,
    direct: float | None = None,
    eps: float = 1e-8,
) -> InnapropSettings:
    r"""The INNAprop that stands where an AdamW stood: same long-run step, memory, second moment and decay.

    It is `from_memory` with step = lr and memory = 1/(1 - beta1). sigma is beta2, and weight_decay/alpha
    keeps the decay of a step at AdamW's, lr times weight_decay. With direct = 1 - beta1 it is AdamW but for
    two things: the first moment is not bias-corrected, and a gradient is divided by its root mean square
    before it is averaged.

    Args:
        lr: AdamW's lr > 0.
        betas: AdamW's (beta1, beta2), each in [0, 1).
        weight_decay: AdamW's, >= 0.
        direct: the share of the newest gradient in the step; if None, 0.2, or 1 - beta1 if that is more.
        eps: AdamW's, > 0 or 0.

    Raises:
        ValueError: a value is out of its range.

    Example:
        >>> settings = from_adamw(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
        >>> {name: round(value, 8) for name, value in settings.items()}
        {'lr': 0.01, 'alpha': 10.0, 'beta': 0.02, 'sigma': 0.95, 'eps': 1e-08, 'weight_decay': 0.01}
    """
    beta1, beta2 = betas
    _check("lr", lr, lr > 0, "positive")
    for name, value in (("beta1", beta1), ("beta2", beta2)):
        _check(name, value, 0 <= value < 1, "at least 0 and below 1")
    _check("eps", eps, eps >= 0, "at least 0")
    _check("weight_decay", weight_decay, weight_decay >= 0, "at least 0")
    share = max(0.2, 1 - beta1) if direct is None else direct
    found = from_memory(lr, 1 / (1 - beta1), share)
    return InnapropSettings(
        lr=found["lr"],
        alpha=found["alpha"],
        beta=found["beta"],
        sigma=beta2,
        eps=eps,
        weight_decay=weight_decay / found["alpha"],
    )


def _check(name: str, value: float, sound: bool, expected: str) -> None:
    if not (sound and math.isfinite(value)):
        raise ValueError(f"{name} must be finite and {expected}, got {value}")
