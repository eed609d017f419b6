"""The dynamical inertial Newton system, and its trajectories."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from ..reference import momentum_from_psi, psi_from_momentum
from ._ball import Ball
from ._energies import energy

__all__ = ["DIN", "Trajectory", "on_quadratic"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DIN:
    r"""The system (5), in the momentum u of which :math:`\psi = \beta u + (1 - \alpha\beta)\theta`.

    .. math::
        \dot\theta = -u - \beta v, \qquad \dot u = -\alpha u + (1 - \alpha\beta) v, \qquad v \in DJ(\theta)

    For smooth J it is :math:`\ddot\theta + \alpha\dot\theta + \beta\nabla^2 J\dot\theta + \nabla J = 0`, (4).

    Args:
        gradient: theta -> a (sub)gradient; the last axis of theta holds the coordinates, leading axes are a
            batch of trajectories.
        alpha: viscous damping, >= 0; for `euler` also an array over the batch.
        beta: Newtonian damping, >= 0; likewise.
        objective: theta -> J, without the last axis; needed for energies only.

    Raises:
        ValueError: alpha or beta is negative or not finite.

    Reference: Castera et al. (2021), equations (4), (5), (7), (11).
    """

    gradient: Callable[[Array], Array]
    alpha: Any = 0.5
    beta: Any = 0.1
    objective: Callable[[Array], Array] | None = None

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            value = np.asarray(getattr(self, name))
            if not (np.isfinite(value) & (value >= 0)).all():
                raise ValueError(f"{name} must be finite and non-negative, got {getattr(self, name)}")

    def field(self, theta: Array, u: Array) -> tuple[Array, Array]:
        """The right-hand side: theta' and u'; psi' is -u."""
        alpha, beta, v = _column(self.alpha), _column(self.beta), self.gradient(theta)
        return -u - beta * v, -alpha * u + (1 - alpha * beta) * v

    def start(self, theta: Array, *, psi: Array | None = None, initial_speed: float = 1.0) -> Array:
        """u_0: that of a given psi_0 (beta > 0), or the one of velocity -initial_speed times the gradient."""
        u: Array
        if psi is not None:
            u = momentum_from_psi(theta, psi, alpha=_column(self.alpha), beta=_column(self.beta))
            return u
        u = (initial_speed - _column(self.beta)) * self.gradient(theta)
        return u

    def phase(self, theta: Array, velocity: Array) -> Array:
        r"""From (4) to (5): :math:`\psi = -\beta\dot\theta - \beta^2 v + (1 - \alpha\beta)\theta`.

        Args:
            theta: position, shape (..., d).
            velocity: theta' there.

        Example:
            >>> din, theta = DIN(gradient=lambda x: 3 * x, alpha=0.5, beta=0.1), np.array([2.0])
            >>> psi = din.phase(theta, np.array([-1.0]))
            >>> psi.round(12), din.velocity(theta, psi).round(12)
            (array([1.94]), array([-1.]))
        """
        alpha, beta = _column(self.alpha), _column(self.beta)
        psi: Array = psi_from_momentum(theta, -velocity - beta * self.gradient(theta), alpha=alpha, beta=beta)
        return psi

    def velocity(self, theta: Array, psi: Array) -> Array:
        """From (5) to (4): theta' at (theta, psi), beta > 0; the inverse of `phase`."""
        return self.field(theta, self.start(theta, psi=psi))[0]

    def rest_phase(self, theta: Array) -> Array:
        r"""The psi with which a critical theta is at rest: :math:`\psi = (1 - \alpha\beta)\theta`, (16)."""
        return np.asarray((1 - _column(self.alpha) * _column(self.beta)) * theta)

    def solve(
        self,
        theta: ArrayLike,
        times: ArrayLike,
        *,
        psi: Array | None = None,
        initial_speed: float = 1.0,
        rtol: float = 1e-11,
        atol: float = 1e-13,
        method: str = "DOP853",
    ) -> "Trajectory":
        """Integrate the smooth system to a tolerance, by SciPy's `solve_ivp`.

        Args:
            theta: theta_0, shape (d,).
            times: increasing times from 0 at which the trajectory is wanted.
            psi: psi_0, shape (d,); None for the start of Section 5.2.
            initial_speed: s of that start.
            rtol: relative tolerance of the solver.
            atol: absolute tolerance of the solver.
            method: one of `solve_ivp`'s; a stiff one such as "Radau" where beta times the curvature is large.

        Raises:
            RuntimeError: the solver gave up; its reason.
        """
        theta, times = np.asarray(theta, float), np.asarray(times, float)
        d = theta.size

        def right_hand_side(_: float, state: Array) -> Array:
            return np.concatenate(self.field(state[:d], state[d:]))

        first = np.concatenate([theta, self.start(theta, psi=psi, initial_speed=initial_speed)])
        span = (times[0], times[-1])
        done = solve_ivp(right_hand_side, span, first, method, times, rtol=rtol, atol=atol)
        if not done.success:
            raise RuntimeError(f"the system could not be integrated: {done.message}")
        return Trajectory(self, done.t, done.y[:d].T, done.y[d:].T)

    def solve_second_order(
        self,
        theta: ArrayLike,
        times: ArrayLike,
        hessian_times: Callable[[Array, Array], Array],
        *,
        initial_speed: float = 1.0,
        rtol: float = 1e-11,
        atol: float = 1e-13,
    ) -> "Trajectory":
        """Integrate the second-order form (4) instead, J twice differentiable.

        Args:
            theta: theta_0, shape (d,).
            times: as for `solve`.
            hessian_times: (theta, w) -> the Hessian at theta times w.
            initial_speed: s of the initial velocity -s grad J(theta_0).
            rtol: relative tolerance of the solver.
            atol: absolute tolerance of the solver.
        """
        theta, times = np.asarray(theta, float), np.asarray(times, float)
        d = theta.size

        def right_hand_side(_: float, state: Array) -> Array:
            x, w = state[:d], state[d:]
            force = self.alpha * w + self.beta * hessian_times(x, w) + self.gradient(x)
            return np.concatenate([w, -force])

        first = np.concatenate([theta, -initial_speed * self.gradient(theta)])
        span = (times[0], times[-1])
        done = solve_ivp(right_hand_side, span, first, "DOP853", times, rtol=rtol, atol=atol)
        if not done.success:
            raise RuntimeError(f"the system could not be integrated: {done.message}")
        path, velocity = done.y[:d].T, done.y[d:].T
        gradients = np.array([self.gradient(x) for x in path])
        return Trajectory(self, done.t, path, -velocity - self.beta * gradients)

    def euler(
        self,
        theta: ArrayLike,
        lr: Any,
        steps: int,
        *,
        psi: Array | None = None,
        initial_speed: float = 1.0,
        every: int = 1,
        schedule: Callable[[int], float] | None = None,
        ball: Ball | None = None,
    ) -> "Trajectory":
        """The paper's explicit Euler discretisation (8): INNA with a full (sub)gradient.

        A batch of starts, alpha, beta and lr advances together: they broadcast against theta's leading axes.
        theta advances in place, so a gradient that keeps its argument must copy it.

        Args:
            theta: theta_0, shape (..., d).
            lr: the step gamma, a number or an array over the batch.
            steps: number of updates.
            psi: psi_0; None for the start of Section 5.2.
            initial_speed: s of that start.
            every: keep every so many-th point (and the first and the last).
            schedule: k -> the factor of lr in update k, as in `inna.schedules`; None is 1.
            ball: project every iterate on this ball, beta > 0; psi stays.

        Example:
            >>> alpha, beta = np.meshgrid([0.1, 0.5, 2.0], [0.01, 0.1])  # six settings, one end each
            >>> din = DIN(lambda x: x, alpha, beta, lambda x: (x * x).sum(-1) / 2)
            >>> din.euler([1.0], 0.01, 2000, every=2000).objective[-1].shape
            (2, 3)
        """
        first = np.asarray(theta, float)
        batch = np.broadcast_shapes(first.shape[:-1], *map(np.shape, (lr, self.alpha, self.beta)))
        x: Array = np.broadcast_to(first, (*batch, first.shape[-1])).copy()
        u = self.start(x, psi=psi, initial_speed=initial_speed)
        # As large as x where they vary: broadcasting over short last axes costs more than all arithmetic.
        gamma, alpha, beta = (
            np.broadcast_to(_column(value), x.shape).copy() if np.ndim(value) else value
            for value in (lr, self.alpha, self.beta)
        )
        if ball is not None and not np.all(np.greater(beta, 0)):
            raise ValueError(f"the projection needs beta > 0, where psi exists, got {self.beta}")
        t = np.zeros(np.shape(lr))
        kept = [(t, x.copy(), u.copy())]
        step, scale = None, 1.0
        move, push = np.empty_like(x), np.empty_like(x)
        for k in range(steps):
            factor = 1.0 if schedule is None else schedule(k)
            if step is None or factor != scale:
                step, scale = gamma * factor, factor
                newton, damp, gain = step * beta, 1 - alpha * step, step * (1 - alpha * beta)
            v = self.gradient(x)
            np.multiply(u, step, out=move)
            move += np.multiply(v, newton, out=push)
            u *= damp
            u += np.multiply(v, gain, out=push)
            x -= move  # last: v may be x itself
            if ball is not None:
                u += (alpha - 1 / beta) * ball.project(x)
            t = t + lr * factor
            if (k + 1) % every == 0 or k + 1 == steps:
                kept.append((t, x.copy(), u.copy()))
        times, thetas, momenta = (np.array(column) for column in zip(*kept, strict=True))
        return Trajectory(self, times, thetas, momenta)


