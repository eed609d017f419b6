"""D and Clarke's set, computed: Sections 2.3 and 3.3 of the paper, and points where the two differ."""

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from inna.dynamics import DIN
from inna.nonsmooth import (
    FiniteSum,
    MinkowskiSum,
    ReluNetwork,
    Sampled,
    d_critical_values,
    is_clarke_critical,
    is_d_critical,
)

Array = NDArray[np.float64]
E1, E2 = np.eye(2)


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def neuron(*data: tuple[Any, float]) -> FiniteSum:
    """Half squares of relu(<w, x>) against y."""
    return FiniteSum.over(data, lambda w, x, y: (relu(np.dot(w, x)) - y) ** 2 / 2)


# J, its dimension, the ends of the box DJ(0), the only Clarke subgradient at 0 and its norm.
SPURIOUS: dict[str, tuple[FiniteSum, int, Any, Any, float]] = {
    "|x| - |x|": (FiniteSum([lambda x: abs(x[0]), lambda x: -abs(x[0])]), 1, ([-2], [2]), [0], 0.0),
    "relu(x) + (-relu(-x))": (
        FiniteSum([lambda x: relu(x[0]), lambda x: -relu(-x[0])]),
        1,
        ([0], [2]),
        [1],
        1.0,
    ),
    "relu(theta x), two samples": (neuron(([1.0], 1), ([-1.0], -1)), 1, ([-2], [0]), [-1], 1.0),
    "relu(w.x), four samples": (
        neuron((E1, 1), (-E1, -1), (E2, 2), (-E2, -2)),
        2,
        ([-2, -4], [0, 0]),
        [-1, -2],
        2.2360679775,
    ),
}
each_spurious = pytest.mark.parametrize(
    ("J", "d", "ends", "clarke", "norm"), SPURIOUS.values(), ids=SPURIOUS.keys()
)


def assert_box(subgradients: MinkowskiSum, low: Any, high: Any) -> None:
    np.testing.assert_allclose(subgradients.bounds(), [low, high], atol=1e-12)
    corners = np.array(np.meshgrid(*np.transpose([low, high]))).reshape(len(low), -1).T
    assert all(subgradients.contains(corner) for corner in corners)


@each_spurious
def test_d_and_clarke_at_0(J: FiniteSum, d: int, ends: Any, clarke: Any, norm: float) -> None:
    assert_box(J.D(np.zeros(d)), *ends)
    assert_box(J.clarke(np.zeros(d)), clarke, clarke)
    assert is_d_critical(J, np.zeros(d))
    verdict = is_clarke_critical(J, np.zeros(d))
    assert bool(verdict) == (norm == 0)
    assert verdict.distance == pytest.approx(norm, abs=1e-10)


@each_spurious
def test_gradient_sampling_finds_the_same_sets(
    J: FiniteSum, d: int, ends: Any, clarke: Any, norm: float
) -> None:
    def gradient(term: Callable[[Any], Any]) -> Callable[[Array], Array]:
        return lambda x: FiniteSum([term]).D(x).least_norm()

    sampled = Sampled([gradient(term) for term in J.terms], samples=20)
    np.testing.assert_allclose(sampled.D(np.zeros(d)).bounds(), ends, atol=1e-6)
    np.testing.assert_allclose(sampled.clarke(np.zeros(d)).bounds(), [clarke, clarke], atol=1e-6)


def test_as_one_term_the_identity_has_one_subgradient() -> None:
    J = FiniteSum([lambda x: relu(x[0]) - relu(-x[0])])
    assert_box(J.D([0.0]), [1], [1])
    assert_box(J.clarke([0.0]), [1], [1])
    torch = pytest.importorskip("torch")
    x = torch.zeros(1, requires_grad=True)
    (torch.relu(x) - torch.relu(-x)).sum().backward()
    assert x.grad.item() == 0  # not a Clarke subgradient, though the paper's text supposes one


