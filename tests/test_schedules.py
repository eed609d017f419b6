"""Schedules: their values, and Assumption 1 decided rightly, which numbers at k = 2^1000 confirm."""

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from families import FAMILIES, VERDICTS
from inna import schedules
from inna.schedules import (
    Schedule,
    admissible,
    constant,
    cosine,
    drops,
    exponential,
    inverse_k_log,
    linear,
    log_power,
    power,
    warmup,
)

NON_INCREASING = [schedule for schedule in FAMILIES if not isinstance(schedule, warmup)]
ENDS_AT_ZERO = (linear, cosine)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (power(0.5), {0: 1, 3: 1 / 2, 8: 1 / 3, 99: 0.1}),
        (power(1), {0: 1, 1: 1 / 2, 9: 0.1}),
        (power(0), {0: 1, 10**6: 1}),
        (log_power(2), {0: 1, math.e**2 - math.e: 1 / 4, math.e**4 - math.e: 1 / 16}),
        (inverse_k_log(), {0: 1, 9: 1 / (10 * math.log(9 + math.e))}),
        (constant(), {0: 1, 10**6: 1}),
        (exponential(0.5), {0: 1, 1: 1 / 2, 10: 1 / 1024}),
        (linear(4), {0: 1, 1: 3 / 4, 3: 1 / 4, 4: 0, 1000: 0}),
        (cosine(6), {0: 1, 2: 3 / 4, 3: 1 / 2, 4: 1 / 4, 6: 0, 1000: 0}),
        (drops([2, 5], 0.1), {0: 1, 1: 1, 2: 0.1, 4: 0.1, 5: 0.01, 1000: 0.01}),
        (drops([5, 2], 0.1), {1: 1, 2: 0.1, 5: 0.01}),
        (drops([]), {0: 1, 1000: 1}),
        (warmup(4, power(0.5)), {0: 1 / 4, 1: 1 / 2, 3: 1, 4: 1, 7: 1 / 2, 103: 0.1}),
        (warmup(1, power(0.5)), {0: 1, 1: 1, 4: 1 / 2}),
        (warmup(2, linear(2)), {0: 1 / 2, 1: 1, 2: 1, 3: 1 / 2, 4: 0}),
    ],
    ids=repr,
)
def test_values(schedule: Schedule, values: dict[float, float]) -> None:
    assert {k: schedule(k) for k in values} == pytest.approx(values, rel=1e-14, abs=1e-16)


@pytest.mark.parametrize("schedule", NON_INCREASING, ids=repr)
def test_a_schedule_starts_at_exactly_1(schedule: Schedule) -> None:
    assert schedule(0) == 1


@pytest.mark.parametrize("schedule", NON_INCREASING, ids=repr)
def test_a_schedule_never_increases(schedule: Schedule) -> None:
    assert (np.diff(schedule(np.arange(3000))) <= 0).all()


@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_a_factor_is_positive_unless_the_schedule_ends_at_zero(schedule: Schedule) -> None:
    values = schedule(np.arange(3000))
    tail = schedule.then if isinstance(schedule, warmup) else schedule
    assert (values >= 0).all() if isinstance(tail, ENDS_AT_ZERO) else (values > 0).all()


@given(steps=st.integers(1, 500), k=st.integers(0, 1000))
def test_a_warm_up_rises_to_1_and_hands_over_at_the_tails_own_start(steps: int, k: int) -> None:
    schedule = warmup(steps, power(0.5))
    assert schedule(k) == pytest.approx((k + 1) / steps if k < steps else power(0.5)(k - steps), rel=1e-14)


@pytest.mark.parametrize("k", [0, 7, 7.0, 10**6], ids=repr)
@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_a_python_number_gives_a_python_float(schedule: Schedule, k: float) -> None:
    assert type(schedule(k)) is float


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.float64])
@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_an_array_gives_the_values_of_its_elements(schedule: Schedule, dtype: type) -> None:
    k = np.arange(200).reshape(4, 50)
    values = schedule(k.astype(dtype))
    assert isinstance(values, np.ndarray)
    np.testing.assert_allclose(values, [[schedule(int(i)) for i in row] for row in k], rtol=1e-13)