@dataclass(frozen=True)
class Trajectory:
    """Points of a trajectory: `theta` and `u` of shape (n, ..., d), `t` of shape (n,) (or as lr's batch)."""

    system: DIN
    t: Array
    theta: Array
    u: Array

    @property
    def psi(self) -> Array:
        """The paper's phase variable."""
        alpha, beta = _column(self.system.alpha), _column(self.system.beta)
        psi: Array = psi_from_momentum(self.theta, self.u, alpha=alpha, beta=beta)
        return psi

    @property
    def velocity(self) -> Array:
        """The velocity theta' by the system's own right-hand side."""
        return np.array([self.system.field(theta, u)[0] for theta, u in zip(self.theta, self.u, strict=True)])

    @property
    def speed(self) -> Array:
        """The length of theta'."""
        return np.asarray(np.linalg.norm(self.velocity, axis=-1))

    @property
    def objective(self) -> Array:
        """J along the trajectory.

        Raises:
            ValueError: the system was given no objective.
        """
        if self.system.objective is None:
            raise ValueError("this needs the objective: DIN(gradient, objective=...)")
        return np.array([self.system.objective(theta) for theta in self.theta])

    def energy(self, lam: float | None = None) -> Array:
        """E_lambda along the trajectory, E = E_min + E_max if lambda is None."""
        return energy(self.objective, self.u, self.system.alpha, self.system.beta, lam)


