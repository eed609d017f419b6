import math
from itertools import combinations, product

import numpy as np
import pytest

from inna.lab.results.budget import expected_best, median_best


def test_the_expected_best_is_the_mean_over_all_choices_of_trials() -> None:
    losses = np.random.default_rng(0).exponential(size=(6, 2))
    for k in range(1, 7):
        without = np.mean([losses[list(c)].min(axis=0) for c in combinations(range(6), k)], axis=0)
        np.testing.assert_allclose(expected_best(losses)[k - 1], without)
    for k in (1, 2, 3):
        again = np.mean([losses[list(c)].min(axis=0) for c in product(range(6), repeat=k)], axis=0)
        np.testing.assert_allclose(expected_best(losses, replacement=True)[k - 1], again)


def test_without_replacement_there_is_no_bias() -> None:
    """Of exponential losses the best of k has the mean 1 / k; with replacement it is too high."""
    samples = np.random.default_rng(0).exponential(size=(10, 4000))
    k = np.arange(1, 11)
    np.testing.assert_allclose(expected_best(samples).mean(axis=1), 1 / k, rtol=0.05)
    assert expected_best(samples, replacement=True)[-1].mean() > 1.4 / 10


def test_a_trial_that_gave_nothing_may_be_infinite() -> None:
    found = expected_best([math.inf, 1.0, 2.0, math.inf])
    assert found[:2].tolist() == [math.inf, math.inf]
    np.testing.assert_allclose(found[2:], [1.25, 1.0])


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_interval_of_the_median_best_holds_it_whatever_the_losses(k: int) -> None:
    draw = np.random.default_rng(0)
    p = 1 - 0.5 ** (1 / k)
    for samples, truth in (
        (draw.exponential(size=(1500, 12)), -math.log(1 - p)),
        (np.tan(np.pi * (draw.random((1500, 12)) - 0.5)), math.tan(math.pi * (p - 0.5))),
    ):
        found = [median_best(x, k) for x in samples]
        assert np.mean([one.low <= truth <= one.high for one in found]) > 0.94
        assert all(one.high < math.inf for one in found)


def test_mistakes_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"must hold a trial at least, got \[\]"):
        expected_best([])
    with pytest.raises(ValueError, match="losses hold NaN: a trial that diverged is infinite"):
        expected_best([1.0, math.nan])
    for options, said in (({"k": 0}, "k must be at least 1, got 0"), ({"k": 1, "level": 1.0}, "got 1.0")):
        with pytest.raises(ValueError, match=said):
            median_best([1.0], **options)
    with pytest.raises(ValueError, match=r"shape \(trials,\), got \(1, 1\)"):
        median_best([[1.0]], 1)
