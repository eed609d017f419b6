"""The paper's recursion, literally, in NumPy: the oracle that every other implementation is held to.

It works on NumPy arrays of any shape and dtype and on plain Python floats alike.
"""

from typing import Any, NamedTuple

__all__ = [
    "Coefficients",
    "coefficients",
    "initial_psi",
    "inna_step",
    "innaprop_step",
    "momentum_from_psi",
    "momentum_step",
    "psi_from_momentum",
]


def inna_step(theta: Any, psi: Any, v: Any, *, lr: Any, alpha: Any, beta: Any) -> tuple[Any, Any]:
    r"""One step of INNA as the paper prints it.

    .. math::
        \theta_{k+1} &= \theta_k + \gamma_k \left((\tfrac1\beta - \alpha)\,\theta_k - \tfrac1\beta \psi_k
                        - \beta v_k\right) \\
        \psi_{k+1}   &= \psi_k + \gamma_k \left((\tfrac1\beta - \alpha)\,\theta_k - \tfrac1\beta \psi_k\right)

    Args:
        theta: parameters, any shape.
        psi: the auxiliary phase variable, shaped as `theta`.
        v: a (sub)gradient of the (mini-batch) objective at `theta`, shaped as `theta`.
        lr: step size gamma_k >= 0.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, > 0: this form does not exist at 0.

    Returns:
        The next `(theta, psi)`; the arguments are not modified.

    Raises:
        ZeroDivisionError: `beta` is the number 0; use the momentum form (`inna.torch.INNA`) there.

    Example:
        >>> import numpy as np
        >>> theta, psi = np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.1, -0.7])
        >>> v = np.array([0.2, -0.4, 1.0])
        >>> theta, psi = inna_step(theta, psi, v, lr=0.01, alpha=0.5, beta=0.1)
        >>> theta, psi
        (array([ 1.0648, -2.1996,  0.6165]), array([ 0.365 , -0.1   , -0.5825]))

    Reference: Castera et al. (2021), equation (12) and Table 1.
    """
    drift = (1 / beta - alpha) * theta - psi / beta
    return theta + lr * (drift - beta * v), psi + lr * drift


class Coefficients(NamedTuple):
    """The four numbers of a step in the momentum form; every implementation calls them by these names."""

    keep: Any
    push: Any
    damp: Any
    gain: Any


def coefficients(*, lr: Any, alpha: Any, beta: Any, decay: Any = 0.0, start: Any = 0.0) -> Coefficients:
    r"""The coefficients of `momentum_step`.

    .. math::
        \mathrm{keep} &= 1 - \gamma \lambda, &
        \mathrm{push} &= \gamma (\beta + \mathrm{start}), \\
        \mathrm{damp} &= 1 - \alpha \gamma, &
        \mathrm{gain} &= \gamma (1 - \alpha\beta) + \mathrm{damp} \cdot \mathrm{start}

    Args:
        lr: step size gamma >= 0.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.
        decay: decoupled weight decay lambda >= 0.
        start: s - beta in the first step, which then starts from u_0 = (s - beta) v_0; 0 in the others.

    Example:
        >>> coefficients(lr=0.5, alpha=0.5, beta=0.25, decay=0.5, start=0.75)
        Coefficients(keep=0.75, push=0.5, damp=0.75, gain=1.0)
    """
    damp = 1 - alpha * lr
    return Coefficients(1 - lr * decay, lr * (beta + start), damp, lr * (1 - alpha * beta) + damp * start)


def momentum_step(
    theta: Any, u: Any, v: Any, *, lr: Any, alpha: Any, beta: Any, decay: Any = 0.0, start: Any = 0.0
) -> tuple[Any, Any]:
    r"""One step of INNA in the momentum form, which every other implementation computes.

    .. math::
        \theta_{k+1} &= \mathrm{keep} \cdot \theta_k - \gamma_k u_k - \mathrm{push} \cdot v_k \\
        u_{k+1} &= \mathrm{damp} \cdot u_k + \mathrm{gain} \cdot v_k

    with the `coefficients`; without decay and start

    .. math:: \theta_{k+1} = \theta_k - \gamma_k (u_k + \beta v_k), \qquad
              u_{k+1} = (1 - \alpha\gamma_k)\, u_k + \gamma_k (1 - \alpha\beta)\, v_k

    which is exactly (12) for :math:`u = (\alpha - 1/\beta)\theta + \psi/\beta`, and exists at beta = 0 too.

    Args:
        theta: parameters, any shape.
        u: the momentum, shaped as `theta`; 0 before the first step.
        v: a (sub)gradient of the (mini-batch) objective at `theta`, shaped as `theta`.
        lr: step size gamma_k >= 0.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0 (0: heavy ball).
        decay: decoupled weight decay lambda >= 0; the momentum does not see it.
        start: s - beta in the first step, so that it starts with the velocity -s v; 0 in the others.

    Returns:
        The next `(theta, u)`; the arguments are not modified.

    Example:
        >>> theta, u = momentum_step(1.0, 0.0, 2.0, lr=0.25, alpha=0.5, beta=0.5, start=0.5)  # speed 1
        >>> theta, u
        (0.5, 1.25)
        >>> momentum_step(theta, u, 1.0, lr=0.25, alpha=0.5, beta=0.5)
        (0.0625, 1.28125)

    Reference: Castera et al. (2021), equation (12); for the start, Section 5.2.
    """
    keep, push, damp, gain = coefficients(lr=lr, alpha=alpha, beta=beta, decay=decay, start=start)
    return keep * theta - lr * u - push * v, damp * u + gain * v


