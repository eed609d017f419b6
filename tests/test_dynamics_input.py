"""What the dynamics refuse, each with one clear error; and that they end."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inna.dynamics import (
    DIN,
    Ball,
    descent,
    gradient_flow,
    kl_exponent,
    linear_rate,
    measured_rate,
    newton_flow,
    on_quadratic,
    power_law,
    proof_constants,
    refine,
    shadow_distance,
)

din = DIN(lambda x: x, objective=lambda x: (x * x).sum(-1) / 2)
nan, inf = float("nan"), float("inf")
TIMES = [[5.0, 6.0], [0.0, 2.0, 1.0], [0.0], [], [0.0, nan], [0.0, inf], [0.0, 0.0], [[0.0, 1.0]], 1.0]
SOLVERS: dict[str, Callable[[Any, Any], Any]] = {
    "solve": din.solve,
    "solve_second_order": lambda theta, times: din.solve_second_order(theta, times, lambda x, w: w),
    "gradient_flow": lambda theta, times: gradient_flow(lambda x: x, theta, times),
    "newton_flow": lambda theta, times: newton_flow(lambda x: x, lambda x: np.eye(1), 0.1, theta, times),
}


@pytest.mark.parametrize("times", TIMES, ids=str)
@pytest.mark.parametrize("name", SOLVERS)
def test_times_increase_from_0(name: str, times: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^times must be at least two finite numbers that increase from 0, got "
    ):
        SOLVERS[name]([1.0], times)


@pytest.mark.parametrize("theta", [1.0, [], [[1.0]], [nan], [inf]], ids=str)
@pytest.mark.parametrize("name", SOLVERS)
def test_a_start_is_a_finite_vector(name: str, theta: Any) -> None:
    with pytest.raises(ValueError, match=r"^theta must (have shape \(d,\)|be finite), got "):
        SOLVERS[name](theta, [0.0, 1.0])


@pytest.mark.parametrize("psi", [[0.0], [[0.0, 0.0]], 0.0, [0.0, nan]], ids=str)
def test_a_psi_has_thetas_shape(psi: Any) -> None:
    for follow in (
        lambda: din.solve([1.0, 2.0], [0.0, 1.0], psi=psi),
        lambda: din.euler([1.0, 2.0], 0.1, 2, psi=psi),
        lambda: refine(din, [1.0, 2.0], 1.0, psi=psi),
    ):
        with pytest.raises(ValueError, match=r"^psi must (have theta's shape \(2,\)|be finite), got "):
            follow()


def test_a_psi_may_be_that_of_each_of_a_batch_or_of_all() -> None:
    batch = DIN(lambda x: x, np.array([0.5, 1.0]))
    of_each = batch.euler([1.0, 2.0], 0.1, 3, psi=np.array([[1.0, 1.0], [1.0, 1.0]]))
    of_all = batch.euler([1.0, 2.0], 0.1, 3, psi=np.array([1.0, 1.0]))
    assert (of_each.theta == of_all.theta).all()


def case(call: Callable[[], Any], message: str) -> Any:
    return pytest.param(call, message, id=message)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        case(lambda: din.euler([1.0], -0.1, 2), "lr must be finite and non-negative, got -0.1"),
        case(lambda: din.euler([1.0], [0.1, nan], 2), "lr must be finite and non-negative, got [0.1, nan]"),
        case(lambda: din.euler([1.0], 0.1, -1), "steps must be an integer, at least 0, got -1"),
        case(lambda: din.euler([1.0], 0.1, 1.5), "steps must be an integer, at least 0, got 1.5"),  # type: ignore[arg-type]
        case(lambda: din.euler([1.0], 0.1, 2, every=0), "every must be an integer, at least 1, got 0"),
        case(lambda: din.euler([nan], 0.1, 2), "theta must be finite, got [nan]"),
        case(lambda: din.euler(1.0, 0.1, 2), "theta must have shape (..., d), got a number"),
        case(
            lambda: din.solve([1.0], [0.0, 1.0], initial_speed=nan), "initial_speed must be finite, got nan"
        ),
        case(lambda: Ball(1.0, centre=[nan]), "centre must be finite, got [nan]"),
        case(lambda: Ball(0.0), "radius must be positive and finite, got 0.0"),
        case(
            lambda: linear_rate([1.0, -1.0], 0.5, 0.1),
            "curvatures must be finite and positive, got [1.0, -1.0]",
        ),
        case(lambda: linear_rate(1.0, nan, 0.1), "alpha must be finite and non-negative, got nan"),
        case(
            lambda: on_quadratic(1.0, 0.5, -0.1, 1.0, 1.0), "beta must be finite and non-negative, got -0.1"
        ),
        case(lambda: on_quadratic(1.0, 0.5, 0.1, 1.0, inf), "t must be finite, got inf"),
        case(lambda: proof_constants(0.0, 1.0), "alpha must be finite and positive, got 0.0"),
        case(lambda: power_law(nan, 0.5), "the power law needs c > 2 and alpha > 0, got c nan, alpha 0.5"),
        case(lambda: kl_exponent(inf), "the exponent is that of |x|^c for c > 1, got c inf"),
        case(
            lambda: measured_rate([1, 2], [1, 1], "linear"),  # type: ignore[arg-type]
            "law must be 'exponential' or 'power', got 'linear'",
        ),
        case(lambda: measured_rate([1, 2], [1, nan]), "gap must be finite, got [1, nan]"),
        case(lambda: measured_rate([2, 1], [1, 1]), "a rate needs increasing t and as many values of gap"),
        case(
            lambda: measured_rate([1, 2], [1, 1], tail=(0.9, 0.1)),
            "tail must be two increasing fractions in [0, 1], got (0.9, 0.1)",
        ),
        case(
            lambda: descent([1.0, nan], [[1.0], [1.0]], [[1.0], [1.0]]),
            "values must be finite, got [1.0, nan]",
        ),
        case(
            lambda: descent([1.0], [1.0], [1.0]),
            "values must have shape (n,), gradients and velocities (n, d), got (1,), (1,) and (1,)",
        ),
        case(
            lambda: refine(din, [1.0], inf),
            "duration and tolerance must be positive, got duration inf, tolerance 0.001",
        ),
        case(
            lambda: shadow_distance(din.euler([1.0], 0.1, 9), din, 0.1, 0.1, lr=0.0),
            "lr must be finite and positive, got 0.0",
        ),
        case(
            lambda: shadow_distance(din.euler([[1.0]], 0.1, 9), din, 0.1, 0.1),
            "the path must be one trajectory, not a batch, got theta of shape (10, 1, 1)",
        ),
        case(
            lambda: shadow_distance(din.euler([1.0], 0.1, 9), DIN(lambda x: x, lambda t: 1.0), 0.1, 0.1),
            "the system must have a constant alpha and beta",
        ),
        case(
            lambda: DIN(lambda x: x, alpha=lambda t: 1 - t).solve([1.0], [0.0, 2.0]),
            "alpha must be finite and non-negative",
        ),
    ],
)
def test_one_clear_error(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()


def test_a_jump_of_the_gradient_ends_in_an_error_and_not_in_a_hang() -> None:
    with pytest.raises(
        RuntimeError, match=r"evaluations end at t = \d\.\d+\. Where the gradient jumps follow"
    ):
        DIN(np.sign).solve([1.0], [0.0, 5.0])
