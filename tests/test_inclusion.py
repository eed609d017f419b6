"""The inclusion (7), (11) followed through its kinks, against solutions by hand and Euler's limit."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq

from inna.dynamics import DIN, Trajectory
from inna.nonsmooth import FiniteSum, ReluNetwork

Array = NDArray[np.float64]


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def two_layers(w: Any, x: Array, y: float) -> Any:
    first = relu(w[:4].reshape(2, 2) @ x)
    return (w[8:10] @ relu(w[4:8].reshape(2, 2) @ first) - y) ** 2 / 2


SAMPLES = [(np.array(x), y) for x, y in (((1.0, 0.5), 1.0), ((-0.3, 1.0), -0.5), ((0.7, -1.0), 0.3))]
WEIGHTS = np.random.default_rng(1).normal(size=10)
SUMS: dict[str, tuple[FiniteSum, Sequence[float], float]] = {
    "|x|": (FiniteSum([lambda x: abs(x[0])]), [1.0], 15.0),
    "|x| + |y|": (FiniteSum([lambda x: abs(x[0]), lambda x: abs(x[1])]), [1.0, -0.3], 15.0),
    "max(x, y, 0)": (FiniteSum([lambda x: relu(np.maximum(x[0], x[1]))]), [1.0, 0.3], 15.0),
    "Figure 1": (FiniteSum([lambda x: 100 * (x[1] - abs(x[0])) ** 2 + abs(1 - x[0])]), [-1.0, 1.5], 12.0),
    "two layers of relu": (FiniteSum.over(SAMPLES, two_layers), WEIGHTS.tolist(), 8.0),
}
each_sum = pytest.mark.parametrize("name", SUMS)


def by_hand(t: Array, alpha: float, beta: float, x: float, u: float) -> tuple[Array, Array]:
    """The solution on |x| from x > 0: between its zeros in closed form, on the kink once |u| <= beta."""
    thetas, momenta, start = np.zeros(t.shape), np.zeros(t.shape), 0.0
    side = 1.0
    while True:
        limit = side * (1 - alpha * beta) / alpha

        def momentum(s: Any, u: float = u, limit: float = limit) -> Any:
            return limit + (u - limit) * np.exp(-alpha * s)

        def position(s: Any, x: float = x, u: float = u, limit: float = limit, side: float = side) -> Any:
            return x - limit * s + (u - limit) * np.expm1(-alpha * s) / alpha - beta * side * s

        first = next(s for s in np.arange(1, 4000) * 1e-2 if side * position(s) < 0)
        least = 1e-12 if x == 0 else 0.0
        if x == 0:  # it leaves before it returns
            least = next(s for s in np.geomspace(1e-6, first, 400) if side * position(s) > 0)
        end = float(brentq(position, least, first, xtol=1e-15, rtol=1e-15))
        here = (t >= start) & (t <= start + end)
        thetas[here], momenta[here] = position(t[here] - start), momentum(t[here] - start)
        start, x, u, side = start + end, 0.0, float(momentum(end)), -side
        if abs(u) <= beta:
            momenta[t > start] = u * np.exp(-(t[t > start] - start) / beta)
            return thetas, momenta


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (0.3, 0.5), (1.0, 0.2)])
def test_the_solution_on_the_absolute_value(alpha: float, beta: float) -> None:
    t = np.linspace(0, 15, 601)
    path = DIN.of(SUMS["|x|"][0], alpha, beta).solve_inclusion([1.0], t)
    theta, u = by_hand(t, alpha, beta, 1.0, 1.0 - beta)
    np.testing.assert_allclose(path.theta[:, 0], theta, atol=1e-9)
    np.testing.assert_allclose(path.u[:, 0], u, atol=1e-9)


def test_the_energy_on_the_absolute_value_is_gone_at_time_15() -> None:
    path = DIN.of(SUMS["|x|"][0], 0.5, 0.1).solve_inclusion([1.0], [0.0, 15.0])
    assert path.energy()[-1] < 1e-10


def test_on_a_kink_the_selection_is_the_one_that_stays_and_not_the_least_norm() -> None:
    din = DIN.of(SUMS["|x|"][0], 0.5, 0.1)
    theta = np.zeros(1)
    psi = np.array([0.1 * 0.05])  # u = .05
    path = din.solve_inclusion(theta, [0.0, 0.1], psi=psi)
    np.testing.assert_allclose(path.v[0], -0.05 / 0.1)
    np.testing.assert_allclose(path.theta, 0, atol=1e-15)
    np.testing.assert_allclose(path.u[-1], 0.05 * np.exp(-1), rtol=1e-9)
    assert path.speed.max() < 1e-12


@each_sum
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (1.3, 0.5)])
def test_the_energies_never_rise(name: str, alpha: float, beta: float) -> None:
    J, start, end = SUMS[name]
    path = DIN.of(J, alpha, beta).solve_inclusion(start, np.linspace(0, end, 400), initial_speed=0.5)
    root = np.sqrt(alpha * beta)
    for lam in ((1 - root) ** 2, (1 + root) ** 2, None):
        assert np.diff(path.energy(lam)).max() < 1e-9
    assert path.energy()[-1] < path.energy()[0] / 2


@each_sum
def test_eulers_paths_tend_to_the_solution(name: str) -> None:
    J, start, end = SUMS[name]
    end = min(end, 3.0)
    din = DIN.of(J, 0.5, 0.1)
    exact = din.solve_inclusion(start, [0.0, end], initial_speed=0.5)
    gaps = [
        np.abs(din.euler(start, end / n, n, every=n, initial_speed=0.5).theta[-1] - exact.theta[-1]).max()
        for n in (750, 6000)
    ]
    assert gaps[1] < 0.01
    assert gaps[1] < gaps[0] / 2


@each_sum
def test_the_solution_passes_the_check(name: str) -> None:
    J, start, end = SUMS[name]
    din = DIN.of(J, 0.5, 0.1)
    end = min(end, 5.0)
    coarse, fine = (
        din.check(din.solve_inclusion(start, np.linspace(0, end, n), initial_speed=0.5)) for n in (126, 501)
    )
    assert fine.residual < max(coarse.residual / 3, 1e-7)
    assert fine.momentum.max() < coarse.momentum.max() / 3


def test_a_coordinate_of_a_separable_sum_moves_as_if_alone() -> None:
    t = np.linspace(0, 8, 81)
    both = DIN.of(SUMS["|x| + |y|"][0]).solve_inclusion([1.0, -0.3], t)
    for k, start in enumerate((1.0, -0.3)):
        alone = DIN.of(SUMS["|x|"][0]).solve_inclusion([start], t)
        np.testing.assert_allclose(both.theta[:, k], alone.theta[:, 0], atol=1e-9)


def test_figure_1_ends_at_its_minimum() -> None:
    J, start, _ = SUMS["Figure 1"]
    path = DIN.of(J, 1.3, 0.1).solve_inclusion(start, [0.0, 40.0], initial_speed=0.1)
    np.testing.assert_allclose(path.theta[-1], [1.0, 1.0], atol=1e-9)
    assert np.linalg.norm(path.velocity[-1]) < 1e-9


def test_max_of_two_slides_along_the_diagonal() -> None:
    din = DIN.of(SUMS["max(x, y, 0)"][0], 0.5, 0.1)
    path = din.solve_inclusion([0.32, 0.3], np.linspace(0, 5, 101), initial_speed=0.1)  # u = 0
    on = (np.abs(path.theta[:, 0] - path.theta[:, 1]) < 1e-10) & (path.theta[:, 0] > 1e-3)
    assert on.sum() > 10
    assert ((path.v[on] > 0) & (path.v[on] < 1)).all()
    np.testing.assert_allclose(path.v[on].sum(1), 1, atol=1e-9)


def test_the_error_falls_with_the_step_as_that_of_the_integrator() -> None:
    J = FiniteSum([lambda x: abs(x[0]) + 5 * np.sin(x[0]) ** 2])
    din = DIN.of(J, 0.5, 0.1)

    def end(h: float) -> float:
        path = din.solve_inclusion([1.0], [0.0, 2.0], rtol=1e-2, atol=1e-2, max_step=h, initial_speed=0.5)
        assert len(path.switches) >= 1
        return float(path.theta[-1, 0])

    exact = float(din.solve_inclusion([1.0], [0.0, 2.0], initial_speed=0.5).theta[-1, 0])
    errors = [abs(end(h) - exact) for h in (0.2, 0.1, 0.05)]
    assert np.log2(errors[0] / errors[2]) / 2 > 5


def test_clarkes_inclusion_and_that_of_D_differ_where_the_sets_do() -> None:
    J = FiniteSum([lambda x: abs(x[0]), lambda x: -abs(x[0])])  # J = 0
    psi = np.array([0.1 * 0.05])
    of_D = DIN.of(J).solve_inclusion([0.0], [0.0, 1.0], psi=psi)
    of_clarke = DIN.of(J, clarke=True).solve_inclusion([0.0], [0.0, 1.0], psi=psi)
    np.testing.assert_allclose(of_D.theta[-1], 0, atol=1e-12)  # v = -u / beta is in D = [-2, 2]
    np.testing.assert_allclose(of_clarke.theta[-1], 0.05 * np.expm1(-0.5) / 0.5, rtol=1e-9)


def test_a_concave_kink_is_crossed_and_left_by_a_push_and_kept_at_rest() -> None:
    J = FiniteSum([lambda x: x[0] ** 2 - abs(x[0])])
    din = DIN.of(J, 0.5, 0.1)
    crossing = din.solve_inclusion([1.3], [0.0, 60.0])
    assert len(crossing.switches) == 1
    np.testing.assert_allclose(crossing.theta[-1], -0.5, atol=1e-6)
    resting = din.solve_inclusion([0.0], [0.0, 60.0], psi=np.zeros(1))
    np.testing.assert_allclose(resting.theta[-1], 0)


def test_a_network_at_zero_rests_as_0_is_d_critical() -> None:
    path = DIN.of(SUMS["two layers of relu"][0]).solve_inclusion(np.zeros(10), [0.0, 5.0])
    np.testing.assert_allclose(path.theta, 0)


def test_a_curve_that_is_no_solution_fails_the_check() -> None:
    din = DIN.of(SUMS["|x|"][0], 0.5, 0.1)
    path = din.solve_inclusion([1.0], np.linspace(0, 5, 501))
    assert din.check(path).residual < 1e-7
    faster = Trajectory(din, path.t / 1.1, path.theta, path.u)
    assert din.check(faster).residual > 0.09
    other = DIN.of(SUMS["|x|"][0], 0.5, 0.2).solve_inclusion([1.0], path.t)
    assert din.check(other).momentum.max() > 0.09
    least = Trajectory(
        din, path.t, path.theta * 0, 0.05 * np.exp(-0.5 * path.t)[:, None]
    )  # v = 0 on the kink
    assert din.check(least).momentum.max() > 0.01


def test_the_check_also_takes_a_smooth_system_and_eulers_path() -> None:
    din = DIN(lambda x: 3 * x, 0.5, 0.1)
    coarse, fine = (din.check(din.solve([1.0], np.linspace(0, 5, n))) for n in (101, 401))
    assert fine.residual < 1e-7
    assert coarse.momentum.max() / fine.momentum.max() > 12
    kinked = DIN.of(SUMS["|x|"][0])
    euler = kinked.check(kinked.euler([1.0], 0.01, 500))
    assert euler.residual < 1e-7
    assert 1e-3 < euler.momentum.max() < 1e-1


def test_the_check_of_a_closed_form_network() -> None:
    network = ReluNetwork([[1.0], [-1.0]], [1.0, -1.0], hidden=1)
    din = DIN(network.gradient, J=network)
    path = din.euler(np.array([0.5, 1.0]), 1e-3, 500)
    assert din.check(path).residual < 1e-7


@pytest.mark.parametrize(
    ("follow", "message"),
    [
        (lambda: DIN(np.sign).solve_inclusion([1.0], [0.0, 5.0]), "the inclusion needs the terms of J"),
        (
            lambda: DIN.of(SUMS["|x|"][0], beta=0.0).solve_inclusion([1.0], [0.0, 5.0]),
            "beta must be finite and positive, got 0.0",
        ),
        (
            lambda: DIN(np.sign).check(DIN(np.sign).euler([[1.0]], 0.1, 2)),
            "the path must be one trajectory of two points",
        ),
    ],
)
def test_what_the_inclusion_refuses(follow: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        follow()


def test_too_many_switches_end_in_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"more than 2 switches between smooth pieces by t = 3\.958"):
        DIN.of(SUMS["|x|"][0]).solve_inclusion([1.0], [0.0, 15.0], max_switches=2)


def test_a_kink_on_which_rounding_hides_that_it_is_slid_on() -> None:
    J = SUMS["Figure 1"][0]
    path = DIN.of(J, 3.98, 0.22058272941442778).solve_inclusion(
        [0.0, 0.01], [0.0, 25.0], initial_speed=0.708418756913866
    )
    np.testing.assert_allclose(path.theta[-1], 1, atol=1e-3)


def test_at_the_zero_of_a_norm_it_says_that_it_cannot_go_on() -> None:
    din = DIN.of(FiniteSum([lambda x: np.linalg.norm(x)]))
    with pytest.raises(RuntimeError, match=r"end at t = 4\.8\d*\. There a term is stiff, or not piecewise"):
        din.solve_inclusion([1.0, 0.3], [0.0, 15.0])
    resting = Trajectory(din, np.linspace(0, 1, 5), np.zeros((5, 2)), np.array([[0.06, 0.08]] * 5))
    decaying = Trajectory(din, resting.t, resting.theta, resting.u * np.exp(-10 * resting.t)[:, None])
    assert din.check(decaying).residual < 1e-7  # v = -u / beta lies in the ball


def random_sum(rng: np.random.Generator) -> tuple[FiniteSum, Array, bool]:
    """A bowl and up to three kinks, some through one point; a start, often on kinks; whether it is convex."""
    d, count = rng.integers(1, 4, size=2)
    normals, offsets = rng.integers(-2, 3, size=(count, d)), rng.integers(-1, 2, size=count)
    weights, centre = rng.choice([1.0, 1.0, 1.0, -0.5], size=count), rng.normal(size=d)

    def term(x: Any, a: Array, b: float, c: float) -> Any:
        return c * abs(a @ x + b) + ((x - centre) ** 2).sum() / (2 * count)

    J = FiniteSum.over(zip(normals, offsets, weights, strict=True), term)
    return J, rng.choice([0, 1, -1, 0.5], size=d), bool((weights > 0).all())


@pytest.mark.parametrize("seed", range(8))
def test_random_sums_with_kinks_of_both_signs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    J, start, convex = random_sum(rng)
    din = DIN.of(J, rng.uniform(0.3, 2), rng.uniform(0.05, 1))
    path = din.solve_inclusion(start, np.linspace(0, 2, 101))
    assert np.diff(path.energy()).max() < 1e-9
    assert din.check(path).residual < 1e-2
    if convex:  # then it is the only solution
        assert np.abs(din.euler(start, 2e-3, 1000, every=1000).theta[-1] - path.theta[-1]).max() < 0.03
