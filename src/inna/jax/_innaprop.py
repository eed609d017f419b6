"""INNAprop for JAX: INNA on gradients that RMSprop has scaled."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ._dtypes import wide
from ._hyperparameters import at, checked
from ._inna import Decay, InnaState, Mask, at_rest, inertia

__all__ = ["InnapropState", "innaprop"]


def second_moment(g: jax.Array, s: jax.Array, *, sigma: float | jax.Array) -> jax.Array:
    """The running mean of the squared gradient."""
    return (sigma * s + (1 - sigma) * jnp.abs(g) ** 2).astype(s.dtype)


def rms_scaled(
    g: jax.Array, s: jax.Array, *, correction: jax.Array, eps: float | jax.Array, eps_root: float | jax.Array
) -> jax.Array:
    """The gradient over its root mean square, whose bias 1 / (1 - sigma^step) corrects."""
    root = jnp.sqrt(s * correction.astype(s.dtype) + eps_root)
    return g / (root + jnp.maximum(eps, 2.0**-126))  # 0 over 0 is 0


class InnapropState(NamedTuple):
    """State of `innaprop`: that of `inna`, and the second moment of the gradients.

    Args:
        count: updates so far; the schedules' argument.
        step: those of them with a learning rate other than 0.
        momentum_buffer: u, shaped as the parameters.
        exp_avg_sq: s, shaped as the parameters, in at least float32.
    """

    count: jax.Array
    step: jax.Array
    momentum_buffer: optax.Updates
    exp_avg_sq: optax.Updates


def innaprop(
    learning_rate: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule = 0.1,
    beta: optax.ScalarOrSchedule = 0.9,
    sigma: float | jax.Array = 0.999,
    eps: float | jax.Array = 1e-8,
    weight_decay: float | jax.Array = 0.01,
    *,
    initial_speed: optax.ScalarOrSchedule | None = None,
    mask: Mask = None,
    cautious_weight_decay: bool = False,
    state_dtype: jax.typing.DTypeLike | None = None,
    eps_root: float | jax.Array = 0.0,
) -> optax.GradientTransformationExtraArgs:
    r"""INNAprop: INNA with the gradient v replaced by its RMSprop scaling.

    .. math::
        s_{k+1} &= \sigma s_k + (1 - \sigma)\, v_k^2, \qquad
        \hat v_k = v_k \big/ \left(\sqrt{s_{k+1} / (1 - \sigma^{k+1})} + \epsilon\right) \\
        \theta_{k+1} &= \theta_k - \gamma_k (u_k + \beta \hat v_k + \lambda \theta_k) \\
        u_{k+1} &= (1 - \alpha \gamma_k)\, u_k + \gamma_k (1 - \alpha \beta)\, \hat v_k

    The decay is decoupled; the paper's also enters the momentum, so the two agree at weight decay 0 only.

    Args:
        learning_rate: step size gamma, >= 0: a number or an optax schedule, as alpha and beta.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.
        sigma: decay rate of the second moment, in [0, 1).
        eps: added to the root, >= 0.
        weight_decay: lambda >= 0, decoupled.
        initial_speed: s >= 0: starts with u_0 = (s - beta) v_0, v_0 scaled. None: beta, so u_0 = 0.
        mask: where the decay applies, as in `inna`.
        cautious_weight_decay: as in `inna`.
        state_dtype: dtype of the momentum, as in `inna`; that of the second moment is at least float32.
        eps_root: added under the root, >= 0: at a gradient of 0 the root has no derivative without it.

    Returns:
        A gradient transformation with the state `InnapropState`.

    Raises:
        ValueError: a number is out of its range; the message names it.
        TypeError: a value is neither a number nor, where that is allowed, a schedule.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> optimizer = innaprop(0.01)
        >>> theta = jnp.array([1.0, -2.0])
        >>> state = optimizer.init(theta)
        >>> updates, state = optimizer.update(2 * theta, state, theta)
        >>> theta = optax.apply_updates(theta, updates)

    Reference: Bolte, Boustany, Pauwels, Purica, *A second-order-like optimizer with adaptive gradient scaling
    for deep learning* (2024), arXiv 2410.05871, Algorithm 1.
    """
    sigma = checked("sigma", sigma, below_1=True)
    eps, eps_root = checked("eps", eps), checked("eps_root", eps_root)
    speed = beta if initial_speed is None else initial_speed
    decay = Decay(weight_decay, mask, cautious_weight_decay)
    inertia_init, step = inertia(learning_rate, alpha, beta, speed, decay, state_dtype)

    def init(params: optax.Params) -> InnapropState:
        def zeros(p: jax.Array) -> jax.Array:
            return jnp.zeros_like(p, dtype=jnp.finfo(wide(p)).dtype)

        return InnapropState(*inertia_init(params), jax.tree.map(zeros, params))

    def update(
        updates: optax.Updates, state: InnapropState, params: optax.Params | None = None, **_: object
    ) -> tuple[optax.Updates, InnapropState]:
        moves = at("learning_rate", learning_rate, state.count) != 0
        gradients = jax.tree.map(lambda g: jnp.asarray(g).astype(wide(g)), updates)

        def fresh(g: jax.Array, s: jax.Array) -> jax.Array:
            return second_moment(g, s, sigma=sigma)

        def direction(moves: jax.Array, k: jax.Array) -> optax.Updates:
            correction = -1 / jnp.expm1(k * jnp.log1p(sigma - 1))  # 1 - sigma^k would cancel

            def of_leaf(g: jax.Array, s: jax.Array) -> jax.Array:
                g = at_rest(g, moves)
                s = jnp.where(moves, s, fresh(g, s))  # at lr 0 the derivative by lr needs it
                return rms_scaled(g, s, correction=correction, eps=eps, eps_root=eps_root)

            return jax.tree.map(of_leaf, gradients, moments)

        moments = jax.tree.map(lambda g, s: jnp.where(moves, fresh(g, s), s), gradients, state.exp_avg_sq)
        deltas, inner = step(updates, direction, InnaState(*state[:3]), params)
        return deltas, InnapropState(*inner, moments)

    return optax.GradientTransformationExtraArgs(init, update)
