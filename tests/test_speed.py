import math

import numpy as np
import pytest

from inna.lab.results.speed import first_at, median, ratios, share_within


def test_the_first_point_at_a_goal_by_count_steps_and_seconds() -> None:
    losses = np.array([[4, 2, 3, 1], [4, 3, math.nan, math.nan]])
    np.testing.assert_array_equal(first_at(losses, [3, 1]), [[1, 1], [3, math.inf]])
    np.testing.assert_array_equal(first_at(losses, [3], at=[0, 10, 20, 30]), [[10, 10]])
    seconds = [[0, 1, 2, 3], [0, 5, 6, 7]]
    np.testing.assert_array_equal(first_at(losses, [3, 9], at=seconds), [[1, 5], [0, 0]])
    with pytest.raises(ValueError, match=r"at must have the shape \(4,\) or \(2, 4\), got \(3,\)"):
        first_at(losses, [1], at=[0, 1, 2])
    with pytest.raises(ValueError, match=r"got \(4,\), \(1,\)"):
        first_at(losses[0], [1])


@pytest.mark.parametrize("runs", [5, 6, 12])
def test_the_interval_of_a_median_holds_it_as_often_as_it_says(runs: int) -> None:
    samples = np.random.default_rng(0).exponential(size=(3000, runs))
    found = [median(x) for x in samples]
    held = np.mean([one.low <= math.log(2) <= one.high for one in found])
    assert held == pytest.approx(found[0].level, abs=0.015)
    assert (found[0].level >= 0.95) == (runs >= 6)
    assert found[0].median == pytest.approx(np.median(samples[0]))


def test_runs_that_never_came_count_in_a_median() -> None:
    assert median([1.0, math.inf]).median == math.inf
    assert median([math.inf] * 3).low == math.inf
    with pytest.raises(ValueError, match="infinite for who never came"):
        median([1.0, math.nan])


def test_profiles_by_hand() -> None:
    found = ratios(np.array([[10, 20, math.inf], [9, 3, 3]]))
    np.testing.assert_array_equal(found, [[1, 2, math.inf], [3, 1, 1]])
    np.testing.assert_array_equal(
        share_within(found, [1, 2, 1e9]), [[0.5, 0.5, 0.5], [0.5, 1, 0.5], [1, 1, 0.5]]
    )
    with pytest.raises(ValueError, match="costs must be positive"):
        ratios([[0.0, 1.0]])