PROGRAMS: dict[str, tuple[Callable[[Any], Any], list[float], Any]] = {
    "max of three": (lambda x: max(x[0], x[1], -x[0] - x[1]), [0, 0], [[1, 0], [0, 1], [-1, -1]]),
    "np.maximum and abs": (lambda x: np.maximum(abs(x[0]), 2 * x[1]), [0, 0], [[-1, 0], [1, 0], [0, 2]]),
    "a branch": (lambda x: x[0] if x[0] > x[1] else x[1], [3, 3], [[1, 0], [0, 1]]),
    "nested relus": (
        lambda x: relu(relu(x[0]) - relu(x[1])),
        [0, 0],
        [[0, 0], [1, 0], [1, -1]],
    ),
    "a kink that no direction sees": (lambda x: abs(abs(x[0])), [0], [[-1], [1]]),
    "the median": (lambda x: sorted([x[0], x[1], 0 * x[0]])[1], [0, 0], [[0, 0], [1, 0], [0, 1]]),
    "a curved kink": (lambda x: abs(x[1] - np.sin(x[0])), [0, 0], [[-1, 1], [1, -1]]),
    "no kink here": (lambda x: abs(x[0]) * x[1] ** 2, [2, 3], [[9, 12]]),
    "not of theta": (lambda x: 3.0, [2, 3], [[0, 0]]),
}


