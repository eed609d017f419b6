"""The closed forms of the theory against 60 digits, over curvatures 1e-16..1e16 and alpha, beta 1e-8..1e8."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpmath import mpf

from inna.dynamics import lambda_range, linear_rate, on_quadratic, potential_weights, proof_constants
from inna.hyperparameters import critical_beta, max_stable_lr, multipliers, oscillating_curvatures

mp.mp.dps = 60
curvatures = st.floats(-16, 16).map(lambda x: 10**x)
dampings = st.floats(-8, 8).map(lambda x: 10**x)
CLOSE = 1e-12


@st.composite
def oscillators(draw: st.DrawFn) -> tuple[float, float, float]:
    """A curvature, alpha and beta; half of them near critical damping, where the discriminant cancels."""
    L, alpha, beta = draw(curvatures), draw(dampings), draw(dampings)
    critical = (2 * math.sqrt(L) - alpha) / L
    if 1e-8 <= critical <= 1e8 and draw(st.booleans()):
        beta = critical
    return L, alpha, beta


def roots(L: float, alpha: float, beta: float) -> tuple[mp.mpc, mp.mpc]:
    s = mpf(alpha) + mpf(beta) * mpf(L)
    root = mp.sqrt(s * s - 4 * mpf(L))
    return mp.mpc((-s + root) / 2), mp.mpc((-s - root) / 2)


def relative(found: float, true: mp.mpf) -> float:
    return float(abs(mpf(found) / true - 1)) if true else abs(found)


@given(oscillators())
@settings(max_examples=300)
def test_the_roots_and_what_follows_from_them(setting: tuple[float, float, float]) -> None:
    L, alpha, beta = setting
    slow, fast = roots(*setting)
    limit = -2 / fast.real if not fast.imag else -2 * fast.real / mpf(L)
    assert relative(max_stable_lr(alpha, beta, L, smallest=L), limit) < CLOSE
    assert relative(linear_rate([L], alpha, beta), 2 * slow.real) < CLOSE
    lr = 0.5 * float(limit)
    for found, true in zip(multipliers(lr, alpha, beta, L), (fast, slow), strict=True):
        assert abs(found - (1 + lr * true)) < CLOSE
    critical = (2 * mp.sqrt(mpf(L)) - mpf(alpha)) / mpf(L)
    assert relative(critical_beta(alpha, L), max(critical, mpf(0))) < CLOSE


@given(dampings, dampings)
@settings(max_examples=300)
def test_the_ends_of_bands_and_ranges(alpha: float, beta: float) -> None:
    inertia = 1 - mpf(alpha) * mpf(beta)
    low, high = lambda_range(alpha, beta)
    root = mp.sqrt(mpf(alpha) * mpf(beta))
    assert relative(low, (1 - root) ** 2) < CLOSE
    assert relative(high, (1 + root) ** 2) < CLOSE
    band = oscillating_curvatures(alpha, beta)
    if band is None:
        assert inertia <= 0
    else:
        ends = [((1 + sign * mp.sqrt(inertia)) / mpf(beta)) ** 2 for sign in (-1, 1)]
        assert max(map(relative, band, ends)) < CLOSE
    if alpha * beta > 1:
        assert relative(potential_weights(alpha, beta)[1], -inertia) < CLOSE


@given(st.floats(1, 1 + 1e-6), dampings)
def test_the_range_of_lambda_just_beside_alpha_beta_1(product: float, beta: float) -> None:
    alpha = product / beta
    root = mp.sqrt(mpf(alpha) * mpf(beta))
    assert relative(lambda_range(alpha, beta)[0], (1 - root) ** 2) < CLOSE


@given(dampings, dampings)
@settings(max_examples=200)
def test_the_constants_of_the_proof(alpha: float, beta: float) -> None:
    a, b = mpf(alpha), mpf(beta)
    k = a - 1 / b
    d_energy = mp.matrix([[-2 * k, 2 * (1 + a * b) - 2 * k * b], [-2 / b, -2]])
    singular = mp.svd_r(d_energy * mp.diag([1 / mp.sqrt(2 * a), 1 / mp.sqrt(2 * b)]), compute_uv=False)
    of_motion = mp.svd_r(d_energy * mp.matrix([[1, 0], [1, b]]) ** -1, compute_uv=False)
    c1, c2 = proof_constants(alpha, beta)
    assert relative(c1, 1 / max(singular) ** 2) < CLOSE
    assert relative(c2, min(of_motion)) < CLOSE


@given(oscillators(), st.floats(-2, 2), st.floats(-2, 2), st.booleans())
@settings(max_examples=300)
def test_the_solution_on_a_quadratic(
    setting: tuple[float, float, float], log_time: float, log_speed: float, slowly: bool
) -> None:
    L, alpha, beta = setting
    speed = 10**log_speed
    slow, fast = roots(*setting)
    assume(slow != fast)
    t = float(10**log_time / abs(slow if slowly else fast))
    assume(abs(slow.imag) * t < 300)  # the phase is rounded too
    a, b, s, curvature = map(mpf, (alpha, beta, speed, L))
    u = (s - b) * curvature
    found = on_quadratic(L, alpha, beta, 1.0, t, initial_speed=speed)
    for value, start, slope in zip(
        found, (mpf(1), u), (-s * curvature, -a * u + (1 - a * b) * curvature), strict=True
    ):
        mode, other = (slope - fast * start) / (slow - fast), -(slope - slow * start) / (slow - fast)
        true = (mode * mp.exp(slow * t) + other * mp.exp(fast * t)).real
        push = abs(slope - slow.real * start) * min(mpf(t), 1 / abs(slow - fast))
        size = abs(mp.exp(slow * t)) * (abs(start) + push)  # of what turns or cancels
        if abs((slow - fast) * t) > 1 and not slow.imag:
            size = abs(mode * mp.exp(slow * t)) + abs(other * mp.exp(fast * t))
        assume(size > 1e-250)
        assert abs(float(value) - true) < CLOSE * size


@pytest.mark.parametrize(
    ("found", "true"),
    [
        (linear_rate([1.0], 1e8, 0.1), -1.999999998e-8),
        (linear_rate([1e-16], 1, 0.1), -2e-16),
        (on_quadratic(1e-8, 10, 0.1, 1, 1e9)[0], 0.36787944084035086),
        (proof_constants(1e6, 1e6)[1], 2e-6),
    ],
)
def test_what_once_cancelled(found: float, true: float) -> None:
    assert np.isclose(found, true, rtol=1e-12, atol=0)
