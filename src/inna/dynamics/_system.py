"""The dynamical inertial Newton system, and its trajectories."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..nonsmooth import FiniteSum, MinkowskiSum
from ..nonsmooth._critical import NonSmooth
from ..reference import momentum_from_psi, psi_from_momentum
from ._ball import Ball
from ._check import Check, check
from ._checks import finite, increasing, non_negative, phase, point, positive
from ._energies import energy
from ._inclusion import follow
from ._integrate import integrate
from ._modes import MET, selection

__all__ = ["DIN", "Solution", "Trajectory"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DIN:
    r"""The system (5), in the momentum u of which :math:`\psi = \beta u + (1 - \alpha\beta)\theta`.

    .. math::
        \dot\theta = -u - \beta v, \qquad \dot u = -\alpha u + (1 - \alpha\beta) v, \qquad v \in DJ(\theta)

    For smooth J it is :math:`\ddot\theta + \alpha\dot\theta + \beta\nabla^2 J\dot\theta + \nabla J = 0`, (4).

    alpha and beta may vary in time, as Section 5.1 suggests. The system keeps its form; in (4) the gradient
    is then multiplied by :math:`1 + \dot\beta`.

    Args:
        gradient: theta -> a (sub)gradient; the last axis of theta holds the coordinates, leading axes are a
            batch of trajectories.
        alpha: viscous damping, >= 0; for `euler` also an array over the batch; or a function of the time.
        beta: Newtonian damping, >= 0; likewise.
        objective: theta -> J, without the last axis; needed for energies only.
        J: the finite sum itself, where J is not smooth; `DIN.of` fills in everything.

    Raises:
        ValueError: alpha or beta is negative or not finite.

    Example:
        Nesterov's damping 3 / t, from t = 1 on.

        >>> din = DIN(lambda x: x, alpha=lambda t: 3 / (1 + t), beta=0.1)
        >>> din.solve([1.0], [0.0, 20.0]).theta[-1].round(6)
        array([0.004626])

    Reference: Castera et al. (2021), equations (4), (5), (7), (11).
    """

    gradient: Callable[[Array], Array]
    alpha: Any = 0.5
    beta: Any = 0.1
    objective: Callable[[Array], Array] | None = None
    J: NonSmooth | None = None

    @classmethod
    def of(cls, J: FiniteSum, alpha: Any = 0.5, beta: Any = 0.1, *, clarke: bool = False) -> "DIN":
        r"""The inclusion (11) of a finite sum J; with `clarke` (7), that of its Clarke subdifferential.

        The gradient is the selection that automatic differentiation makes, with relu'(0) = 0.

        Example:
            >>> from inna.nonsmooth import FiniteSum
            >>> path = DIN.of(FiniteSum([lambda x: abs(x[0])])).solve_inclusion([1.0], [0.0, 15.0])
            >>> bool(path.energy()[-1] < 1e-10)
            True
        """
        if clarke:
            terms = J.terms
            J = FiniteSum([lambda x: sum(term(x) for term in terms)])
        whole = J

        def gradient(theta: Array) -> Array:
            return np.apply_along_axis(lambda x: selection(whole.terms, x), -1, theta)

        def objective(theta: Array) -> Array:
            return np.apply_along_axis(lambda x: np.asarray(whole(x)), -1, theta)

        return cls(gradient, alpha, beta, objective, whole)

    def __post_init__(self) -> None:
        non_negative(**{name: c for name in ("alpha", "beta") if not callable(c := getattr(self, name))})

    def damping(self, t: Any = 0.0) -> tuple[Any, Any]:
        """The values of alpha and beta at a time.

        Raises:
            ValueError: one that varies is negative or not finite there.
        """
        values = [c(t) if callable(c) else c for c in (self.alpha, self.beta)]
        if callable(self.alpha) or callable(self.beta):
            non_negative(alpha=values[0], beta=values[1])
        return values[0], values[1]

    def field(self, theta: Array, u: Array, t: Any = 0.0) -> tuple[Array, Array]:
        """The right-hand side at a time: theta' and u'; psi' is -u."""
        (alpha, beta), v = map(_column, self.damping(t)), self.gradient(theta)
        return -u - beta * v, -alpha * u + (1 - alpha * beta) * v

    def start(self, theta: Array, *, psi: Array | None = None, initial_speed: float = 1.0) -> Array:
        """u_0: that of a given psi_0 (beta > 0), or the one of velocity -initial_speed times the gradient."""
        alpha, beta = map(_column, self.damping())
        u: Array
        if psi is not None:
            u = momentum_from_psi(theta, psi, alpha=alpha, beta=beta)
            return u
        u = (finite("initial_speed", initial_speed) - beta) * self.gradient(theta)
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
        alpha, beta = map(_column, self.damping())
        psi: Array = psi_from_momentum(theta, -velocity - beta * self.gradient(theta), alpha=alpha, beta=beta)
        return psi

    def velocity(self, theta: Array, psi: Array) -> Array:
        """From (5) to (4): theta' at (theta, psi), beta > 0; the inverse of `phase`."""
        return self.field(theta, self.start(theta, psi=psi))[0]

    def rest_phase(self, theta: Array) -> Array:
        r"""The psi with which a critical theta is at rest: :math:`\psi = (1 - \alpha\beta)\theta`, (16)."""
        alpha, beta = map(_column, self.damping())
        return np.asarray((1 - alpha * beta) * theta)

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
            times: at least two increasing times from 0 at which the trajectory is wanted.
            psi: psi_0, shape (d,); None for the start of Section 5.2.
            initial_speed: s of that start.
            rtol: relative tolerance of the solver.
            atol: absolute tolerance of the solver.
            method: one of `solve_ivp`'s; a stiff one such as "Radau" where beta times the curvature is large.

        Raises:
            ValueError: theta, times, psi or initial_speed is not as said.
            RuntimeError: the solver gave up, for a reason that is told; or its steps became so short that it
                would go on for ever, as where the gradient jumps.
        """
        theta, times = point(theta), increasing(times)
        d = theta.size
        psi = phase(psi, theta.shape, theta.shape)

        def right_hand_side(t: float, state: Array) -> Array:
            return np.concatenate(self.field(state[:d], state[d:], t))

        first = np.concatenate([theta, self.start(theta, psi=psi, initial_speed=initial_speed)])
        states = integrate(right_hand_side, first, times, method, rtol, atol)
        return Trajectory(self, times, states[:, :d], states[:, d:])

    def solve_inclusion(
        self,
        theta: ArrayLike,
        times: ArrayLike,
        *,
        psi: Array | None = None,
        initial_speed: float = 1.0,
        rtol: float = 1e-11,
        atol: float = 1e-13,
        max_step: float = np.inf,
        max_switches: int = 1000,
    ) -> "Solution":
        r"""Follow a solution of the inclusion (11), J a finite sum of piecewise smooth terms.

        Between two switches the solution is smooth, and integrated to the tolerance by SciPy's DOP853: in
        the open, or along the kinks on which it stays. There the selection is the one that keeps it on them,

        .. math:: v = P_{DJ(\theta)}(-u/\beta), \qquad \dot\theta = -u - \beta v,

        the nearest element to -u/beta, not to 0: on \|x\| at 0 it is -u/beta. Switches, where a kink is met
        or v leaves DJ, are located to rounding. For convex J the solution is unique; else it is one of them.
        The zero of a Euclidean norm is no kink in this sense: there an error ends the run.

        Args:
            theta: theta_0, shape (d,).
            times: at least two increasing times from 0 at which the solution is wanted.
            psi: psi_0, shape (d,); None for the start of Section 5.2.
            initial_speed: s of that start.
            rtol: relative tolerance of the solver.
            atol: absolute tolerance of the solver.
            max_step: the longest step; a kink that is crossed and crossed back within a quarter of a step can
                be missed.
            max_switches: the largest number of switches.

        Raises:
            ValueError: theta, times, psi or initial_speed is not as said, beta is 0, or J is no finite sum.
            RuntimeError: the solution could not be followed: too many switches, too short steps, or pieces
                that contradict the velocity on them.

        Reference: Castera et al. (2021), (7), (11); Filippov, *Differential equations with discontinuous
        righthand sides* (1988).
        """
        if not isinstance(self.J, FiniteSum):
            raise ValueError("the inclusion needs the terms of J: DIN.of(FiniteSum([...]), alpha, beta)")
        theta, times = point(theta), increasing(times)
        positive(beta=self.damping()[1], rtol=rtol, atol=atol)
        psi = phase(psi, theta.shape, theta.shape)
        u = self.start(theta, psi=psi, initial_speed=initial_speed)
        found = follow(
            self.J.terms,
            self.damping,
            theta,
            u,
            times,
            rtol=rtol,
            atol=atol,
            max_step=max_step,
            max_switches=max_switches,
        )
        return Solution(self, times, found.theta, found.u, found.v, found.switches)

    def subgradients(self, theta: Array) -> MinkowskiSum:
        """DJ(theta); the gradient alone where no J was given. A kink nearer than 1e-9 counts as met."""
        if self.J is None:
            return MinkowskiSum(offset=self.gradient(theta))
        return self.J.D(theta, MET) if isinstance(self.J, FiniteSum) else self.J.D(theta)

    def check(self, path: "Trajectory") -> Check:
        r"""Whether a curve satisfies (11), and to what residual.

        The system says :math:`v = \dot u - \alpha\dot\theta`, so between two points the mean of the v that
        the curve needs is exact, whatever the curve does in between. As the points get denser its distance
        from the hull of DJ at the two points tends to 0 for a solution, and so does `momentum`, of order h
        where v jumps and h^2 elsewhere. Euler's v are exact; its `momentum` is of order h everywhere.

        Args:
            path: one trajectory (no batch) of at least two points.

        Example:
            >>> from inna.nonsmooth import FiniteSum
            >>> din = DIN.of(FiniteSum([lambda x: abs(x[0])]))
            >>> times = np.linspace(0, 15, 1501)
            >>> bool(din.check(din.solve_inclusion([1.0], times)).residual < 1e-7)
            True
            >>> other = DIN.of(din.J, beta=0.2).solve_inclusion([1.0], times)
            >>> din.check(other).momentum.max().round(1)
            np.float64(0.1)
        """
        if path.theta.ndim != 2 or len(path.t) < 2:
            raise ValueError(f"the path must be one trajectory of two points, got {path.theta.shape}")
        return check(path.t, path.theta, path.u, damping=self.damping, subgradients=self.subgradients)

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

        Raises:
            ValueError: as for `solve`; or alpha or beta is a function of the time.
            RuntimeError: as for `solve`.
        """
        theta, times = point(theta), increasing(times)
        d = theta.size
        if callable(self.alpha) or callable(self.beta):
            raise ValueError("the second-order form needs a constant alpha and beta; see solve for others")

        def right_hand_side(_: float, state: Array) -> Array:
            x, w = state[:d], state[d:]
            force = self.alpha * w + self.beta * hessian_times(x, w) + self.gradient(x)
            return np.concatenate([w, -force])

        first = np.concatenate([theta, -finite("initial_speed", initial_speed) * self.gradient(theta)])
        states = integrate(right_hand_side, first, times, "DOP853", rtol, atol)
        path, velocity = states[:, :d], states[:, d:]
        gradients = np.array([self.gradient(x) for x in path])
        return Trajectory(self, times, path, -velocity - self.beta * gradients)

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

        Raises:
            ValueError: lr is negative or not finite, steps or every is no such number, theta or psi is not as
                said.

        Example:
            >>> alpha, beta = np.meshgrid([0.1, 0.5, 2.0], [0.01, 0.1])  # six settings, one end each
            >>> din = DIN(lambda x: x, alpha, beta, lambda x: (x * x).sum(-1) / 2)
            >>> din.euler([1.0], 0.01, 2000, every=2000).objective[-1].shape
            (2, 3)
        """
        non_negative(lr=lr)
        for name, value, least in (("steps", steps, 0), ("every", every, 1)):
            if value != int(value) or value < least:
                raise ValueError(f"{name} must be an integer, at least {least}, got {value}")
        first = finite("theta", theta)
        if not first.ndim:
            raise ValueError("theta must have shape (..., d), got a number")
        alpha, beta = self.damping()
        batch = np.broadcast_shapes(first.shape[:-1], *map(np.shape, (lr, alpha, beta)))
        x: Array = np.broadcast_to(first, (*batch, first.shape[-1])).copy()
        u = self.start(x, psi=phase(psi, x.shape, first.shape), initial_speed=initial_speed)
        varies = callable(self.alpha) or callable(self.beta)

        def spread(value: Any) -> Any:
            # As large as x where it varies: broadcasting over short last axes costs more than all arithmetic.
            return np.broadcast_to(_column(value), x.shape).copy() if np.ndim(value) else value

        gamma, alpha, beta = map(spread, (lr, alpha, beta))
        if ball is not None and not np.all(np.greater(beta, 0)):
            raise ValueError(f"the projection needs beta > 0, where psi exists, got {self.beta}")
        t = np.zeros(np.shape(lr))
        kept = [(t, x.copy(), u.copy())]
        step, scale = None, 1.0
        move, push = np.empty_like(x), np.empty_like(x)
        for k in range(steps):
            factor = 1.0 if schedule is None else schedule(k)
            if varies:
                alpha, beta = map(spread, self.damping(t))
            if step is None or factor != scale or varies:
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
        alpha, beta = map(_column, self._damping())
        psi: Array = psi_from_momentum(self.theta, self.u, alpha=alpha, beta=beta)
        return psi

    @property
    def velocity(self) -> Array:
        """The velocity theta' by the system's own right-hand side."""
        points = zip(self.theta, self.u, self.t, strict=True)
        return np.array([self.system.field(theta, u, t)[0] for theta, u, t in points])

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
        r"""E_lambda along the trajectory, E = E_min + E_max if lambda is None.

        Where alpha and beta vary, :math:`\dot E = -2\alpha|\dot\theta|^2 - 2\beta|v|^2 + 2 (\alpha\beta)' J`:
        E falls if J >= 0 and alpha beta does not rise.
        """
        return energy(self.objective, self.u, *self._damping(), lam)

    def _damping(self) -> tuple[Any, Any]:
        """The values of alpha and beta along the trajectory, which broadcast against J."""
        if not (callable(self.system.alpha) or callable(self.system.beta)):
            return self.system.alpha, self.system.beta
        pairs = [np.broadcast_arrays(*self.system.damping(t), t)[:2] for t in self.t]
        alpha, beta = (np.array(column, float) for column in zip(*pairs, strict=True))
        batch = (1,) * (self.theta.ndim - 1 - alpha.ndim)
        return alpha.reshape(*alpha.shape, *batch), beta.reshape(*beta.shape, *batch)


@dataclass(frozen=True)
class Solution(Trajectory):
    """A solution of the inclusion: its selections `v` of DJ, shape (n, d), and the times of its switches."""

    v: Array
    switches: Array

    @property
    def velocity(self) -> Array:
        """The velocity theta' = -u - beta v."""
        return np.asarray(-self.u - _column(self._damping()[1]) * self.v)


def _column(value: ArrayLike) -> Any:
    """A number as it is; an array over the batch with an axis for the coordinates."""
    return np.asarray(value, float)[..., None] if np.ndim(value) else value