@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_a_float32_array_stays_float32(schedule: Schedule) -> None:
    assert schedule(np.arange(100, dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_the_array_library_that_is_passed_is_the_only_one_used(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = schedule(np.arange(20))
    monkeypatch.setattr(schedules, "np", None)
    np.testing.assert_array_equal(schedule(np.arange(20), xp=np), expected)


def sum_is_infinite(schedule: Schedule) -> bool:
    # Cauchy: the sum is as finite as that of c_j = 2^j gamma(2^j), here compared with 1 / j at j = 1000.
    return bool(1000 * 2.0**1000 * schedule(2.0**1000) >= 0.5)


def gamma_log_k_vanishes(schedule: Schedule) -> bool:
    # log k grows fourfold: log(k)^(1-p) falls by 4^(1-p), while C / log k stays and slower ones grow.
    near, far = (schedule(k) * math.log(k) for k in (2.0**250, 2.0**1000))
    return bool(far <= 0.9 * near)


def test_each_family_is_among_them() -> None:
    of_the_module = [vars(schedules)[name] for name in schedules.__all__]
    families = {each for each in of_the_module if isinstance(each, type) and issubclass(each, Schedule)}
    assert {type(schedule) for schedule in FAMILIES} == families - {Schedule}


@pytest.mark.parametrize(("schedule", "verdict"), VERDICTS, ids=repr)
def test_assumption_1_is_decided(schedule: Schedule, verdict: bool) -> None:
    assert bool(admissible(schedule)) is verdict
    assert admissible(schedule).admissible is verdict


@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_the_verdict_is_what_the_numbers_say(schedule: Schedule) -> None:
    assert bool(admissible(schedule)) is (sum_is_infinite(schedule) and gamma_log_k_vanishes(schedule))


@given(q=st.floats(0, 1e3))
def test_a_power_is_admissible_exactly_for_q_in_0_1(q: float) -> None:
    assert bool(admissible(power(q))) is (0 < q <= 1)


@given(p=st.floats(1e-3, 1e3))
def test_a_power_of_the_logarithm_is_admissible_exactly_above_1(p: float) -> None:
    assert bool(admissible(log_power(p))) is (p > 1)


@given(steps=st.integers(1, 10**6), q=st.floats(0, 3))
def test_a_warm_up_does_not_change_the_verdict(steps: int, q: float) -> None:
    assert bool(admissible(warmup(steps, power(q)))) is bool(admissible(power(q)))


@given(q=st.floats(0, 1), n=st.integers(1, 5000))
def test_partial_sums_of_admissible_powers_grow_like_a_logarithm_at_least(q: float, n: int) -> None:
    assert power(q)(np.arange(n)).sum() >= math.log(n + 1)


@given(n=st.integers(1, 5000))
def test_partial_sums_of_1_over_k_log_k_grow_like_log_log(n: int) -> None:
    assert inverse_k_log()(np.arange(n)).sum() >= math.log(math.log(n + math.e))


@pytest.mark.parametrize(
    ("schedule", "total"),
    [
        (power(2), math.pi**2 / 6),
        (exponential(0.9), 10.0),
        (exponential(0.999), 1000.0),
        (linear(100), 50.5),
        (cosine(100), 50.5),
    ],
    ids=repr,
)
def test_a_finite_sum_is_its_closed_form(schedule: Schedule, total: float) -> None:
    assert schedule(np.arange(10**6)).sum() == pytest.approx(total, rel=1e-5)


def test_c_over_log_k_is_the_borderline() -> None:
    assert log_power(1)(1e300) * math.log(1e300) == pytest.approx(1, rel=1e-12)
    above = [log_power(1.5)(k) * math.log(k) for k in (1e3, 1e6, 1e12, 1e100, 1e300)]
    below = [log_power(0.5)(k) * math.log(k) for k in (1e3, 1e6, 1e12, 1e100, 1e300)]
    assert above == sorted(above, reverse=True)
    assert below == sorted(below)


@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_a_verdict_prints_its_reason(schedule: Schedule) -> None:
    verdict = admissible(schedule)
    assert len(verdict.reason.split()) >= 5
    assert "\n" not in verdict.reason
    assert str(verdict) == ("admissible: " if verdict else "not admissible: ") + verdict.reason


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (power(2), "finite sum"),
        (power(0), "tends to infinity"),
        (log_power(1), "positive constant"),
        (log_power(0.5), "tends to infinity"),
        (exponential(0.9), "finite sum"),
        (cosine(10), "finite sum"),
        (drops([3]), "after the last drop"),
        (warmup(3, power(2)), "finite sum"),
    ],
    ids=repr,
)
def test_the_reason_is_the_condition_that_fails(schedule: Schedule, words: str) -> None:
    assert words in admissible(schedule).reason


BAD: list[tuple[Callable[[Any], Schedule], str, list[Any]]] = [
    (power, "q", [-0.1, math.nan, math.inf]),
    (log_power, "p", [0, -1, math.nan, math.inf]),
    (exponential, "rate", [0, 1, 1.5, -0.5, math.nan]),
    (linear, "steps", [0, -5, math.nan, math.inf]),
    (cosine, "steps", [0, -5, math.nan, math.inf]),
    (lambda steps: warmup(steps, constant()), "steps", [0, -5, math.nan, math.inf]),
    (lambda ratio: drops([10], ratio), "ratio", [0, 1, 2, -0.5, math.nan]),
    (lambda milestone: drops([10, milestone]), "milestones", [0, -5, math.nan]),
]


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        pytest.param(family, name, value, id=f"{number}-{name}={value}")
        for number, (family, name, values) in enumerate(BAD)
        for value in values
    ],
)
def test_a_bad_parameter_is_named_with_its_value(
    family: Callable[[Any], Schedule], name: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must .*, got .*{value}"):
        family(value)


@pytest.mark.parametrize("undecidable", [lambda k: 1.0, math.sqrt, 0.5, None])
def test_a_bare_function_is_not_decided(undecidable: Any) -> None:
    with pytest.raises(TypeError, match="only the families"):
        admissible(undecidable)


def test_a_warm_up_of_a_bare_function_is_not_decided() -> None:
    with pytest.raises(TypeError):
        admissible(warmup(3, lambda k: 1.0))  # type: ignore[arg-type]


def test_an_object_that_knows_its_own_verdict_is_asked() -> None:
    class Own(Schedule):
        def admissibility(self) -> schedules.Admissibility:
            return schedules.Admissibility(True, "because it says so")

    assert str(admissible(Own())) == "admissible: because it says so"


@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_a_schedule_survives_pickling(schedule: Schedule) -> None:
    assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_schedules_are_compared_and_hashed_by_value() -> None:
    assert len(set(FAMILIES)) == len(FAMILIES)
    assert {power(0.5), power(0.5), power(0.25)} == {power(0.25), power(0.5)}
    assert warmup(3, drops([1, 2])) == warmup(3, drops((1, 2)))
    assert hash(warmup(3, drops([1, 2]))) == hash(warmup(3, drops((1, 2))))
    assert len({linear(10), cosine(10)}) == 2


@pytest.mark.parametrize("schedule", FAMILIES, ids=repr)
def test_the_repr_builds_the_schedule_again(schedule: Schedule) -> None:
    assert eval(repr(schedule), vars(schedules)) == schedule
