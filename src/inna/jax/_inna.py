"""INNA for JAX: an optax gradient transformation, in the momentum form of the recursion."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from ._cpu import after, apart
from ._dtypes import checked_dtype, wide
from ._hyperparameters import at, checked

__all__ = ["InnaState", "Mask", "inertia", "inna", "scale_by_inna"]


class Coefficients(NamedTuple):
    """Of the two lines; `lr` is gamma."""

    lr: jax.Array
    push: jax.Array
    damp: jax.Array
    gain: jax.Array


def inna_step(u: jax.Array, v: jax.Array, c: Coefficients) -> tuple[jax.Array, jax.Array]:
    """What theta changes by, but for its decay, and the next u."""
    return -c.lr * u - c.push * v, c.damp * u + c.gain * v


def coefficients(
    *, lr: jax.Array, alpha: jax.Array, beta: jax.Array, speed: jax.Array, first: jax.Array
) -> Coefficients:
    """The start u_0 = (speed - beta) v_0 is part of the first step's coefficients."""
    start = jnp.where(first, speed - beta, 0)
    push, damp = lr * (beta + start), 1 - alpha * lr
    started = jnp.where(lr != 0, damp * start, 0)  # the derivative by lr of `push` is right at 0, too
    return Coefficients(lr, push, damp, gain=lr * (1 - alpha * beta) + started)


Mask: TypeAlias = optax.Params | Callable[[optax.Params], optax.Params] | None


class Decay(NamedTuple):
    """What `inna` and `innaprop` are told of the decay."""

    rate: float | jax.Array
    mask: Mask
    cautious: bool


class InnaState(NamedTuple):
    """State of `inna` and `scale_by_inna`.

    Args:
        count: updates so far; the schedules' argument.
        step: those of them with a learning rate other than 0; the start is due at 0.
        momentum_buffer: u, shaped as the parameters.
    """

    count: jax.Array
    step: jax.Array
    momentum_buffer: optax.Updates