def innaprop_step(
    theta: Any, psi: Any, s: Any, g: Any, k: int, *, lr: Any, alpha: Any, beta: Any, sigma: Any, eps: Any
) -> tuple[Any, Any, Any]:
    r"""One step of INNAprop as its paper prints it, without weight decay.

    .. math::
        s_{k+1} &= \sigma s_k + (1 - \sigma)\, g_k^2, \qquad \hat s_{k+1} = s_{k+1} / (1 - \sigma^{k+1}) \\
        \psi_{k+1} &= (1 - \tfrac{\gamma_k}{\beta})\,\psi_k + \gamma_k (\tfrac1\beta - \alpha)\,\theta_k \\
        \theta_{k+1} &= \left(1 + \frac{\gamma_k (1 - \alpha\beta)}{\beta - \gamma_k}\right)\theta_k
            - \frac{\gamma_k}{\beta - \gamma_k}\,\psi_{k+1}
            - \gamma_k \beta\, \frac{g_k}{\sqrt{\hat s_{k+1}} + \epsilon}

    Args:
        theta: parameters, any shape.
        psi: the auxiliary phase variable; the authors start at (1 - alpha beta) theta_0.
        s: the second moment of the gradients, 0 at the start.
        g: a (sub)gradient of the (mini-batch) objective at `theta`.
        k: number of the step, from 0.
        lr: step size gamma_k >= 0, not beta: this form divides by beta - lr.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, > 0.
        sigma: decay of the second moment, in [0, 1).
        eps: added to the denominator, >= 0.

    Returns:
        The next `(theta, psi, s)`; the arguments are not modified.

    Raises:
        ZeroDivisionError: `beta` is 0 or equals `lr`.

    Example:
        >>> innaprop_step(1.0, 0.91, 0.0, 2.0, 0, lr=0.1, alpha=0.1, beta=0.9, sigma=0.75, eps=0.0)
        (0.91, 0.91, 1.0)

    Reference: Bolte, Boustany, Pauwels, Purica, *A second-order-like optimizer with adaptive gradient scaling
    for deep learning* (2024), arXiv 2410.05871, Algorithm 1.
    """
    s = sigma * s + (1 - sigma) * g**2
    psi = (1 - lr / beta) * psi + lr * (1 / beta - alpha) * theta
    theta = (
        (1 + lr * (1 - alpha * beta) / (beta - lr)) * theta
        - lr / (beta - lr) * psi
        - lr * beta * g / ((s / (1 - sigma ** (k + 1))) ** 0.5 + eps)
    )
    return theta, psi, s


def initial_psi(theta: Any, v: Any, *, alpha: Any, beta: Any, initial_speed: Any = 1.0) -> Any:
    r"""The start :math:`\psi_0` that gives the initial velocity :math:`\dot\theta(0) = -s\,v_0`.

    .. math:: \psi_0 = (1 - \alpha\beta)\,\theta_0 + \beta (s - \beta)\, v_0

    Args:
        theta: initial parameters.
        v: a (sub)gradient there.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, > 0.
        initial_speed: s. 1 is the paper's start; `beta` is the authors' PyTorch file's (zero momentum).

    Example:
        >>> initial_psi(2.0, 3.0, alpha=0.5, beta=0.1)  # (1 - .05) 2 - (.01 - .1) 3
        2.17

    Reference: Castera et al. (2021), Section 5.2 (s = 1).
    """
    return psi_from_momentum(theta, (initial_speed - beta) * v, alpha=alpha, beta=beta)


def psi_from_momentum(theta: Any, momentum: Any, *, alpha: Any, beta: Any) -> Any:
    r"""The paper's phase variable from the momentum u: :math:`\psi = \beta u + (1 - \alpha\beta)\theta`.

    Example:
        >>> psi_from_momentum(2.0, 1.0, alpha=0.5, beta=0.5)
        2.0
    """
    return beta * momentum + (1 - alpha * beta) * theta


def momentum_from_psi(theta: Any, psi: Any, *, alpha: Any, beta: Any) -> Any:
    r"""The momentum from the phase variable, beta > 0: :math:`u = (\alpha - 1/\beta)\theta + \psi/\beta`.

    Example:
        >>> momentum_from_psi(2.0, 2.0, alpha=0.5, beta=0.5)
        1.0
    """
    return (alpha - 1 / beta) * theta + psi / beta
