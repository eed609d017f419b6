"""INNA for JAX: an optax gradient transformation, in the momentum form of the recursion."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

__all__ = ["InnaState", "inna", "schedule"]


def inna_update(v: Any, u: Any, *, lr: Any, alpha: Any, beta: Any) -> tuple[Any, Any]:
    """The next momentum, and the direction d of the step theta - lr d."""
    kept = 1 - alpha * lr
    u_next = kept * u + lr * (1 - alpha * beta) * v
    # Two outputs that read the old u make XLA copy it on a CPU, so read the new one; not near alpha lr = 1.
    if isinstance(kept, float) and abs(kept) >= 0.5:
        return (u_next + (beta - lr) * v) / kept, u_next
    return u + beta * v, u_next


class InnaState(NamedTuple):
    """State of `inna`.

    Args:
        count: updates so far; the schedules' argument.
        step: those of them with a learning rate other than 0; the start is due at 0.
        momentum_buffer: u, shaped as the parameters.
    """

    count: Any
    step: Any
    momentum_buffer: Any


def inna(
    learning_rate: Any,
    alpha: Any = 0.5,
    beta: Any = 0.1,
    *,
    initial_speed: Any = 1.0,
    weight_decay: Any = 0.0,
    mask: Any = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""The Inertial Newton Algorithm.

    With a mini-batch (sub)gradient v_k and the momentum u_k (`momentum_buffer`), one step is

    .. math::
        \theta_{k+1} &= \theta_k - \gamma_k (u_k + \beta v_k + \lambda \theta_k) \\
        u_{k+1} &= (1 - \alpha \gamma_k)\, u_k + \gamma_k (1 - \alpha \beta)\, v_k

    which for :math:`\lambda = 0` is, exactly, the paper's recursion in (theta, psi) with
    :math:`\psi = \beta u + (1 - \alpha\beta)\theta`.

    Args:
        learning_rate: step size gamma, >= 0: a number or an optax schedule, as alpha and beta. A step with
            learning rate 0 changes neither parameters nor state, except that the schedules go on.
        alpha: viscous damping, >= 0. Lower it when convergence is slow.
        beta: Newtonian damping, >= 0 (0: heavy ball). Raise it when the loss oscillates.
        initial_speed: s >= 0: the first step starts with velocity -s v_0, that is with u_0 = (s - beta) v_0.
        weight_decay: lambda >= 0, decoupled: the momentum does not see it.
        mask: a tree of booleans, shaped as the parameters or a prefix of them, or a function of the
            parameters that returns one: where the decay applies. None: everywhere.
        state_dtype: dtype of the momentum. None: each parameter's own.

    Returns:
        A gradient transformation with the state `InnaState`. With a schedule or a traced number for the
        learning rate or alpha, a step on a CPU costs a copy of the momentum.

    Raises:
        ValueError: a number is negative, NaN or infinite; the message names it.
        TypeError: a value is neither a number nor, where that is allowed, a schedule.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> optimizer = inna(0.1, alpha=0.5, beta=0.1)
        >>> @jax.jit
        ... def step(theta, state):
        ...     gradient = jax.grad(lambda x: (x**2).sum())(theta)
        ...     updates, state = optimizer.update(gradient, state, theta)
        ...     return optax.apply_updates(theta, updates), state
        >>> theta = jnp.array([1.0, -2.0])
        >>> state = optimizer.init(theta)
        >>> for _ in range(500):
        ...     theta, state = step(theta, state)
        >>> bool(jnp.linalg.norm(theta) < 1e-3)
        True

    Reference: Castera, Bolte, Févotte, Pauwels, *An Inertial Newton Algorithm for Deep Learning*, JMLR 22
    (2021), equation (12), Table 1 and, for the start, Section 5.2.
    """
    learning_rate = checked("learning_rate", learning_rate, may_be_schedule=True)
    alpha = checked("alpha", alpha, may_be_schedule=True)
    beta = checked("beta", beta, may_be_schedule=True)
    initial_speed = checked("initial_speed", initial_speed, may_be_schedule=True)
    weight_decay = checked("weight_decay", weight_decay)
    decay = optax.add_decayed_weights(weight_decay, mask)
    decays = not (isinstance(weight_decay, float) and weight_decay == 0)

    def init(params: Any) -> InnaState:
        count, step = jnp.zeros([], jnp.int32), jnp.zeros([], jnp.int32)
        return InnaState(count, step, optax.tree_utils.tree_zeros_like(params, dtype=state_dtype))

    def update(updates: Any, state: InnaState, params: Any = None, **_: Any) -> tuple[Any, InnaState]:
        lr, alpha_k, beta_k, speed = (
            at(value, state.count) for value in (learning_rate, alpha, beta, initial_speed)
        )
        moves = lr != 0
        starts = (state.step == 0) & moves

        def of_leaf(v: Any, buffer: Any) -> tuple[Any, Any]:
            exact = jnp.promote_types(v.dtype, jnp.float32)  # 1 - alpha lr is 1 in bfloat16
            v, u = v.astype(exact), buffer.astype(exact)
            u = jnp.where(starts, (speed - beta_k) * v, u)
            direction, u = inna_update(v, u, lr=lr, alpha=alpha_k, beta=beta_k)
            return direction, jnp.where(moves, u.astype(buffer.dtype), buffer)

        leaves, treedef = jax.tree.flatten(updates)
        pairs = [
            of_leaf(v, u) for v, u in zip(leaves, treedef.flatten_up_to(state.momentum_buffer), strict=True)
        ]
        directions, buffers = ([pair[i] for pair in pairs] for i in (0, 1))
        direction = treedef.unflatten(directions)
        if decays:
            if params is None:
                raise ValueError("weight_decay needs the parameters: call update(updates, state, params)")
            direction, _ = decay.update(direction, decay.init(params), params)
        deltas = jax.tree.map(lambda d, v: jnp.where(moves, -lr * d, 0).astype(v.dtype), direction, updates)
        return deltas, InnaState(
            optax.safe_increment(state.count),
            jnp.where(moves, optax.safe_increment(state.step), state.step),
            treedef.unflatten(buffers),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def schedule(f: Callable[..., Any], lr: float) -> Callable[[Any], Any]:
    r"""An optax schedule from one of `inna.schedules`: :math:`\gamma_k = \gamma_0 f(k)`.

    Args:
        f: a schedule of `inna.schedules`.
        lr: gamma_0.

    Example:
        >>> from inna import schedules
        >>> optimizer = inna(schedule(schedules.power(0.5), lr=0.1))

    Reference: Castera et al. (2021), Section 5.2 and Figure 4.
    """
    return lambda count: lr * f(count, jnp)


def at(value: Any, count: Any) -> Any:
    """The value at this count, of a number or of a schedule."""
    return value(count) if callable(value) else value


def checked(name: str, value: Any, *, may_be_schedule: bool = False) -> Any:
    """A float in [0, inf); tracers and, where allowed, schedules are passed through as they are."""
    if isinstance(value, jax.core.Tracer) or (may_be_schedule and callable(value)):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        expected = "a number or a schedule" if may_be_schedule else "a number"
        raise TypeError(f"{name} must be {expected}, got {value!r}") from None
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} must be finite and non-negative, got {value}")
    return number
