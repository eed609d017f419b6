"""INNA for JAX: an optax gradient transformation, in the momentum form of the recursion."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import schedules

__all__ = ["InnaState", "inna", "schedule"]


def next_momentum(v: Any, u: Any, *, lr: Any, alpha: Any, beta: Any, push: Any) -> Any:
    """The next u, for u + push v in place of u: at the start the buffer is still 0."""
    kept = 1 - alpha * lr
    return kept * u + (kept * push + lr * (1 - alpha * beta)) * v


def direction(
    v: Any, u: Any, *, u_next: Any, lr: Any, alpha: Any, beta: Any, push: Any, in_place: bool
) -> Any:
    """The d of the step theta - lr d."""
    if in_place:  # XLA copies a u that is read twice, here and for u_next, on a CPU; singular at alpha lr = 1
        return (u_next + (beta - lr) * v) / (1 - alpha * lr)
    return u + (push + beta) * v


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
        A gradient transformation with the state `InnaState`. Under jit, with parameters and state donated, it
        works in place where it knows that alpha gamma <= 1/2: from numbers and from this module's `schedule`.
        With other schedules or traced numbers a step on a CPU also copies the momentum.

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
    in_place = not largest(alpha) * largest(learning_rate) > 0.5  # 0 times infinity: one of them is 0

    def init(params: Any) -> InnaState:
        count, step = jnp.zeros([], jnp.int32), jnp.zeros([], jnp.int32)
        return InnaState(count, step, optax.tree_utils.tree_zeros_like(params, dtype=state_dtype))

    def update(
        updates: Any, state: InnaState, params: Any = None, *, updates_again: Any = None, **_: Any
    ) -> tuple[Any, InnaState]:
        lr, alpha_k, beta_k, speed = (
            at(value, state.count) for value in (learning_rate, alpha, beta, initial_speed)
        )
        moves = lr != 0
        push = jnp.where((state.step == 0) & moves, speed - beta_k, 0)
        setting = {"lr": lr, "alpha": alpha_k, "beta": beta_k, "push": push}

        def of_leaf(v: Any, v_again: Any, buffer: Any) -> tuple[Any, Any]:
            exact = jnp.promote_types(v.dtype, jnp.float32)  # 1 - alpha lr is 1 in bfloat16
            v, v_again, u = v.astype(exact), v_again.astype(exact), buffer.astype(exact)
            u_next = jnp.where(moves, next_momentum(v, u, **setting), u)
            d = direction(v_again, u, u_next=u_next, in_place=in_place, **setting)
            return d, u_next.astype(buffer.dtype)

        leaves, treedef = jax.tree.flatten(updates)
        again = leaves if updates_again is None else treedef.flatten_up_to(updates_again)
        buffers = treedef.flatten_up_to(state.momentum_buffer)
        pairs = [of_leaf(*leaf) for leaf in zip(leaves, again, buffers, strict=True)]
        directions, buffers = ([pair[i] for pair in pairs] for i in (0, 1))
        d = treedef.unflatten(directions)
        if decays:
            if params is None:
                raise ValueError("weight_decay needs the parameters: call update(updates, state, params)")
            d, _ = decay.update(d, decay.init(params), params)
        deltas = jax.tree.map(lambda d, v: jnp.where(moves, -lr * d, 0).astype(v.dtype), d, updates)
        return deltas, InnaState(
            optax.safe_increment(state.count),
            jnp.where(moves, optax.safe_increment(state.step), state.step),
            treedef.unflatten(buffers),
        )

    return optax.GradientTransformationExtraArgs(init, update)


@dataclass(frozen=True)
class schedule:
    r"""An optax schedule from one of `inna.schedules`: :math:`\gamma_k = \gamma_0 f(k)`.

    Args:
        f: a schedule of `inna.schedules`.
        lr: gamma_0, >= 0.

    Example:
        >>> from inna import schedules
        >>> optimizer = inna(schedule(schedules.power(0.5), lr=0.1))

    Reference: Castera et al. (2021), Section 5.2 and Figure 4.
    """

    f: Callable[..., Any]
    lr: Any

    def __post_init__(self) -> None:
        checked("lr", self.lr)

    def __call__(self, count: Any) -> Any:
        return self.lr * self.f(count, jnp)


def at(value: Any, count: Any) -> Any:
    """The value at this count, of a number or of a schedule."""
    return value(count) if callable(value) else value


def largest(value: Any) -> float:
    """The largest value that a number or a schedule takes, as far as that is known before it runs."""
    if isinstance(value, schedule) and at_most_1(value.f):
        value = value.lr
    return value if isinstance(value, float | int) else math.inf


def at_most_1(f: Any) -> bool:
    """Whether f is known to be: as each family of `inna.schedules` is."""
    own = type(f).__module__ == schedules.__name__
    return own and (not isinstance(f, schedules.warmup) or at_most_1(f.then))


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