def on_quadratic(
    curvature: Any,
    alpha: Any,
    beta: Any,
    x: Any,
    t: Any,
    *,
    initial_speed: float = 1.0,
) -> tuple[Array, Array]:
    r"""The exact solution on :math:`J(x) = L x^2 / 2`: position and momentum u at time t.

    All arguments broadcast.

    Args:
        curvature: L > 0.
        alpha: viscous damping.
        beta: Newtonian damping.
        x: x_0.
        t: time.
        initial_speed: s, the initial velocity being -s L x_0.

    Example:
        >>> from inna.reference import psi_from_momentum
        >>> x, u = on_quadratic(1.0, 0.5, 0.1, 1.0, 2.0)
        >>> f"{x:.12f} {psi_from_momentum(x, u, alpha=0.5, beta=0.1):.12f}"
        '-0.561565300182 -0.508017072387'
    """
    curvature, alpha, beta, x, t = (np.asarray(a, float) for a in (curvature, alpha, beta, x, t))
    middle = -(alpha + beta * curvature) / 2
    root = np.sqrt((middle**2 - curvature).astype(complex))
    grow, fall = np.exp((middle + root) * t), np.exp((middle - root) * t)
    even = (grow + fall) / 2
    small = np.abs(root * t) < 1e-4  # near critical damping the quotient would cancel
    odd = np.where(
        small,
        t * np.exp(middle * t) * (1 + (root * t) ** 2 / 6),
        (grow - fall) / np.where(small, 1, 2 * root),
    )
    slope = -initial_speed * curvature * x - middle * x
    position = (even * x + odd * slope).real
    velocity = (middle * (even * x + odd * slope) + root**2 * odd * x + even * slope).real
    return position, -velocity - beta * curvature * position


def _column(value: ArrayLike) -> Any:
    """A number as it is; an array over the batch with an axis for the coordinates."""
    return np.asarray(value, float)[..., None] if np.ndim(value) else value
