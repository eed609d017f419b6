"""Section 4 on smooth and non-smooth J: Lemma 4.1 measured, Theorems 4.2 and 4.3 run, footnote 4."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inna.dynamics import (
    DIN,
    descent,
    energy,
    energy_descent,
    energy_slope,
    gradient_flow,
    kl_exponent,
    kl_inequality,
    kl_rates,
    measured_law,
    proof_constants,
)
from inna.nonsmooth import FiniteSum

Array = NDArray[np.float64]


def bowl(c: float) -> tuple[Callable[[Array], Any], Callable[[Array], Any]]:
    """The c-th power of the distance from 0 and the length of its gradient."""
    return (
        lambda x: np.linalg.norm(x) ** c,
        lambda x: c * np.linalg.norm(x) ** (c - 1),
    )


@pytest.mark.parametrize("c", [1, 1.5, 2, 4])
def test_the_exponent_and_the_constant_of_a_power(c: float) -> None:
    found = kl_inequality(*bowl(c), [[0.0, 0.0]])
    assert found.exponent == pytest.approx(1 - 1 / c, abs=1e-3)
    assert found.rho == pytest.approx(1, rel=0.03)


def test_the_worst_direction_decides() -> None:
    def slope(x: Array) -> float:
        return float(np.hypot(2 * x[0], 6 * x[1] ** 5))

    found = kl_inequality(lambda x: x[0] ** 2 + x[1] ** 6, slope, [[0.0, 0.0]], samples=20_000)
    assert found.exponent == pytest.approx(5 / 6, abs=0.06)
    assert (found.rho * (1 - found.exponent) * found.gaps**-found.exponent * found.slopes).min() >= 1 - 1e-9


def test_a_compact_set_of_critical_points_is_served_by_one_exponent_and_one_constant() -> None:
    angle = np.linspace(0, 2 * np.pi, 50)
    circle = np.stack([np.cos(angle), np.sin(angle)], -1)
    found = kl_inequality(  # (|x|^2 - 1)^2
        lambda x: (x @ x - 1) ** 2, lambda x: 4 * abs(x @ x - 1) * np.sqrt(x @ x), circle, exponent=0.5
    )
    assert found.rho < 0.6
    with pytest.raises(ValueError, match="L must be constant on the points, got 0"):
        kl_inequality(lambda x: x @ x, lambda x: 2 * np.sqrt(x @ x), [[0.0, 0.0], [1.0, 0.0]])


SHARP = FiniteSum([lambda x: abs(x[0]), lambda x: 2 * np.maximum(x[1], -x[1] / 2)])


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (1.3, 0.5)])
def test_the_energy_of_a_non_smooth_sum_has_exponent_one_half(alpha: float, beta: float) -> None:
    din = DIN.of(SHARP, alpha, beta)

    def E(x: Array) -> float:
        return float(energy(SHARP(x[:2]), x[2:], alpha, beta))

    def slope(x: Array) -> float:
        return energy_slope(din, x[:2], x[2:])

    found = kl_inequality(E, slope, np.zeros((1, 4)), radius=50, decades=2, delta=10, exponent=0.5)
    assert found.rho < 2 / np.sqrt(proof_constants(alpha, beta)[0])
    u = np.array([0.0, 0.0, 1e-3, -2e-3])  # on the kinks dist(0, dE) is no gradient's length
    assert slope(u) == pytest.approx(2 * np.hypot(1e-3, 2e-3) / beta)


SUMS = {
    "sharp": (SHARP, [1.0, -0.6], 0.0),
    "a kink and a bowl": (FiniteSum([lambda x: abs(x[0]) + x[1] ** 2 / 2]), [0.7, 0.4], 0.0),
    "Figure 1": (FiniteSum([lambda x: 10 * (x[1] - abs(x[0])) ** 2 + abs(1 - x[0])]), [-0.4, 0.8], 0.0),
    "|x|^3 and a kink": (FiniteSum([lambda x: abs(x[0]) ** 3 + abs(x[1])]), [0.7, 0.4], 0.0),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (1.3, 0.5)])
def test_theorem_4_3_on_a_non_smooth_sum(name: str, alpha: float, beta: float) -> None:
    J, start, limit = SUMS[name]
    times = np.linspace(0, 8, 161)
    path = DIN.of(J, alpha, beta).solve_inclusion(start, times, initial_speed=0.5)
    found = energy_descent(path, limit=limit, exponent=0.75 if "3" in name else 0.5)
    c1, c2 = proof_constants(alpha, beta)
    assert found.c1 >= c1 * (1 - 1e-6)
    assert found.c2 >= c2 * (1 - 1e-6)
    values = path.energy()
    assert (values <= found.value_bound(times) * (1 + 1e-9) + 1e-15).all()
    to_go = np.linalg.norm(np.diff(np.c_[path.theta, path.psi], axis=0), axis=1)[::-1].cumsum()[::-1]
    assert (to_go <= found.path_bound(values[:-1]) + 1e-9).all()


def test_the_gradient_flow_of_a_sharp_minimum_arrives_in_finite_time() -> None:
    t = np.linspace(0, 0.9, 91)
    x = 1 - t[:, None]  # the flow of |x| from 1
    found = descent(x[:, 0], np.ones(91), -np.ones((91, 1)), rates=-np.ones(91), exponent=1e-6)
    assert found.arrival == pytest.approx(1, rel=1e-4)
    assert found.value_bound(2.0) == 0
    smooth = gradient_flow(lambda p: 2 * p, [1.0], t)
    assert descent(smooth[:, 0] ** 2, 2 * smooth, -2 * smooth, exponent=0.5).arrival == np.inf


def test_no_trajectory_of_the_inclusion_arrives_in_finite_time_though_j_is_sharp() -> None:
    path = DIN.of(FiniteSum([lambda x: abs(x[0])])).solve_inclusion([1.0], [0.0, *np.linspace(4.8, 6.0, 61)])
    found = energy_descent(path)
    assert found.exponent == pytest.approx(0.5, abs=1e-3)  # that of u^2
    assert found.arrival == np.inf
    assert measured_law(path.t, path.energy()).name == "linear"
    assert path.objective[-1] < 1e-12  # while J itself does: 4.735 on


@pytest.mark.parametrize(
    ("gap", "name", "exponent"),
    [
        (lambda t: np.maximum(5 - t, 0) ** 3, "finite", 1 / 3),
        (lambda t: np.exp(-0.3 * t) * (1.1 + np.cos(20 * t)), "linear", 0.5),
        (lambda t: (1 + t) ** -3.0, "power", 2 / 3),
    ],
)
def test_finite_linear_and_sublinear_convergence_are_told_apart(
    gap: Callable[[Array], Array], name: str, exponent: float
) -> None:
    t = np.linspace(0, 30, 3001)
    law = measured_law(t, gap(t))
    assert law.name == name
    assert law.exponent == pytest.approx(exponent, abs=0.03)


def slope_of_power(c: float, p: Array) -> Array:
    return np.asarray(c * np.abs(p) ** (c - 1) * np.sign(p))


def test_the_law_of_the_system_on_powers() -> None:
    for c, name in ((2, "linear"), (4, "power")):
        din = DIN(partial(slope_of_power, c), 4.0, 0.1)
        t = np.geomspace(1, 20 if c == 2 else 2000, 300)
        path = din.solve([1.0], [0.0, *t], rtol=1e-9)
        law = measured_law(t, np.abs(path.theta[1:, 0]) ** c)
        assert law.name == name
        if c == 4:
            assert law.exponent == pytest.approx((1 + 1 / kl_rates(kl_exponent(c))[0]) / 2, abs=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measured_law([1, 2], [1, 0.5]), "five positive, falling values"),
        (lambda: kl_inequality(*bowl(2), [[0.0]], radius=0.0), "radius must be finite and positive"),
        (lambda: kl_inequality(*bowl(2), [[0.0]], delta=1e-30), "only 0 of 2000 samples lie above"),
        (
            lambda: descent([1.0], [[1.0]], [[1.0]], rates=[1.0]),
            r"gradients and rates must have shape \(n,\), velocities \(n, d\)",
        ),
    ],
)
def test_what_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_without_tameness_there_are_infinitely_many_critical_values() -> None:
    """J = exp(-1/x^2) sin(1/x), smooth: J' changes sign in every neighbourhood of 0, at ever other values."""

    def slope(x: Array) -> Array:  # J' exp(1/x^2) x^3
        return np.asarray(2 * np.sin(1 / x) - x * np.cos(1 / x))

    for decade in (0.1, 0.05, 0.025):
        x = 1 / np.linspace(1 / decade, 2 / decade, 20_001)
        changes = np.flatnonzero(np.diff(np.sign(slope(x))))
        assert len(changes) > 0.9 / decade / np.pi  # a density that grows like 1/x^2
        heights = -1 / x[changes] ** 2 + np.log(np.abs(np.sin(1 / x[changes])))  # log |J|
        assert (np.diff(heights) < 0).all()  # all critical values differ
