"""INNAprop for JAX: INNA on gradients that RMSprop has scaled."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ._inna import InnaState, at, checked, inna

__all__ = ["InnapropState", "innaprop"]


def rms_scaled(v: Any, s: Any, *, step: Any, sigma: Any, eps: Any) -> Any:
    """The gradient over the root of its bias-corrected second moment s, after `step` steps."""
    correction = -jnp.expm1(step * jnp.log1p(-(1 - sigma)))  # 1 - sigma^step, without its cancellation
    return v / (jnp.sqrt(s / correction) + jnp.maximum(eps, 2.0**-126))  # 0 / 0 is 0


class InnapropState(NamedTuple):
    """State of `innaprop`: that of `inna`, and the second moment of the gradients.

    Args:
        count: updates so far; the schedules' argument.
        step: those of them with a learning rate other than 0.
        momentum_buffer: u, shaped as the parameters.
        exp_avg_sq: s, shaped as the parameters, in at least float32.
    """

    count: Any
    step: Any
    momentum_buffer: Any
    exp_avg_sq: Any


def innaprop(
    learning_rate: Any,
    alpha: Any = 0.1,
    beta: Any = 0.9,
    sigma: Any = 0.999,
    eps: Any = 1e-8,
    weight_decay: Any = 0.01,
    *,
    initial_speed: Any = None,
    mask: Any = None,
    state_dtype: Any = None,
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
        state_dtype: dtype of the momentum. None: each parameter's own.

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
    learning_rate = checked("learning_rate", learning_rate, may_be_schedule=True)
    sigma, eps = checked("sigma", sigma), checked("eps", eps)
    if isinstance(sigma, float) and sigma >= 1:
        raise ValueError(f"sigma must be less than 1, got {sigma}")
    inertial = inna(
        learning_rate,
        alpha,
        beta,
        initial_speed=beta if initial_speed is None else initial_speed,
        weight_decay=weight_decay,
        mask=mask,
        state_dtype=state_dtype,
    )

    def init(params: Any) -> InnapropState:
        def zeros(p: Any) -> Any:  # in bfloat16 a factor of .999 would be lost
            return jnp.zeros_like(p, dtype=jnp.finfo(jnp.promote_types(p.dtype, jnp.float32)).dtype)

        moments = jax.tree.map(zeros, params)
        inner = inertial.init(params)
        return InnapropState(inner.count, inner.step, inner.momentum_buffer, moments)

    def update(updates: Any, state: InnapropState, params: Any = None, **_: Any) -> tuple[Any, InnapropState]:
        moves = at(learning_rate, state.count) != 0
        step = state.step + 1

        def second_moment(v: Any, s: Any) -> Any:
            return jnp.where(moves, sigma * s + (1 - sigma) * jnp.abs(v).astype(s.dtype) ** 2, s)

        moments = jax.tree.map(second_moment, updates, state.exp_avg_sq)

        def scaled(step: Any) -> Any:
            return jax.tree.map(
                lambda v, s: rms_scaled(v, s, step=step, sigma=sigma, eps=eps), updates, moments
            )

        # XLA stores a quotient that is read twice; behind the barrier the second reader computes its own.
        again = scaled(jax.lax.optimization_barrier(step))
        deltas, inner = inertial.update(scaled(step), InnaState(*state[:3]), params, updates_again=again)
        deltas = jax.tree.map(lambda delta, v: delta.astype(v.dtype), deltas, updates)
        return deltas, InnapropState(inner.count, inner.step, inner.momentum_buffer, moments)

    return optax.GradientTransformationExtraArgs(init, update)
