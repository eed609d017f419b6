"""Clarke's sets are right, or say that they are not exact: kinks that touch, norms, and what is refused."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inna.nonsmooth import (
    FiniteSum,
    MinkowskiSum,
    ReluNetwork,
    Sampled,
    goldstein,
    is_clarke_critical,
    is_d_critical,
)

Array = NDArray[np.float64]
BALL = np.eye(2)


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def assert_equal(found: MinkowskiSum, expected: MinkowskiSum) -> None:
    for w in np.random.default_rng(0).normal(size=(60, expected.offset.size)):
        assert found.support(w) == pytest.approx(expected.support(w), abs=1e-9)


# Where kinks touch or have no slope, first order is not enough.

TOUCHING: dict[str, tuple[Callable[[Any], Any], list[float], list[list[float]]]] = {
    "a parabola on a line": (
        lambda x: relu(x[1] - x[0] ** 2) - relu(x[1]) + x[1] / 2,
        [0, 0],
        [[0, -0.5], [0, 0.5]],
    ),
    "the same, turned": (
        lambda x: relu(x[0] - x[1] + (x[0] + x[1]) ** 2) + relu(x[1] - x[0]),
        [0, 0],
        [[1, -1], [-1, 1]],
    ),
    "a cubic": (lambda x: 2 * x[0] if x[0] ** 3 > 0 else -x[0], [0], [[-1], [2]]),
    "a cubic at .1": (lambda x: 2 * x[0] - 0.2 if (x[0] - 0.1) ** 3 > 0 else 0.1 - x[0], [0.1], [[-1], [2]]),
    "a cubic and its root": (
        lambda x: (2 * x[0] if x[0] > 0 else 7.0) if x[0] ** 3 > 0 else -x[0],
        [0],
        [[-1], [2]],
    ),
    "a product of signs": (
        lambda x: x[0] + x[1] if x[0] * x[1] > 0 and x[0] > 0 else (x[0] if x[0] > 0 else 0) + relu(x[1]),
        [0, 0],
        [[0, 0], [1, 0], [0, 1], [1, 1]],
    ),
    "a sum of squares is positive": (
        lambda x: x[0] if x[0] ** 2 + x[1] ** 2 > 0 else 9 * x[0],
        [0, 0],
        [[1, 0]],
    ),
    "cusps": (lambda x: relu(x[1] ** 2 - x[0] ** 3) - relu(x[0] ** 3 - x[1] ** 2) + x[1], [0, 0], [[0, 1]]),
    "one curved kink twice": (
        lambda x: abs(x[1] - np.sin(x[0])) - abs(np.sin(x[0]) - x[1]) + x[0],
        [0, 0],
        [[1, 0]],
    ),
}


@pytest.mark.parametrize(("f", "theta", "pieces"), TOUCHING.values(), ids=TOUCHING.keys())
def test_kinks_that_touch(f: Callable[[Any], Any], theta: list[float], pieces: list[list[float]]) -> None:
    found = FiniteSum([f]).clarke(theta)
    assert found.exact
    assert_equal(found, MinkowskiSum([pieces]))


def test_a_network_of_two_hidden_layers_with_equal_kinks() -> None:
    """Both samples have the same hidden values; nearby they differ, and then the gradients +-(1, 1) occur."""

    def term(theta: Any, x: Any, y: float) -> Any:
        hidden = relu(theta[4:8].reshape(2, 2) @ relu(theta[:4].reshape(2, 2) @ np.array(x)))
        return (theta[8:] @ hidden - y) ** 2 / 2

    J = FiniteSum.over([((1.0, 1.0), 1.0), ((1.0, -1.0), -1.0)], term)
    theta = np.array([1.0, 0, 1, 0, 0, 0, 0, 0, 1, 1])
    clarke = J.clarke(theta)
    assert clarke.exact
    assert_equal(clarke, J.D(theta))  # each sample's units turn on and off apart
    for signs in ([1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]):
        assert clarke.contains(np.r_[np.zeros(4), np.repeat(signs, 2), 0, 0])


UNDECIDED = FiniteSum([lambda x: abs(x[1] - np.sin(x[0])) - abs(x[1] - x[0]) + (x[1] - x[0]) / 2])


def test_a_piece_in_a_thin_cusp_is_not_lost() -> None:
    """Where x[0]^2 + 2 x[1]^3 < x[2] < 0, the gradient is (0, 0, -1)."""
    found = FiniteSum([lambda x: abs(max(x[2], x[0] ** 2 + 2 * x[1] ** 3))]).clarke(np.zeros(3))
    outer = found if found.exact else found.outer
    assert outer is not None
    assert outer.contains([0.0, 0.0, -1.0])


def test_what_is_not_decided_is_said_and_enclosed() -> None:
    clarke = UNDECIDED.clarke([0.0, 0.0])
    assert not clarke.exact
    assert clarke.outer is not None
    rng = np.random.default_rng(1)
    for x in rng.normal(size=(200, 2)) * [[1e-3, 1e-9]] + rng.normal(size=(200, 1)) * 1e-3:
        assert clarke.outer.contains(UNDECIDED.clarke(x).least_norm(), 1e-5)


def test_criticality_is_no_plain_no_where_it_is_not_decided() -> None:
    verdict = is_clarke_critical(UNDECIDED, [0.0, 0.0])
    assert verdict.critical is None
    assert "cannot be decided at first order" in str(verdict)
    with pytest.raises(ValueError, match="cannot be decided"):
        bool(verdict)
    away = FiniteSum([*UNDECIDED.terms, lambda x: 9 * x[0]])
    assert not is_clarke_critical(away, [0.0, 0.0])  # 0 is not even in the larger set
    assert not is_d_critical(away, [0.0, 0.0])
    sampled = Sampled([np.sign])
    assert is_d_critical(sampled, [0.0])
    assert is_d_critical(sampled, [1.0]).critical is None


# Euclidean norms, and all functions of Section 2.2.

NORMS: dict[str, tuple[Callable[[Any], Any], MinkowskiSum]] = {
    "norm": (np.linalg.norm, MinkowskiSum(offset=[0, 0], balls=[BALL])),
    "sqrt": (lambda x: np.sqrt(x[0] ** 2 + x[1] ** 2), MinkowskiSum(offset=[0, 0], balls=[BALL])),
    "hypot": (lambda x: np.hypot(x[0], x[1]), MinkowskiSum(offset=[0, 0], balls=[BALL])),
    "power .5": (lambda x: (x @ x) ** 0.5, MinkowskiSum(offset=[0, 0], balls=[BALL])),
    "-2 norm + x": (lambda x: x[0] - 2 * np.linalg.norm(x), MinkowskiSum(offset=[1, 0], balls=[2 * BALL])),
    "a linear image": (
        lambda x: np.linalg.norm(np.array([[1.0, 2.0], [3.0, 4.0]]) @ x),
        MinkowskiSum(offset=[0, 0], balls=[[[1.0, 2.0], [3.0, 4.0]]]),
    ),
    "root of a square": (lambda x: np.sqrt((x[0] - x[1]) ** 2), MinkowskiSum([[[1, -1], [-1, 1]]])),
    "norm - norm": (lambda x: np.linalg.norm(x) - np.sqrt(x @ x), MinkowskiSum(offset=[0, 0])),
    "relu of a norm": (lambda x: relu(np.linalg.norm(x)), MinkowskiSum(offset=[0, 0], balls=[BALL])),
    "sparse groups": (
        lambda x: np.linalg.norm(x) + np.abs(x).sum(),
        MinkowskiSum([[[-1, 0], [1, 0]], [[0, -1], [0, 1]]], balls=[BALL]),
    ),
    "l1": (lambda x: np.linalg.norm(x, 1), MinkowskiSum([[[-1, 0], [1, 0]], [[0, -1], [0, 1]]])),
    "l infinity": (lambda x: np.linalg.norm(x, np.inf), MinkowskiSum([[[-1, 0], [1, 0], [0, -1], [0, 1]]])),
    "norm squared": (lambda x: np.linalg.norm(x) ** 2, MinkowskiSum(offset=[0, 0])),
    "fourth powers": (lambda x: np.sqrt(x[0] ** 4 + x[1] ** 4), MinkowskiSum(offset=[0, 0])),
}


@pytest.mark.parametrize(("f", "expected"), NORMS.values(), ids=NORMS.keys())
def test_norms_at_0(f: Callable[[Any], Any], expected: MinkowskiSum) -> None:
    found = FiniteSum([f]).clarke([0.0, 0.0])
    assert found.exact
    assert_equal(found, expected)


@pytest.mark.parametrize("slope", [0.99, 1.0, 1.01])
def test_a_group_lasso_is_critical_while_the_slope_is_below_the_penalty(slope: float) -> None:
    J = FiniteSum([lambda x: ((x - 1) ** 2).sum() / 2, lambda x: math.sqrt(2) / slope * np.linalg.norm(x)])
    assert bool(is_d_critical(J, [0.0, 0.0])) == (slope <= 1)
    assert bool(is_clarke_critical(J, [0.0, 0.0])) == (slope <= 1)


def test_norms_among_kinks_that_depend_on_them_are_enclosed() -> None:
    found = FiniteSum([lambda x: np.linalg.norm(x) - 2 * abs(x[0])]).clarke([0.0, 0.0])
    assert not found.exact
    assert found.outer is not None
    for angle in np.linspace(0.1, 6.2, 40):  # gradients at points nearby
        x = np.array([np.cos(angle), np.sin(angle)])
        assert found.outer.contains(x - [2 * np.sign(x[0]), 0])


ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[float], float], list[float]]] = {
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda t: math.exp(-t) / (1 + math.exp(-t)) ** 2, []),
    "tanh": (np.tanh, lambda t: 1 / math.cosh(t) ** 2, []),
    "softplus by logaddexp": (lambda x: np.logaddexp(0, x), lambda t: 1 / (1 + math.exp(-t)), []),
    "softplus by log1p": (lambda x: np.log1p(np.exp(x)), lambda t: 1 / (1 + math.exp(-t)), []),
    "arctan": (np.arctan, lambda t: 1 / (1 + t * t), []),
    "SQNL": (
        lambda x: (
            np.clip(np.where(x > 0, x - x**2 / 4, x + x**2 / 4), -1, 1) if -2 <= x <= 2 else np.sign(x) * 1.0
        ),
        lambda t: max(1 - abs(t) / 2, 0),
        [],
    ),
    "soft clipping": (
        lambda x: np.log((1 + np.exp(5 * x)) / (1 + np.exp(5 * (x - 1)))) / 5,
        lambda t: 1 / (1 + math.exp(-5 * t)) - 1 / (1 + math.exp(-5 * (t - 1))),
        [],
    ),
    "APL": (lambda x: relu(x) + 0.3 * relu(0.5 - x), lambda t: (t > 0) - 0.3 * (t < 0.5), [0.0, 0.5]),
    "RReLU": (lambda x: np.maximum(x, 0.2 * x), lambda t: 1.0 if t > 0 else 0.2, [0.0]),
    "expm1, an ELU": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda t: min(1.0, math.exp(t)), []),
}


@pytest.mark.parametrize(("f", "slope", "kinks"), ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_the_activations_of_section_2_2(
    f: Callable[[Any], Any], slope: Callable[[float], float], kinks: list[float]
) -> None:
    J = FiniteSum([lambda x: f(x[0])])
    for t in (-1.3, 0.0, 0.5, 1.7):
        below, above = sorted([slope(t - 1e-9), slope(t + 1e-9)])
        (low,), (high,) = J.clarke([t]).bounds()
        assert [low, high] == pytest.approx([below, above], abs=1e-8)
        assert (high - low > 1e-6) == (t in kinks)
    np.testing.assert_allclose(
        FiniteSum([lambda x: sum(f(y) for y in x)]).D([0.3, -0.4]).least_norm(),
        [slope(0.3), slope(-0.4)],
        rtol=1e-9,
    )


def test_functions_of_arrays() -> None:
    expit = pytest.importorskip("scipy.special").expit
    theta = np.array([0.3, -0.7])
    cases: list[tuple[Callable[[Any], Any], Any]] = [
        (lambda x: np.logaddexp(0, x).sum(), expit(theta)),
        (lambda x: expit(x).sum(), expit(theta) * (1 - expit(theta))),
        (lambda x: np.logaddexp(x[0], 1000 + x[1]), np.array([0.0, 1.0])),
        (lambda x: np.sort(x)[0] + np.arctan(x).sum(), 1 / (1 + theta**2) + [0, 1]),
        (lambda x: 2 ** x[0] + (2 + x[0]) ** x[1], None),
    ]
    for f, gradient in cases:
        h = 1e-6
        numeric = [(f(theta + h * e) - f(theta - h * e)) / (2 * h) for e in np.eye(2)]
        expected = numeric if gradient is None else gradient
        np.testing.assert_allclose(FiniteSum([f]).D(theta).least_norm(), expected, rtol=1e-6, atol=1e-12)


# What is refused.


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_point_that_is_not_finite_is_refused_and_certifies_nothing(bad: float) -> None:
    network = ReluNetwork([[1.0]], [1.0], 1)
    for J, theta in (
        (FiniteSum([lambda x: abs(x[0])]), [bad]),
        (network, [bad, 1.0]),
        (Sampled([np.sign]), [bad]),
    ):
        for check in (is_d_critical, is_clarke_critical):
            with pytest.raises(ValueError, match="finite"):
                check(J, theta)
    with pytest.raises(ValueError, match="finite"):
        goldstein(np.sign, [bad], 0.1)
    with pytest.raises(ValueError, match="finite"):
        goldstein(lambda x: bad * x, [1.0], 0.1)
    with pytest.raises(ValueError, match="finite"):
        ReluNetwork([[bad]], [1.0], 1)


@pytest.mark.parametrize(("radius", "samples"), [(0.0, 10), (-1.0, 10), (np.nan, 10), (np.inf, 10), (0.1, 0)])
def test_the_ball_of_goldsteins_set_must_be_one(radius: float, samples: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        goldstein(np.sign, [0.0], radius, samples=samples)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: 1.0 if x[0] > 0 else 0.0 * x[0],
        lambda x: np.sign(x[0]),
        lambda x: x[1] if x[0] > 0 else -x[1],  # continuous at 0, and nowhere else on the kink
    ],
)
def test_a_discontinuous_term_is_refused(f: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="is discontinuous at"):
        FiniteSum([f]).D([0.0, 0.0])


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.sqrt(abs(x[0])), "not locally Lipschitz"),
        (lambda x: np.sqrt(x[0]), "not locally Lipschitz"),
        (lambda x: np.sqrt(x[0] ** 2 - x[1] ** 2), "negative near this point"),
        (lambda x: np.linalg.norm(x, 3), "If the term is locally Lipschitz"),
        (lambda x: np.maximum(np.linalg.norm(x), 2 * x[0]), "compares a Euclidean norm"),
        (lambda x: np.log(x[0]), "slope is not finite"),
    ],
)
def test_what_is_not_lipschitz_or_not_known_is_refused(f: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FiniteSum([f]).D([0.0, 0.0])


def test_functions_of_others_are_pointed_to_sampling() -> None:
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    for f in (
        lambda x: math.exp(x[0]),
        lambda x: torch.relu(x).sum(),
        lambda x: torch.relu(x[0]),
        lambda x: x.relu().sum(),
        lambda x: jnp.maximum(x, 0).sum(),
        lambda x: jnp.exp(x[0]),
    ):
        with pytest.raises(TypeError, match=r"not those of math, PyTorch or JAX.*Sampled"):
            FiniteSum([f]).D([0.0, 1.0])
    with pytest.raises(TypeError, match="must return one number"):
        FiniteSum([lambda x: x]).D([0.0, 1.0])
