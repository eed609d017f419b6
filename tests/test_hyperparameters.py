"""What a setting means, held against the recursion matrix and the recursion itself."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inna import _translation, hyperparameters
from inna.hyperparameters import (
    critical_beta,
    damping,
    describe,
    effective_lr,
    max_stable_lr,
    momentum,
    multipliers,
    oscillating_curvatures,
    quasi_hyperbolic,
)
from inna.reference import inna_step, momentum_from_psi, psi_from_momentum

LIMITS = [  # DESIGN 1: curvature, alpha, beta, gamma_max
    (1, 0.5, 0.1, 0.6),
    (400, 0.5, 0.01, 0.01125),
    (400, 0.5, 0.1, 0.0853892780744381),
    (10, 2, 1, 0.1801960972814430),
    (1, 1, 1, 2),
]

curvatures = st.floats(1e-3, 1e3)
alphas = st.floats(0.05, 5)
betas = st.floats(0.01, 5)


def recursion(lr: float, alpha: float, beta: float, curvature: float) -> np.ndarray:
    """One step on (theta, u) of the quadratic with this curvature."""
    return np.array(
        [
            [1 - lr * beta * curvature, -lr],
            [lr * (1 - alpha * beta) * curvature, 1 - alpha * lr],
        ]
    )


def spectral_radius(matrix: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def inna_on_momentum(theta: Any, u: Any, v: Any, *, lr: float, alpha: float, beta: float) -> tuple[Any, Any]:
    psi = psi_from_momentum(theta, u, alpha=alpha, beta=beta)
    theta, psi = inna_step(theta, psi, v, lr=lr, alpha=alpha, beta=beta)
    return theta, momentum_from_psi(theta, psi, alpha=alpha, beta=beta)


@given(lr=st.floats(1e-3, 1), alpha=alphas, beta=betas, curvature=curvatures)
def test_the_recursion_matrix_of_these_tests_is_innas(
    lr: float, alpha: float, beta: float, curvature: float
) -> None:
    theta, u = np.eye(2)
    step = inna_on_momentum(theta, u, curvature * theta, lr=lr, alpha=alpha, beta=beta)
    matrix = recursion(lr, alpha, beta, curvature)
    np.testing.assert_allclose(step, matrix, rtol=1e-9, atol=1e-9 * np.abs(matrix).max())


@pytest.mark.parametrize(("curvature", "alpha", "beta", "limit"), LIMITS)
def test_stability_limit_of_the_design_examples(
    curvature: float, alpha: float, beta: float, limit: float
) -> None:
    assert max_stable_lr(alpha, beta, curvature) == pytest.approx(limit, rel=1e-12)


@given(alpha=alphas, beta=betas, curvature=curvatures)
def test_the_stability_limit_is_where_the_spectral_radius_passes_1(
    alpha: float, beta: float, curvature: float
) -> None:
    limit = max_stable_lr(alpha, beta, curvature, smallest=curvature)
    assert spectral_radius(recursion(limit * (1 - 1e-4), alpha, beta, curvature)) < 1
    assert spectral_radius(recursion(limit * (1 + 1e-4), alpha, beta, curvature)) >= 1


@given(alpha=alphas, beta=betas, curvature=curvatures, fraction=st.floats(1e-3, 0.999))
def test_every_smaller_lr_is_stable(alpha: float, beta: float, curvature: float, fraction: float) -> None:
    lr = fraction * max_stable_lr(alpha, beta, curvature)
    assert spectral_radius(recursion(lr, alpha, beta, curvature)) < 1


@given(alpha=alphas, beta=betas, curvature=curvatures, spread=st.floats(1, 1e4))
def test_the_stability_limit_over_a_range_of_curvatures_is_the_least_on_it(
    alpha: float, beta: float, curvature: float, spread: float
) -> None:
    smallest = curvature / spread
    limit = max_stable_lr(alpha, beta, curvature, smallest)
    between = smallest * spread ** np.linspace(0, 1, 9)[1:-1]
    assert all(max_stable_lr(alpha, beta, L, smallest=L) >= limit * (1 - 1e-12) for L in between.tolist())
    assert limit >= max_stable_lr(alpha, beta, curvature)
    assert max_stable_lr(alpha, beta, curvature, curvature * 1e-12) == pytest.approx(
        max_stable_lr(alpha, beta, curvature), rel=1e-6
    )


def test_small_curvatures_decide_where_the_largest_alone_would_be_stable() -> None:
    lr, alpha, beta = 0.25, 10, 0.01
    assert (
        spectral_radius(recursion(lr, alpha, beta, 20))
        < 1
        < spectral_radius(recursion(lr, alpha, beta, 1e-3))
    )
    assert max_stable_lr(alpha, beta, 20) == 2 / alpha
    told = describe(lr, alpha, beta, 20)
    assert told.stable is False
    assert "0.2: this lr is NOT stable on small curvatures (2 / alpha)" in str(told)


@pytest.mark.parametrize("smallest", [-1.0, 2.0, math.nan])
def test_the_smallest_curvature_lies_between_0_and_the_largest(smallest: float) -> None:
    with pytest.raises(
        ValueError, match=rf"smallest must be between 0 and the curvature 1.0, got {smallest}"
    ):
        max_stable_lr(0.5, 0.1, 1.0, smallest)


@given(alpha=st.floats(0, 5), beta=st.floats(0, 5), curvature=curvatures)
def test_the_band_of_oscillating_curvatures(alpha: float, beta: float, curvature: float) -> None:
    discriminant = (alpha + beta * curvature) ** 2 - 4 * curvature
    assume(abs(discriminant) > 1e-9 * curvature)
    band = oscillating_curvatures(alpha, beta)
    assert (band is not None and band[0] < curvature < band[1]) is (discriminant < 0)


@pytest.mark.parametrize(
    ("alpha", "beta", "curvature", "limit"),
    [(0, 0, 1, 0), (0.5, 0, 4, 0.125), (0, 0.1, 1, 0.1), (0.5, 0.1, 1e12, 2e-11), (0.5, 0.1, 1e308, 2e-307)],
    ids=["no damping", "heavy ball", "alpha 0", "huge curvature", "its square overflows"],
)
def test_stability_limit_at_the_edges(alpha: float, beta: float, curvature: float, limit: float) -> None:
    assert max_stable_lr(alpha, beta, curvature) == pytest.approx(limit, rel=1e-9)


@given(lr=st.floats(0, 1), alpha=alphas, beta=betas, curvature=curvatures)
def test_multipliers_are_the_eigenvalues_of_the_recursion(
    lr: float, alpha: float, beta: float, curvature: float
) -> None:
    first, second = multipliers(lr, alpha, beta, curvature)
    matrix = recursion(lr, alpha, beta, curvature)
    scale = 1 + float(np.abs(matrix).max()) ** 2
    assert first + second == pytest.approx(np.trace(matrix), abs=1e-12 * scale)
    assert first * second == pytest.approx(np.linalg.det(matrix), abs=1e-12 * scale)


@given(alpha=alphas, beta=betas, curvature=curvatures)
def test_multipliers_are_complex_exactly_below_critical_damping(
    alpha: float, beta: float, curvature: float
) -> None:
    discriminant = (alpha + beta * curvature) ** 2 - 4 * curvature
    assume(abs(discriminant) > 1e-9 * curvature)
    first, second = multipliers(0.1, alpha, beta, curvature)
    if discriminant < 0:
        assert first == pytest.approx(second.conjugate(), rel=1e-12)
        assert first.imag != 0
        assert damping(alpha, beta, curvature) == "underdamped"
    else:
        assert first.imag == second.imag == 0
        assert damping(alpha, beta, curvature) == "overdamped"


@given(alpha=alphas, excess=st.floats(1, 10), curvature=curvatures)
def test_nothing_is_underdamped_when_alpha_beta_is_at_least_1(
    alpha: float, excess: float, curvature: float
) -> None:
    assert damping(alpha, excess / alpha, curvature) != "underdamped"


@pytest.mark.parametrize(
    ("alpha", "beta", "curvature", "regime"),
    [
        (0, 0, 1, "undamped"),
        (0.5, 0, 1, "underdamped"),
        (0.5, 0.1, 1, "underdamped"),
        (0.5, 0.1, 400, "overdamped"),
        (2, 0, 1, "critically damped"),
        (1, 1, 1, "critically damped"),
        (2, 0.5, 4, "critically damped"),
        (0, 0.2, 100, "critically damped"),
    ],
)
def test_damping_regimes(alpha: float, beta: float, curvature: float, regime: str) -> None:
    assert damping(alpha, beta, curvature) == regime


@given(alpha=st.floats(0, 5), curvature=curvatures)
def test_critical_beta_damps_critically_unless_alpha_alone_does_more(alpha: float, curvature: float) -> None:
    beta = critical_beta(alpha, curvature)
    if alpha < 2 * math.sqrt(curvature):
        assert beta > 0
        assert damping(alpha, beta, curvature) == "critically damped"
    else:
        assert beta == 0
        assert damping(alpha, beta, curvature) in ("critically damped", "overdamped")


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (0.5, 1.0), (2.0, 1.0)])
def test_effective_lr_is_the_long_run_step_along_a_constant_gradient(alpha: float, beta: float) -> None:
    theta, u = 0.0, 0.0
    for _ in range(2000):
        before = theta
        theta, u = inna_on_momentum(theta, u, 3.0, lr=0.1, alpha=alpha, beta=beta)
    assert theta - before == pytest.approx(-effective_lr(0.1, alpha) * 3.0, rel=1e-9)


def test_effective_lr_without_viscous_damping_is_infinite() -> None:
    assert effective_lr(0.1, 0.0) == math.inf


def test_momentum_is_the_decay_of_the_buffer_where_the_gradient_is_zero() -> None:
    _, u = inna_on_momentum(1.0, 2.0, 0.0, lr=0.1, alpha=0.5, beta=0.1)
    assert u == pytest.approx(momentum(0.1, 0.5) * 2.0, rel=1e-12)


def test_quasi_hyperbolic_equivalent() -> None:
    assert quasi_hyperbolic(0.01, 0.5, 0.2) == pytest.approx((0.02, 0.995, 0.9 / 0.995), rel=1e-14)


@pytest.mark.parametrize(("lr", "alpha"), [(0.1, 0.0), (0.5, 2.0)], ids=["alpha 0", "alpha lr 1"])
def test_the_quasi_hyperbolic_equivalent_says_where_it_does_not_exist(lr: float, alpha: float) -> None:
    with pytest.raises(ValueError, match=f"got alpha {alpha}, lr {lr}"):
        quasi_hyperbolic(lr, alpha, 0.1)
    assert describe(lr, alpha, 0.1).quasi_hyperbolic is None


@given(lr=st.floats(1e-4, 0.1), alpha=alphas, beta=betas, curvature=curvatures)
def test_a_description_agrees_with_its_parts(lr: float, alpha: float, beta: float, curvature: float) -> None:
    told = describe(lr, alpha, beta, curvature)
    assert (told.lr, told.alpha, told.beta, told.curvature) == (lr, alpha, beta, curvature)
    assert told.effective_lr == effective_lr(lr, alpha)
    assert told.momentum == momentum(lr, alpha)
    assert told.quasi_hyperbolic == quasi_hyperbolic(lr, alpha, beta)
    assert told.damping == damping(alpha, beta, curvature)
    assert told.max_stable_lr == max_stable_lr(alpha, beta, curvature)
    assert told.critical_beta == critical_beta(alpha, curvature)
    assert told.oscillating_curvatures == oscillating_curvatures(alpha, beta)
    assert told.stable is (lr < max_stable_lr(alpha, beta, curvature))


@given(alpha=alphas, beta=betas, curvature=curvatures)
def test_a_description_says_on_which_side_of_the_limit_lr_lies(
    alpha: float, beta: float, curvature: float
) -> None:
    limit = max_stable_lr(alpha, beta, curvature)
    assert describe(0.999 * limit, alpha, beta, curvature).stable is True
    assert describe(limit, alpha, beta, curvature).stable is False
    assert describe(1.001 * limit, alpha, beta, curvature).stable is False


def test_a_description_without_curvature_leaves_the_curvature_out() -> None:
    told = describe(0.1, 0.5, 0.1)
    assert (told.curvature, told.damping, told.max_stable_lr, told.critical_beta) == (None,) * 4
    assert told.stable is None
    assert "curvature" not in str(told)
    assert "stable" not in str(told)


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        (
            (0.01, 0.5, 0.1, 400),
            [
                "lr 0.01, alpha 0.5, beta 0.1",
                "0.02 (as of plain gradient descent)",
                "0.995",
                "nu 0.954774",
                "0.05 (< 1",
                "on curvature 400",
                "overdamped",
                "0.0853893: this lr is stable",
                "0.09875",
                "oscillating curvatures   0.0641131 to 389.936",
            ],
        ),
        ((0.1, 0.5, 0.01, 400), ["underdamped", "0.01125: this lr is NOT stable"]),
        ((0.1, 0.0, 0.1, None), ["inf", "none here", "0 (< 1"]),
        ((0.1, 2.0, 0.5, None), ["1 (= 1: the momentum dies out"]),
        ((0.1, 2.0, 1.0, None), ["2 (> 1: the gradient system"]),
    ],
)
def test_a_printed_description_contains_the_facts(
    setting: tuple[float, float, float, float | None], facts: list[str]
) -> None:
    text = str(describe(*setting))
    assert [fact for fact in facts if fact not in text] == []


ARGUMENTS: dict[Callable[..., object], tuple[str, ...]] = {
    effective_lr: ("lr", "alpha"),
    momentum: ("lr", "alpha"),
    quasi_hyperbolic: ("lr", "alpha", "beta"),
    damping: ("alpha", "beta", "curvature"),
    critical_beta: ("alpha", "curvature"),
    oscillating_curvatures: ("alpha", "beta"),
    max_stable_lr: ("alpha", "beta", "curvature"),
    multipliers: ("lr", "alpha", "beta", "curvature"),
    describe: ("lr", "alpha", "beta", "curvature"),
}


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [
        pytest.param(function, name, value, id=f"{function.__name__}({name}={value})")
        for function, names in ARGUMENTS.items()
        for name in names
        for value in (-0.5, math.nan, math.inf, -math.inf, *([0] if name == "curvature" else []))
    ],
)
def test_a_bad_value_is_named(function: Callable[..., object], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value}$"):
        function(**{**dict.fromkeys(ARGUMENTS[function], 0.5), name: value})


def test_every_public_function_is_in_the_table_of_bad_values() -> None:
    classes = {"Description", "QuasiHyperbolic"}
    translators = set(_translation.__all__)  # in a table of their own: tests/test_translation.py
    names = {function.__name__ for function in ARGUMENTS}
    assert names == set(hyperparameters.__all__) - classes - translators
