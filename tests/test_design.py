import math

import numpy as np
import pytest
from scipy import stats

from inna.lab.results.design import detectable, effect, one_sided, power, seeds_for


def test_the_one_sided_test_is_scipys_and_knows_a_margin() -> None:
    x = np.array([-0.3, -0.1, 0.1, -0.4, -0.2])
    known = stats.ttest_1samp(x, 0, alternative="less")
    found = one_sided(x)
    assert found.p == pytest.approx(known.pvalue)
    assert found.high == pytest.approx(known.confidence_interval(0.95).high)
    assert found.rejected == (known.pvalue < 0.05)
    wide = one_sided(x, margin=0.1)
    assert wide.p == pytest.approx(stats.ttest_1samp(x, -0.1, alternative="less").pvalue)
    assert not wide.rejected
    assert (one_sided([-1.0, -1.0]).p, one_sided([0.0, 0.0]).p) == (0, 1)


def test_the_power_is_what_a_simulation_finds() -> None:
    draw = np.random.default_rng(0).normal(-1.2, 1, (3000, 6))
    found = np.mean([one_sided(x).rejected for x in draw])
    assert found == pytest.approx(power(1.2, 6), abs=0.03)
    rare = np.mean([one_sided(x, level=0.05 / 4).rejected for x in draw])
    assert rare == pytest.approx(power(1.2, 6, comparisons=4), abs=0.03)
    assert power(0.0, 6) == pytest.approx(0.05)


def test_seeds_and_effects_fit_each_other() -> None:
    assert power(0.7, seeds_for(0.7)) >= 0.8 > power(0.7, seeds_for(0.7) - 1)
    assert power(detectable(5, comparisons=20), 5, comparisons=20) == pytest.approx(0.8)
    assert seeds_for(1.0, comparisons=20) > seeds_for(1.0, target=0.9) > seeds_for(1.0)
    with pytest.raises(
        ValueError, match=r"more than 10,000 seeds would be needed to find an effect of 0.001"
    ):
        seeds_for(0.001)


def test_hedges_g_has_no_bias_and_cohens_d_has() -> None:
    found = [effect(x) for x in np.random.default_rng(0).normal(-1, 1, (4000, 5))]
    assert np.mean([one.g for one in found]) == pytest.approx(-1, abs=0.03)
    assert np.mean([one.d for one in found]) < -1.2
    assert effect([1.0, 1.0]).d == math.inf
    assert effect([0.0, 0.0]).d == 0
    assert effect([-1.0, 0.0, 2.0]).lower == 0.5


def test_mistakes_are_one_line() -> None:
    for wrong, said in (([1.0], "of at least two seeds are needed, got 1"), ([1.0, math.nan], "got nan")):
        with pytest.raises(ValueError, match=said):
            effect(wrong)
    for call, said in (
        (lambda: one_sided([1, 2], level=0.5), "level must lie between 0 and 0.5, got 0.5"),
        (lambda: one_sided([1, 2], margin=-1), "margin must be 0 or more, got -1"),
        (lambda: power(1, 1), "seeds must be at least 2, got 1"),
        (lambda: power(1, 5, comparisons=0), "comparisons must be at least 1, got 0"),
        (lambda: seeds_for(0), "effect must be positive, got 0"),
        (lambda: detectable(5, target=1), "target must be at least 0.5 and below 1, got 1"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