def inna(
    learning_rate: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule = 0.5,
    beta: optax.ScalarOrSchedule = 0.1,
    *,
    initial_speed: optax.ScalarOrSchedule = 1.0,
    weight_decay: float | jax.Array = 0.0,
    mask: Mask = None,
    cautious_weight_decay: bool = False,
    state_dtype: jax.typing.DTypeLike | None = None,
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
        cautious_weight_decay: shrinks only the values that the step moves towards 0 or leaves (Chen et al.
            2025, arXiv 2510.12402).
        state_dtype: dtype of the momentum. None: each parameter's own, and float32 for 16 bits and less.

    Returns:
        A gradient transformation with the state `InnaState`. Its `update` returns steps in the dtype of the
        gradients (float32 for integers); under jit, with parameters and state donated, it works in place,
        on a CPU if the parameters are given to it.

    Raises:
        ValueError: a number is negative, NaN or infinite, or a schedule returns no scalar; the message
            names it.
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
    decay = Decay(weight_decay, mask, cautious_weight_decay)
    init, step = inertia(learning_rate, alpha, beta, initial_speed, decay, state_dtype)

    def update(
        updates: optax.Updates, state: InnaState, params: optax.Params | None = None, **_: object
    ) -> tuple[optax.Updates, InnaState]:
        def direction(moves: jax.Array, k: jax.Array) -> optax.Updates:
            return jax.tree.map(lambda v: at_rest(jnp.asarray(v), moves), updates)

        return step(updates, direction, state, params)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_inna(
    learning_rate: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule = 0.5,
    beta: optax.ScalarOrSchedule = 0.1,
    *,
    initial_speed: optax.ScalarOrSchedule = 1.0,
    state_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""INNA's inertia behind any direction: the last link of an `optax.chain`.

    The direction v_k that the chain hands on takes the place of the gradient:

    .. math::
        \theta_{k+1} = \theta_k - \gamma_k (u_k + \beta v_k), \qquad
        u_{k+1} = (1 - \alpha \gamma_k)\, u_k + \gamma_k (1 - \alpha \beta)\, v_k

    What it returns is the step itself, with its sign and the learning rate, which is part of the recursion:
    no `optax.scale_by_learning_rate` follows. Behind RMSprop's scaling it is `innaprop` without decay.

    Args:
        learning_rate: step size gamma, >= 0: a number or an optax schedule, as alpha, beta and initial_speed.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.
        initial_speed: s >= 0: starts with u_0 = (s - beta) v_0; `beta` starts without momentum.
        state_dtype: dtype of the momentum, as in `inna`.

    Returns:
        A gradient transformation with the state `InnaState`.

    Raises:
        ValueError, TypeError: as `inna`.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> optimizer = optax.chain(optax.scale_by_sign(), scale_by_inna(0.01, alpha=0.1, beta=0.9))
        >>> theta = jnp.array([1.0, -200.0])
        >>> steps, _ = optimizer.update(2 * theta, optimizer.init(theta), theta)
        >>> [round(step, 6) for step in steps.tolist()]
        [-0.01, 0.01]

    Reference: Castera et al. (2021), equation (12).
    """
    return inna(learning_rate, alpha, beta, initial_speed=initial_speed, state_dtype=state_dtype)


def inertia(
    learning_rate: optax.ScalarOrSchedule,
    alpha: optax.ScalarOrSchedule,
    beta: optax.ScalarOrSchedule,
    initial_speed: optax.ScalarOrSchedule,
    decay: Decay,
    state_dtype: jax.typing.DTypeLike | None,
) -> tuple[Callable[..., InnaState], Callable[..., tuple[optax.Updates, InnaState]]]:
    """The functions `init(params)` and `step(updates, direction, state, params)`.

    The direction is a function of whether the learning rate is not 0, and of the number of the step from 1.
    """
    hyperparameters = {
        name: checked(name, value, may_be_schedule=True)
        for name, value in [
            ("learning_rate", learning_rate),
            ("alpha", alpha),
            ("beta", beta),
            ("initial_speed", initial_speed),
        ]
    }
    weight_decay, state_dtype = checked("weight_decay", decay.rate), checked_dtype(state_dtype)
    decays = not (isinstance(weight_decay, float) and weight_decay == 0)

    def init(params: optax.Params) -> InnaState:
        count, step = jnp.zeros([], jnp.int32), jnp.zeros([], jnp.int32)
        zeros = jax.tree.map(lambda p: jnp.zeros_like(p, dtype=wide(p, state_dtype)), params)
        return InnaState(count, step, zeros)

    def step(
        updates: optax.Updates,
        direction: Callable[[jax.Array, jax.Array], optax.Updates],
        state: InnaState,
        params: optax.Params | None,
    ) -> tuple[optax.Updates, InnaState]:
        now = {
            name: at(name, x, state.count) for name, x in hyperparameters.items()
        }  # in any order: a pytree
        lr, alpha, beta, speed = (now[name] for name in ("learning_rate", "alpha", "beta", "initial_speed"))
        c = coefficients(lr=lr, alpha=alpha, beta=beta, speed=speed, first=state.step == 0)

        def stepped(v: jax.Array, u: jax.Array, c: Coefficients) -> tuple[jax.Array, jax.Array]:
            dtype = jnp.promote_types(wide(v), wide(u))
            v, u = jnp.asarray(v).astype(dtype), u.astype(dtype)
            return inna_step(u, v, Coefficients(*(x.astype(v.real.dtype) for x in c)))

        us, scalars = state.momentum_buffer, (lr != 0, state.step + 1)
        deltas = jax.tree.map(lambda v, u: stepped(v, u, c)[0], direction(*scalars), us)
        if decays:
            if params is None:
                raise ValueError("weight_decay needs the parameters: call update(updates, state, params)")
            shrink = optax.add_decayed_weights(-lr * weight_decay, decay.mask)
            thetas = jax.tree.map(lambda p: jnp.asarray(p).astype(wide(p)), params)
            if decay.cautious:
                thetas = jax.tree.map(nearing_0, thetas, deltas)
            deltas, _ = shrink.update(deltas, shrink.init(thetas), thetas)
        deltas = jax.tree.map(like, deltas, updates)

        again, cs = direction(*apart(scalars)), after(params, deltas, c)
        us = jax.tree.map(lambda v, u, c: stepped(v, u, c)[1].astype(u.dtype), again, us, cs)
        count, moved = optax.safe_increment(state.count), optax.safe_increment(state.step)
        return deltas, InnaState(count, jnp.where(lr != 0, moved, state.step), us)

    return init, step


def at_rest(v: jax.Array, moves: jax.Array) -> jax.Array:
    """The gradient, or in a step with learning rate 0 what of it is finite: 0 times infinity is no number."""
    return jnp.where(moves | jnp.isfinite(v), v, 0)


def nearing_0(theta: jax.Array, delta: jax.Array) -> jax.Array:
    """The values that a step moves towards 0 or leaves, the others 0; of complex numbers, their parts."""
    if jnp.iscomplexobj(theta):
        return jax.lax.complex(nearing_0(theta.real, delta.real), nearing_0(theta.imag, delta.imag))
    return jnp.where(theta * delta <= 0, theta, 0)


def like(delta: jax.Array, v: jax.Array) -> jax.Array:
    """The step in the dtype of the gradient, which an integer could not hold."""
    dtype = jnp.result_type(v)
    return delta.astype(dtype if jnp.issubdtype(dtype, jnp.inexact) else wide(v))