@pytest.mark.parametrize(("f", "theta", "pieces"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_clarkes_set_of_a_program(
    f: Callable[[Any], Any], theta: list[float], pieces: list[list[float]]
) -> None:
    found = FiniteSum([f]).clarke(theta)
    expected = MinkowskiSum([pieces])
    assert all(found.contains(v) for v in pieces)
    for direction in np.random.default_rng(0).normal(size=(50, len(theta))):
        assert found.support(direction) == pytest.approx(expected.support(direction), abs=1e-12)


SMOOTH: list[Callable[[Any], Any]] = [
    lambda x: np.exp(-x[0]) / (1 + x[1] ** 2),
    lambda x: np.sqrt(2 + np.tanh(x[0])) - np.log(x[1]) * np.sin(x[0]),
    lambda x: 2 / x[1] + np.cos(x[0] * x[1]) - (3 - x[0]) ** 3,
    lambda x: x[0] / x[1] - np.float64(2) * x[0] + np.array([1.0, 2.0]) @ x,
]


@pytest.mark.parametrize("f", SMOOTH)
def test_where_a_term_is_smooth_the_set_is_its_gradient(f: Callable[[Any], Any]) -> None:
    theta, h = np.array([0.3, 1.7]), 1e-6
    numeric = [(f(theta + h * e) - f(theta - h * e)) / (2 * h) for e in np.eye(2)]
    np.testing.assert_allclose(FiniteSum([f]).D(theta).least_norm(), numeric, rtol=1e-8)


def test_clarkes_set_lies_in_d_and_is_equal_where_the_kinks_are_independent() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(3, 3))
    J = FiniteSum.over(a[:, None], lambda x, r: relu(np.dot(x, r)) - abs(np.dot(x, r)) * 2)
    L = FiniteSum([*J.terms, lambda x: relu(np.dot(x, a[0] + a[1]))])
    equal, smaller = [], []
    for w in rng.normal(size=(50, 3)):
        equal.append(J.D(np.zeros(3)).support(w) - J.clarke(np.zeros(3)).support(w))
        smaller.append(L.D(np.zeros(3)).support(w) - L.clarke(np.zeros(3)).support(w))
    np.testing.assert_allclose(equal, 0, atol=1e-12)
    assert min(smaller) > -1e-12
    assert max(smaller) > 0.1


def test_clarkes_set_is_the_hull_of_the_limits_of_gradients() -> None:
    rng = np.random.default_rng(2)
    a, signs = rng.normal(size=(8, 2)), rng.choice([-1.0, 1.0], 8)
    J = FiniteSum.over(zip(a, signs, strict=True), lambda x, r, s: s * relu(np.dot(x, r)))
    angle = np.linspace(0, 2 * np.pi, 4001)
    around = np.stack([np.cos(angle), np.sin(angle)], -1)
    limits = ((around @ a.T > 0) * signs) @ a
    found = J.clarke([0.0, 0.0])
    for w in rng.normal(size=(50, 2)):
        assert found.support(w) == pytest.approx((limits @ w).max(), abs=1e-12)


def test_a_kink_within_the_tolerance_counts() -> None:
    J = FiniteSum([lambda x: 100 * abs(x[0])])
    assert J.D([1e-6]).width([1.0]) == 0
    assert J.D([1e-6], tolerance=1e-5).width([1.0]) == 200


def test_too_many_pieces_and_bad_slopes_are_refused() -> None:
    many = FiniteSum.over(np.ndindex(15), lambda x, i: abs(x[i]))
    assert is_d_critical(many, np.zeros(15))
    with pytest.raises(ValueError, match="more than 10000 smooth pieces"):
        many.clarke(np.zeros(15))
    with pytest.raises(ValueError, match="Lipschitz"), np.errstate(divide="ignore"):
        FiniteSum([lambda x: np.sqrt(abs(x[0]))]).D([0.0])


# The convex sets.


@pytest.mark.parametrize("points", [2, 4])
def test_the_least_norm_element_is_optimal(points: int) -> None:
    rng = np.random.default_rng(points)
    for trial in range(150):
        d, n = rng.integers(1, 6), rng.integers(1, 8)
        hulls = [rng.normal(size=(points, d)) for _ in range(n)]
        hulls = [np.round(hull) for hull in hulls] if trial % 3 == 0 else hulls
        s = MinkowskiSum(hulls, 2 * rng.normal(size=d))
        v = s.least_norm()
        assert v @ v + s.support(-v) == pytest.approx(0, abs=1e-10)  # <v, w> >= |v|^2 for all w
        assert s.contains(v)
        assert s.contains(s.offset + sum(rng.dirichlet(np.ones(points)) @ hull for hull in s.hulls))
        w = rng.normal(size=d)
        assert not s.contains(v + w * (s.support(w) - v @ w + 0.1) / (w @ w))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_nearest_point_of_any_point_is_optimal_with_balls_too(d: int) -> None:
    rng = np.random.default_rng(d)
    for _ in range(30):
        balls = [rng.normal(size=(rng.integers(1, d + 1), d)) for _ in range(rng.integers(0, 3))]
        s = MinkowskiSum(rng.normal(size=(2, 3, d)), rng.normal(size=d), balls)
        point = 5 * rng.normal(size=d)
        v = s.nearest(point)
        assert (v - point) @ (v - point) + s.support(point - v) + (v - point) @ point == pytest.approx(
            0, abs=1e-9
        )
        assert s.contains(v, 1e-7)
        assert s.distance(point) == pytest.approx(np.linalg.norm(v - point))
        assert s.nearest(v) == pytest.approx(v, abs=1e-7)


def test_a_ball_is_a_disk() -> None:
    s = MinkowskiSum(offset=[3.0, 4.0], balls=[2 * np.eye(2)])
    assert s.distance() == pytest.approx(3)
    assert s.least_norm() == pytest.approx([1.8, 2.4])
    assert s.nearest([3.0, 10.0]) == pytest.approx([3, 6])
    assert s.width([0.6, 0.8]) == pytest.approx(4)
    np.testing.assert_allclose(s.bounds(), [[1, 2], [5, 6]])


def test_sets_need_a_dimension_and_finite_numbers() -> None:
    with pytest.raises(ValueError, match="all of one dimension"):
        MinkowskiSum()
    with pytest.raises(ValueError, match="all of one dimension"):
        MinkowskiSum([[[1.0, 2.0]]], [1.0])
    assert MinkowskiSum(offset=[3.0, 4.0]).distance() == 5
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite"):
            MinkowskiSum(offset=[bad])
        with pytest.raises(ValueError, match="finite"):
            MinkowskiSum([[[0.0], [1.0]]]).nearest([bad])


# ReLU networks.


def kinked_network(
    seed: int, samples: int, features: int, hidden: int, pairs: list[tuple[int, int]], outputs: int = 1
) -> tuple[ReluNetwork, Array]:
    """A random network whose units pass through 0 at the given (sample, unit) pairs."""
    rng = np.random.default_rng(seed)
    J = ReluNetwork(rng.normal(size=(samples, features)), rng.normal(size=(samples, outputs)), hidden)
    w = rng.normal(size=(hidden, features))
    for j in {j for _, j in pairs}:
        x = J.inputs[[n for n, unit in pairs if unit == j]]
        w[j] -= np.linalg.pinv(x) @ x @ w[j]
    return J, np.r_[w.ravel(), rng.normal(size=hidden * outputs) / hidden]


def as_program(J: ReluNetwork) -> FiniteSum:
    """The same function for the general code."""
    h, m = J.hidden, J.inputs.shape[1]

    def term(theta: Any, x: Array, y: Array) -> Any:
        after = relu(theta[: h * m].reshape(h, m) @ x)
        return sum((theta[h * m :].reshape(-1, h) @ after - y) ** 2) / 2

    return FiniteSum.over(zip(J.inputs, J.targets, strict=True), term)


@pytest.mark.parametrize(
    ("features", "pairs"),
    [
        (4, [(0, 0), (0, 1), (3, 1), (2, 2)]),  # independent inputs: the sets are equal
        (2, [(0, 0), (1, 0), (2, 0), (1, 1)]),  # three inputs in the plane: they are not
    ],
)
def test_a_network_agrees_with_the_general_code(features: int, pairs: list[tuple[int, int]]) -> None:
    J, theta = kinked_network(3, 5, features, 3, pairs, outputs=2)
    program = as_program(J)
    assert J(theta) == pytest.approx(program(theta))
    ours = J.D(theta, 1e-9), J.clarke(theta, 1e-9)
    theirs = program.D(theta, 1e-9), program.clarke(theta, 1e-9)
    for w in np.random.default_rng(0).normal(size=(30, J.size)):
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.support(w) == pytest.approx(other.support(w))
    shrunk = max(
        ours[0].support(w) - ours[1].support(w) for w in np.random.default_rng(1).normal(size=(30, J.size))
    )
    assert (shrunk < 1e-9) == (features == 4)


def test_a_networks_gradient_is_an_element_of_d() -> None:
    J, theta = kinked_network(4, 6, 3, 4, [(0, 0), (1, 2)])
    assert J.D(theta, 1e-9).contains(J.gradient(theta))
    away, h = theta + 0.01, 1e-6
    numeric = [(J(away + h * e) - J(away - h * e)) / (2 * h) for e in np.eye(J.size)]
    np.testing.assert_allclose(J.gradient(away), numeric, atol=1e-6)
    parts = [J.gradient(away, [n]) for n in range(6)]
    np.testing.assert_allclose(np.sum(parts, axis=0), J.gradient(away))


def test_d_criticality_of_a_large_network_is_decided() -> None:
    pairs = [(i % 40, 2 * i) for i in range(50)]  # two kinked units for ten of the samples
    J, theta = kinked_network(5, 60, 99, 200, pairs)
    assert J.size == 20_000
    subgradients = J.D(theta, 1e-9)
    assert len(subgradients.hulls) == 50
    verdict = is_d_critical(J, theta)
    assert not verdict
    # Optimality in every segment, and a target that makes the point critical.
    v = subgradients.least_norm()
    assert v @ v + subgradients.support(-v) == pytest.approx(0, abs=float(1e-6 * (v @ v)))
    inside = sum(0.3 * hull[0] + 0.7 * hull[1] for hull in subgradients.hulls)
    assert MinkowskiSum(subgradients.hulls, -inside).distance() <= 1e-9


def test_bad_networks_are_named() -> None:
    with pytest.raises(ValueError, match=r"inputs \(N, M\)"):
        ReluNetwork([[1.0]], [1.0, 2.0], 3)
    with pytest.raises(ValueError, match=r"theta must have shape \(6,\), got \(5,\)"):
        ReluNetwork([[1.0]], [1.0], 3)(np.zeros(5))
    with pytest.raises(ValueError, match="must be positive"):
        Sampled([np.sign], radius=0)


# INNA on spurious points.


@each_spurious
def test_inna_sits_on_a_spurious_point_and_leaves_it_when_perturbed(
    J: FiniteSum, d: int, ends: Any, clarke: Any, norm: float
) -> None:
    if norm == 0:
        J = FiniteSum([*J.terms, lambda x: x[0] / 2])  # D = [-1.5, 2.5], the only gradient elsewhere is .5
    din = DIN(lambda x: J.D(x).least_norm())
    assert not din.euler(np.zeros(d), 0.01, 300, initial_speed=0.1).theta.any()
    path = din.euler(np.full(d, -1e-9), 0.01, 300, initial_speed=0.1)
    assert np.linalg.norm(path.theta[-1]) > 0.5
    assert J(path.theta[-1]) < J(path.theta[0]) - 0.2


def test_the_optimizer_sits_on_a_spurious_point_and_leaves_it_when_perturbed() -> None:
    torch = pytest.importorskip("torch")
    from inna.torch import INNA

    ends = []
    for start in (0.0, 1e-12):
        x = torch.tensor([start], dtype=torch.float64, requires_grad=True)
        optimizer = INNA([x], lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            torch.relu(x).sum().backward()  # J(x) = x in two terms, each by automatic differentiation
            (-torch.relu(-x)).sum().backward()
            optimizer.step()
        ends.append(x.item())
    assert ends[0] == 0
    assert ends[1] < -10


# The chain rule along curves, Lemmas 3.2 and 3.3.

PLANE = FiniteSum([lambda x: abs(x[1]) + x[0] ** 2, lambda x: -relu(x[1]), lambda x: max(x[0], x[1], 0.0)])
CURVES: dict[str, tuple[Callable[[float], Any], Callable[[float], Any]]] = {
    "along the kink": (lambda t: [-t, 0.0], lambda t: [-1.0, 0.0]),
    "along the other kink": (lambda t: [1 + t, 1 + t], lambda t: [1.0, 1.0]),
    "across": (lambda t: [t - 0.5, 0.3 - t], lambda t: [1.0, -1.0]),
    "with a corner": (
        lambda t: [max(t - 0.5, 0.0) - 1, min(t - 0.5, 0.0)],
        lambda t: [float(t > 0.5), float(t < 0.5)],
    ),
}


@pytest.mark.parametrize(("c", "velocity"), CURVES.values(), ids=CURVES.keys())
def test_along_a_curve_every_element_of_d_gives_the_same_rate(
    c: Callable[[float], Any], velocity: Callable[[float], Any]
) -> None:
    exceptions, h = 0, 1e-6
    for t in np.linspace(0.01, 0.99, 99):  # among them the instants of crossing
        D, w = PLANE.D(c(t), 1e-14), np.array(velocity(t))
        if D.width(w) > 1e-9:
            exceptions += 1
            continue
        if not w.any():  # the corner
            continue
        rate = (PLANE(c(t + h)) - PLANE(c(t - h))) / (2 * h)
        assert D.support(w) == pytest.approx(rate, abs=1e-5)
        outside = D.least_norm() + w * (0.1 / (w @ w))
        assert not D.contains(outside)
        assert abs(outside @ w - rate) > 0.05
    assert exceptions <= 3  # finitely many instants: a null set


def test_inside_d_but_outside_clarkes_set_the_chain_rule_still_holds() -> None:
    J = SPURIOUS["relu(w.x), four samples"][0]
    for t in np.linspace(0.1, 1, 5):
        D, clarke = J.D([0.0, t]), J.clarke([0.0, t])
        assert D.width([1.0, 0.0]) == pytest.approx(2)
        assert clarke.width([1.0, 0.0]) == 0
        assert D.width([0.0, 1.0]) == 0
        assert D.support([0.0, 1.0]) == pytest.approx(clarke.support([0.0, 1.0]))


def test_inna_slides_along_a_kink_at_the_rate_of_the_chain_rule() -> None:
    J = FiniteSum([lambda x: 3 * abs(x[1]), lambda x: x[0] ** 2 / 2])
    path = DIN(lambda x: J.D(x, 0.02).least_norm(), objective=lambda x: np.array([*map(J, x)])).euler(
        [1.0, 0.0], 0.01, 300, initial_speed=0.1
    )
    for x, velocity in zip(path.theta[::10], path.velocity[::10], strict=True):
        assert J.D(x, 1e-9).width(velocity) == pytest.approx(0, abs=1e-9)
        assert J.D(x, 1e-9).width([0.0, 1.0]) == 6
        assert J.D(x).support(velocity) == pytest.approx(x[0] * velocity[0])


# Finitely many D-critical values, Lemma 3.4.

QUADRATICS: dict[str, tuple[FiniteSum, int, list[float]]] = {
    # The half square of 2 is relu's dead side; the spurious point at 0 has the value 1.
    "two samples": (neuron(([1.0], 1), ([-1.0], -1)), 1, [0.5, 1.0]),
    "four samples": (neuron((E1, 1), (-E1, -1), (E2, 2), (-E2, -2)), 2, [2.5, 3.0, 4.5, 5.0]),
    "a double well": (FiniteSum([lambda x: (abs(x[0]) - 1) ** 2]), 1, [0.0, 1.0]),
    "medians": (FiniteSum.over([[0.0], [1.0], [2.0], [5.0], [9.0]], lambda x, y: abs(x[0] - y)), 1, [13.0]),
    "|x| - |x|, a whole line of them": (SPURIOUS["|x| - |x|"][0], 1, [0.0]),
    "x, in two terms": (SPURIOUS["relu(x) + (-relu(-x))"][0], 1, [0.0]),
    "x, in one term": (FiniteSum([lambda x: relu(x[0]) - relu(-x[0])]), 1, []),
    "a saddle of kinks": (
        FiniteSum([lambda x: abs(x[0]), lambda x: -abs(x[1]) + x[1] ** 2]),
        2,
        [-0.25, 0.0],
    ),
    "a product": (FiniteSum([lambda x: 2 * x[0] * x[1] + (x @ x) / 2 + abs(x[0])]), 2, [0.0, 1 / 6]),
}


@pytest.mark.parametrize(("J", "d", "values"), QUADRATICS.values(), ids=QUADRATICS.keys())
def test_the_d_critical_values_are_found(J: FiniteSum, d: int, values: list[float]) -> None:
    found = d_critical_values(J, d)
    assert [c.value for c in found] == pytest.approx(values, abs=1e-9)
    assert all(is_d_critical(J, c.theta) and J(c.theta) == pytest.approx(c.value) for c in found)


def test_figure_1_has_one_critical_point_the_global_minimum() -> None:
    def valley(t: Any) -> Any:
        return 100 * (t[1] - abs(t[0])) ** 2

    def slope(t: Any) -> Any:
        return abs(1 - t[0])

    for J in (FiniteSum([valley, slope]), FiniteSum([lambda t: valley(t) + slope(t)])):
        (only,) = d_critical_values(J, 2)  # so 0 is the minimum, as J >= 0
        assert only.value == 0
        np.testing.assert_allclose(only.theta, [1, 1], atol=1e-12)
        # No other point has that value: J = 0 asks for t[0] = 1 and t[1] = 1.


POLYNOMIALS: dict[str, tuple[FiniteSum, list[float]]] = {
    "a double well": (FiniteSum([lambda x: (x[0] ** 2 - 1) ** 2 / 4]), [0, 0.25]),
    "its absolute value": (FiniteSum([lambda x: abs(x[0] ** 3 - 3 * x[0])]), [0, 2]),
    "two terms, spurious at 0": (
        FiniteSum([lambda x: relu(x[0]) ** 1 + x[0] ** 4, lambda x: -relu(-x[0])]),
        [-0.75 * 0.25 ** (1 / 3), 0],
    ),
    "a cubic kink": (
        FiniteSum([lambda x: max(x[0] ** 3, -x[0]) - x[0] / 2]),
        [-1 / (3 * 6**0.5)],
    ),
    "an inflection": (FiniteSum([lambda x: x[0] ** 3]), [0]),
    "a constant piece": (FiniteSum([lambda x: relu(abs(x[0]) - 1) ** 3 + 2]), [2]),
    "a plateau between quartics": (
        FiniteSum([lambda x: np.clip(x[0] ** 4 - x[0] ** 2, -0.125, 6)]),
        [-0.125, 0, 6],
    ),
}


@pytest.mark.parametrize(("J", "values"), POLYNOMIALS.values(), ids=POLYNOMIALS.keys())
def test_the_d_critical_values_of_piecewise_polynomials(J: FiniteSum, values: list[float]) -> None:
    found = d_critical_values(J, 1)
    assert [c.value for c in found] == pytest.approx(values, abs=1e-9)
    assert all(is_d_critical(J, c.theta, tolerance=1e-7) for c in found)


@pytest.mark.parametrize("seed", range(20))
def test_no_d_critical_value_of_a_piecewise_polynomial_is_missed(seed: int) -> None:
    """Where J turns on a fine grid there is a critical value."""
    rng = np.random.default_rng(seed)
    a, b = Polynomial(rng.integers(-3, 4, 4)), Polynomial(rng.integers(-3, 4, 5))
    J = FiniteSum([lambda x: np.maximum(a(x[0]), b(x[0])), lambda x: -relu(a(x[0])) / 2])
    found = [c.value for c in d_critical_values(J, 1)]
    grid = np.linspace(-4, 4, 4001) + 1e-5
    heights = np.array([J([x]) for x in grid])
    for k in np.flatnonzero(np.diff(np.sign(np.diff(heights)))) + 1:
        assert min(abs(np.array(found) - heights[k])) < 1e-2


def test_functions_that_are_no_polynomials_are_refused() -> None:
    for f, message in ((lambda x: np.exp(x[0]), "it takes exp"), (lambda x: x[0] ** 0.5, "the power 0.5")):
        with pytest.raises(ValueError, match=message):
            d_critical_values(FiniteSum([f]), 1)


@pytest.mark.parametrize("seed", range(4))
def test_no_d_critical_value_is_missed(seed: int) -> None:
    """On a line every D-critical value shows on a grid that holds the kinks and the pieces' minima."""
    rng = np.random.default_rng(seed)
    slopes, kinks, heights, signs = rng.normal(size=(4, 6))
    J = FiniteSum.over(
        zip(slopes, kinks, heights, np.sign(signs), strict=True),
        lambda w, a, b, y, s: s * (relu(a * w[0] + b) - y) ** 2 / 2,
    )
    breaks = np.sort(-kinks / slopes)
    candidates = list(breaks)
    edges = np.r_[-100, breaks, 100]
    for low, high in itertools.pairwise(edges):
        middle, h = (low + high) / 2, (high - low) / 4
        below, above = (J.D([middle + s * h]).least_norm()[0] for s in (-1, 1))
        if below != above and low < (root := middle - h - 2 * h * below / (above - below)) < high:
            candidates.append(root)
        elif below == above == 0:
            candidates.append(middle)
    brute = sorted({round(J([x]), 9) for x in candidates if is_d_critical(J, [x])})
    assert [c.value for c in d_critical_values(J, 1)] == pytest.approx(brute, abs=1e-8)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x[0] ** 3, "takes the power 3"),
        (lambda x: x[0] * x[1] * x[0], "more than two"),
        (lambda x: abs(x[0] ** 2 - 1), "compares quadratic"),
        (lambda x: relu(x[0]) * x[1] - x[0], "not decided"),
    ],
)
def test_what_is_not_piecewise_quadratic_is_refused(f: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        d_critical_values(FiniteSum([f]), 2)


def test_the_example_says_what_the_theory_says(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "examples" / "theory_nonsmooth.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "for D: critical: 0 is 0 away | for Clarke: not critical: 0 is 1 away" in done.stdout
    assert "all D-critical values: [0.5, 1.0]" in done.stdout
    ends = re.findall(r"to (-?\d\.\d+)\n", done.stdout)
    assert float(ends[0]) == 0
    assert [float(end) > 0.9 for end in ends] == [False, True, True]
    admissible, constant = map(float, re.findall(r"theta - 2. <= ([\d.]+)", done.stdout))
    assert admissible < 0.02 < 1 < constant
