"""Subdifferentials of functions of which only gradients are known, by gradient sampling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._pieces import finite_point
from ._sets import MinkowskiSum

__all__ = ["Sampled", "goldstein"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sampled:
    r"""A finite sum given by the gradients of its terms, with sets sampled in a small ball.

    .. math:: \partial J_n(\theta) \approx \mathrm{conv}\{\nabla J_n(\theta + r z_i)\}

    with z_i uniform in the unit ball, the same for all terms. A piece is found with a probability of the
    share of the ball that it takes; the error in each gradient is r times the curvature. So the sets are not
    exact, and a sampled function can be found critical, but not shown to be not critical.

    Args:
        gradients: theta, shape (d,) -> the gradient of a term, defined almost everywhere.
        radius: r > 0; small against the distance to the next kink, large against rounding.
        samples: number of points.
        seed: of the points.

    Raises:
        ValueError: the radius is not positive or there are no samples.

    Example:
        >>> J = Sampled([np.sign, lambda x: -np.sign(x)])
        >>> J.D([0.0]).bounds(), J.clarke([0.0]).bounds()
        ((array([-2.]), array([2.])), (array([0.]), array([0.])))

    Reference: Burke, Lewis, Overton, *A robust gradient sampling algorithm for nonsmooth, nonconvex
    optimization*, SIAM J. Optim. 15 (2005).
    """

    gradients: Sequence[Callable[[Array], ArrayLike]]
    radius: float = 1e-7
    samples: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(self.radius, self.samples)

    def D(self, theta: ArrayLike) -> MinkowskiSum:
        """DJ(theta), the terms sampled apart."""
        return MinkowskiSum(self._sampled(theta), exact=False)

    def clarke(self, theta: ArrayLike) -> MinkowskiSum:
        """Clarke's subdifferential of the sum, sampled as a whole."""
        return MinkowskiSum([np.sum(self._sampled(theta), axis=0)], exact=False)

    def _sampled(self, theta: ArrayLike) -> Array:
        centre, rng = finite_point(theta), np.random.default_rng(self.seed)
        points = centre + self.radius * _in_unit_ball(rng, self.samples, centre.size)
        return np.array([[_checked(gradient, x) for x in points] for gradient in self.gradients])


def goldstein(
    gradient: Callable[[Array], ArrayLike],
    theta: ArrayLike,
    radius: float,
    *,
    samples: int = 100,
    rng: np.random.Generator | int = 0,
) -> float:
    r"""The least norm that was found in the convex hull of DJ over a ball: nearness to the D-critical set.

    .. math:: \min\{|v| : v \in \mathrm{conv} \bigcup_{|x - \theta| \le r} DJ(x)\}

    If it tends to 0 together with the radius, theta approaches D-critical points; the least norm in
    DJ(theta) itself need not (on \|x\| it stays 1). Gradients at points of the ball enter one by one, each
    drawn on the way against the least-norm element of those before, so the value is an upper bound, and a
    good one in many dimensions. DJ is the gradient almost everywhere.

    Args:
        gradient: theta -> a gradient of J, or any element of DJ.
        theta: the centre, shape (d,).
        radius: r > 0.
        samples: number of gradients.
        rng: a generator, or a seed.

    Raises:
        ValueError: the radius or the number of samples is not positive, or theta or a gradient is not finite.

    Example:
        >>> [round(goldstein(np.sign, [0.001], radius), 9) for radius in (0.01, 0.0001)]
        [0.0, 1.0]

    Reference: Goldstein, *Optimization of Lipschitz continuous functions*, Math. Program. 13 (1977);
    Castera et al. (2021), Theorem 3.1.
    """
    _positive(radius, samples)
    rng = np.random.default_rng(rng)
    centre = finite_point(theta)
    found = [_checked(gradient, centre)]
    nearest = found[0]
    for _ in range(samples):
        norm = np.linalg.norm(nearest)
        if norm <= 1e-12:
            break
        shake = _in_unit_ball(rng, 1, centre.size)[0]
        direction = -nearest / norm + 0.1 * shake
        point = centre + radius * rng.uniform() * direction / max(1.0, float(np.linalg.norm(direction)))
        found.append(_checked(gradient, point))
        nearest = MinkowskiSum([found]).least_norm()
    return float(np.linalg.norm(nearest))


def _positive(radius: float, samples: int) -> None:
    if not (0 < radius < np.inf and samples > 0):
        raise ValueError(f"radius and samples must be positive, got radius {radius}, samples {samples}")


def _checked(gradient: Callable[[Array], ArrayLike], point: Array) -> Array:
    found = np.asarray(gradient(point), float)
    if found.shape != point.shape or not np.isfinite(found).all():
        raise ValueError(f"a gradient at {point} must be {point.size} finite numbers, got {found}")
    return found


def _in_unit_ball(rng: np.random.Generator, count: int, dimension: int) -> Array:
    points = rng.normal(size=(count, dimension))
    radii = rng.uniform(size=(count, 1)) ** (1 / dimension)
    return np.asarray(radii * points / np.linalg.norm(points, axis=1, keepdims=True))
