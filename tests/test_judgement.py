import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from inna.lab import plan
from inna.lab.plan import Hypothesis, Plan, PlanError, Problem, validated
from inna.lab.reporting.leaderboard import standings
from inna.lab.results import design, judgement, paper
from inna.lab.results.curves import Curve, GridPoint, Result, Summary, decayed
from inna.lab.results.findings import declared, findings, unfinished
from made_results import curve, result, run, with_the_papers_settings

QUICK = with_the_papers_settings("quick")
PAPER = plan.load("paper")
SETTING = QUICK.settings[0]


def of(*runs: Sequence[float | None], grid: list[GridPoint] | None = None) -> Curve:
    return Curve(SETTING, grid or [], 0.1, [run(losses) for losses in runs])


def test_an_interval_is_students_and_a_single_seed_has_none() -> None:
    values = [0.3, 0.1, 0.4, 0.1, 0.5]
    known = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = judgement.interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.seeds == 5
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert math.isnan(judgement.interval([1.0]).low)
    geometric = judgement.geometric_interval([1.0, 100.0])
    assert geometric.mean == pytest.approx(10)
    assert 0 < geometric.low < geometric.high


def covered(samples: np.ndarray, truth: float) -> float:
    """The share of the studies of five seeds whose interval, back in logarithms, holds the truth."""
    found = [judgement.geometric_interval(np.exp(x)) for x in samples]
    return float(np.mean([one.low <= math.exp(truth) <= one.high for one in found]))


@pytest.mark.parametrize("spread", [0.05, 1.0])
def test_the_interval_of_log_normal_losses_holds_the_truth_as_often_as_it_says(spread: float) -> None:
    samples = np.random.default_rng(0).normal(-1.0, spread, (2000, 5))
    assert 0.93 < covered(samples, -1.0) < 0.97
    arithmetic = [judgement.interval(np.exp(x)) for x in samples]  # where it is skewed, this one does not
    held = np.mean([x.low <= math.exp(-1 + spread**2 / 2) <= x.high for x in arithmetic])
    assert (0.93 < held < 0.97) == (spread < 1)


def test_the_interval_of_other_losses_holds_as_often_as_the_documents_say() -> None:
    """Heavy tails cost nothing; skewed logarithms of the losses do: the docs say so (docs/lab/howto.md)."""
    draw = np.random.default_rng(0)
    assert 0.93 < covered(draw.standard_t(3, (2000, 5)), 0.0) < 0.98
    assert covered(draw.exponential(size=(2000, 5)), 1.0) == pytest.approx(0.88, abs=0.02)
    differences = draw.exponential(size=(2000, 5)) - draw.exponential(size=(2000, 5))
    assert 0.93 < covered(differences, 0.0) < 0.98  # of two alike the skewness cancels


def test_all_intervals_of_a_report_hold_at_once_as_often_as_they_say() -> None:
    """Five optimizers, ten pairs, two measures: 20 intervals, of which one of 95 % each is often wrong."""
    draw = np.random.default_rng(0)
    first, second = np.triu_indices(5, 1)

    def held(comparisons: int, studies: int = 2000) -> float:
        right = 0
        for _ in range(studies):
            losses, accuracies = draw.normal(0, 1, (2, 5, 5)) * np.array([1, 1, 1, 0.3, 3])[:, None]
            rows = [*(losses[first] - losses[second]), *(accuracies[first] - accuracies[second])]
            found = [judgement.interval(row, comparisons) for row in rows]
            right += all(one.low <= 0 <= one.high for one in found)
        return right / studies

    assert 0.93 < held(20) < 0.98
    assert held(1, 300) < 0.6


def equal(draw: np.random.Generator, optimizers: int, candidates: int) -> list[Curve]:
    """Optimizers that do not differ: log-normal losses, accuracies of their own, five seeds."""
    made = []
    for number in range(optimizers):
        role = "candidate" if number < candidates else "peer"
        setting = SETTING.model_copy(update={"label": f"number {number}", "role": role})
        runs = [run([2.0, math.exp(x)]) for x in draw.normal(-1, 0.3, 5)]
        for one, accuracy in zip(runs, draw.normal(0.8, 0.02, 5), strict=True):
            one[-1]["test_accuracy"] = accuracy
        made.append(Curve(setting, [], 0.1, runs))
    return made


def falsely_ahead(
    optimizers: int, candidates: int, studies: int = 600, comparisons: int | None = None
) -> float:
    """The share of the reports on equal optimizers in which one is said to be ahead of another."""
    draw = np.random.default_rng(0)
    wrong = 0
    for _ in range(studies):
        curves = equal(draw, optimizers, candidates)
        best = min(curves[:candidates], key=lambda curve: curve.final("train_loss").mean, default=None)
        found = Result(QUICK.problems[0], curves, [], best)
        wrong += any(" is ahead of " in said for said in findings(QUICK, found, comparisons))
    return wrong / studies


@pytest.mark.parametrize(("optimizers", "candidates"), [(2, 0), (5, 0), (8, 0), (7, 4)])
def test_a_report_on_equal_optimizers_rarely_says_that_one_is_ahead(optimizers: int, candidates: int) -> None:
    """In 5 % at most, over all comparisons and the choice of the best, give or take 3 sigma."""
    assert falsely_ahead(optimizers, candidates) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def test_without_correction_every_third_report_on_five_equal_optimizers_is_wrong() -> None:
    assert falsely_ahead(5, 0, 300, comparisons=1) > 0.25


def test_the_family_counts_every_choice_that_a_report_makes() -> None:
    pairs = judgement.family([result(QUICK)])  # 4 candidates, 3 decays, 3 peers, two measures
    assert pairs == 2 * 4 * (1 + 3) * 3
    assert judgement.family([result(QUICK)] * 2) == 2 * pairs
    peers = [c for c in result(QUICK).curves if c.setting.role == "peer"]
    assert judgement.family([Result(QUICK.problems[0], peers, [], None)]) == 2 * 3
    assert judgement.family([Result(QUICK.problems[0], peers[:1], [], None)]) == 1


def test_means_and_ratio_point_the_same_way() -> None:
    """One bad seed raises an arithmetic mean above what the ratio says."""
    ours, theirs = of([2, 0.1], [2, 0.1], [2, 0.1]), of([2, 0.05], [2, 0.05], [2, 0.9])
    told = judgement.compare(ours, theirs, "train_loss")
    assert told.means[0] / told.means[1] == pytest.approx(told.difference.mean)
    assert told.means == pytest.approx((0.1, 0.9 ** (1 / 3) * 0.05 ** (2 / 3)))
    assert judgement.typical(ours, "train_loss") == pytest.approx(0.1)
    assert math.isnan(judgement.typical(of([2, 1], [2, None]), "train_loss"))


def test_who_has_no_median_is_named_with_how_many_seeds_came() -> None:
    quick, slow, last = QUICK.settings[4:]
    ends = [(quick, [0.5] * 3), (slow, [0.125, 0.875, 0.875]), (last, [0.75] * 3)]
    curves = [Curve(setting, [], 0.1, [run([2, x]) for x in losses]) for setting, losses in ends]
    said = findings(QUICK, Result(QUICK.problems[0], curves, [], None))
    assert any(s.endswith(f"Too few seeds came there for a median: {slow.label} (1 of 3).") for s in said)


def test_seeds_are_compared_in_pairs() -> None:
    levels = [0.01, 0.1, 1.0, 10.0, 100.0]  # from seed to seed far more differs than between the two
    noise = [1.0, 1.02, 0.99, 1.01, 0.98]
    ours = of(*[[200, level] for level in levels])
    theirs = of(*[[200, 1.2 * level * n] for level, n in zip(levels, noise, strict=True)])
    told = judgement.compare(ours, theirs, "train_loss")
    assert (told.verdict, told.overlap, told.epoch, told.difference.seeds) == ("ahead of", True, 1, 5)
    assert told.difference.mean == pytest.approx(1 / 1.2, rel=0.02)
    assert judgement.compare(theirs, ours, "train_loss").verdict == "behind"
    assert judgement.compare(ours, ours, "train_loss").verdict == "shows no difference from"
    assert judgement.compare(ours, theirs, "test_accuracy").verdict == "shows no difference from"
    clear = judgement.compare(of([2, 0.1], [2, 0.2]), of([2, 1.1], [2, 1.21]), "test_accuracy")
    assert (clear.verdict, clear.overlap) == ("ahead of", False)


def test_curves_are_compared_where_both_have_come_and_over_the_seeds_that_both_have() -> None:
    ours = of([2, 1, 0.5], [2, 1, 0.4], [])
    theirs = of([], [2, 3.0], [2, 5.0])
    told = judgement.compare(ours, theirs, "train_loss")
    assert (told.epoch, told.difference.seeds, told.verdict) == (1, 1, "shows no difference from")
    assert told.difference.mean == pytest.approx(1 / 3)
    assert judgement.compare(ours, of([], [], []), "train_loss").verdict == "cannot be compared with"
    lost = judgement.compare(ours, of([2, 1, 0.5], [2, None]), "train_loss")
    assert lost.verdict == "cannot be compared with"


def test_of_an_unfinished_plan_the_runs_that_came_furthest_count() -> None:
    unfinished = of([2, 1, 0.5], [2, 1], [2, 1, 0.3], [])
    assert unfinished.counted == [0, 2]
    assert unfinished.final("train_loss") == Summary(0.4, 0.3, 0.5)
    assert of([2, 1, 0.5], [2, None]).counted == [0, 1]


def test_the_first_epoch_at_a_target_and_the_seconds_till_then() -> None:
    runs = of([4, 2, 3, 1], [4, 3, 2.5, 2.1], [4, None])
    epochs = judgement.epochs_to(runs, [5, 2, 1])
    np.testing.assert_array_equal(epochs, [[0, 0, 0], [1, np.inf, np.inf], [3, np.inf, np.inf]])
    np.testing.assert_array_equal(judgement.seconds_to(runs, [2])[0], [2.0, np.inf, np.inf])


def test_targets_come_from_the_data() -> None:
    found = judgement.targets(result(QUICK))
    worst = 8 * 1.2 * 0.5**4  # ADAM, the last of the settings
    assert [t.name for t in found] == ["10", "1", "where ADAM ends", "0.1"]
    assert [t.loss for t in found] == pytest.approx([10, 1, worst, 0.1])
    hopeless = Result(QUICK.problems[0], [dataclasses.replace(of([]), lr=None)], [], None)
    assert judgement.targets(hopeless) == []


def test_performance_profiles_by_hand() -> None:
    fast, slow = QUICK.settings[0], QUICK.settings[4]
    curves = [
        Curve(fast, [], 0.1, [run([10, 1, 0.5, 0]), run([10, 9, 8, 7])]),
        Curve(slow, [], 0.1, [run([10, 8, 1, 0.5]), run([10, 9, 8, 0])]),
    ]
    found = judgement.profile([Result(QUICK.problems[0], curves, [], None)], 0.1)
    assert {name: list(ratios) for name, ratios in found.ratios.items()} == {
        fast.label: [1, math.inf],
        slow.label: [2, 1],
    }
    assert [found.share(slow.label, ratio) for ratio in (1, 1.9, 2)] == [0.5, 0.5, 1]
    assert found.share(fast.label, 1e9) == 0.5
    two = [Result(QUICK.problems[0], c, [], None) for c in (curves, curves[:1])]
    assert list(judgement.profile(two, 0.1).ratios) == [fast.label]  # what every problem has


def test_the_grid_judged() -> None:
    losses: dict[float, list[float | None]] = {0.01: [2.0], 0.1: [1.0], 0.2: [0.6], 0.5: [0.9], 1: [None]}
    grid = [GridPoint(lr, values) for lr, values in losses.items()]
    found = judgement.sensitivity(of([2, 1], grid=grid))
    assert found is not None
    assert (found.best.lr, found.low, found.high, found.on_edge, found.diverged) == (0.2, 0.1, 0.5, False, 1)
    assert found.decades == pytest.approx(math.log10(5))
    edge = judgement.sensitivity(of([2, 1], grid=grid[:3]))
    assert edge is not None
    assert edge.on_edge
    assert judgement.sensitivity(of([2, 1], grid=grid[4:])) is None


def as_printed(setting: plan.Setting, name: str, *, epochs: int, shift: float = 0.0) -> Curve:
    """Two seeds whose mean is the printed one, times 10^shift."""
    printed = paper.printed(PAPER.problems[1], "train_loss", name)
    assert printed is not None
    losses = printed.mean[: epochs + 1] * 10**shift
    return Curve(setting, [], 0.1, [run(list(losses * f)) for f in (0.9, 1.1)])


def test_the_distance_to_the_printed_curves() -> None:
    inna, adam = PAPER.settings[0], PAPER.settings[-1]
    curves = [
        as_printed(inna, "INNA (0.1, 0.1)", epochs=200),
        as_printed(adam, "ADAM", epochs=60, shift=1),
    ]
    decays = [as_printed(decayed(inna, 0.25), "k^-1/4", epochs=20)]
    found = paper.distances(PAPER, Result(PAPER.problems[1], curves, decays, curves[0]))
    losses = [(d.label, d.epoch, round(d.difference, 3), d.inside) for d in found if d.field == "train_loss"]
    assert losses == [
        *[("INNA (0.1, 0.1)", epoch, 0.0, True) for epoch in paper.EPOCHS],
        *[("ADAM", epoch, 1.0, False) for epoch in paper.EPOCHS if epoch <= 60],
        *[("INNA (0.1, 0.1), k^-1/4", epoch, 0.0, True) for epoch in (1, 2, 3, 5, 10, 15)],
    ]
    assert {d.label for d in found if d.field == "test_accuracy"} == {"INNA (0.1, 0.1)", "ADAM"}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"name": "mine", "seeds": (0,), "epochs": 30}, True),
        ({"selection_epochs": 0}, True),
        ({"selection_epochs": 3}, False),
        ({"batch_size": 64}, False),
        ({"sampling": "independent"}, False),
    ],
)
def test_the_protocol_decides_what_is_laid_over_the_printed_curves(
    change: dict[str, object], same: bool
) -> None:
    assert paper.repeats(PAPER.model_copy(update=change), PAPER.problems[0]) is same
    small = PAPER.problems[0].model_copy(update={"train": 2000})
    assert not paper.repeats(PAPER.model_copy(update=change), small)


def test_a_printed_curve_is_found_by_what_a_setting_is() -> None:
    names = [paper.label(setting.model_copy(update={"label": "mine"})) for setting in PAPER.settings]
    assert names == [setting.label for setting in PAPER.settings]
    other = PAPER.settings[0].model_copy(update={"options": {"alpha": 0.3, "beta": 0.1}})
    assert paper.label(other) is None
    assert paper.label(PAPER.settings[0].model_copy(update={"q": 0.25})) is None


def test_the_printed_curves_lie_in_their_bands_and_start_at_chance() -> None:
    for problem, classes in zip(PAPER.problems, (10, 10, 100), strict=True):
        for name in ("INNA (0.1, 0.1)", "INNA (0.5, 1)", "SGD", "ADAM", "ADAGRAD", "k^-1/4"):
            curve = paper.printed(problem, "train_loss", name)
            assert curve is not None
            assert len(curve.mean) == 201
            assert (curve.low[-60:] <= curve.mean[-60:] * 1.01).all()
            assert (curve.mean[-60:] <= curve.high[-60:] * 1.01).all()
            assert curve.mean[0] == pytest.approx(math.log(classes), rel=0.01)


def test_findings_come_from_the_records() -> None:
    said = findings(QUICK, result(QUICK))
    assert said[0] == (
        "The lowest training loss (geometric mean over the seeds) is that of "
        "INNA (0.1, 0.1), k^-1/16: 0.07913."
    )
    ahead = next(s for s in said if "ahead of SGD in training loss" in s)
    assert ahead.startswith(
        "INNA (0.1, 0.1) is ahead of SGD in training loss after 4 epochs: "
        "geometric means 0.149 against 0.447, ratio 0.333"
    )
    assert "5 paired seeds" in ahead
    assert "do not overlap" in ahead
    worst = result(QUICK)
    turned = dataclasses.replace(worst, best=worst.curves[-1], decays=[])
    assert any(s.startswith("ADAM is behind SGD in training loss") for s in findings(QUICK, turned))
    assert any("edge" in s for s in said)  # 0.1 is the least of the steps tried
    assert not any("printed" in s for s in said)
    assert any("inside the printed band" in s for s in findings(PAPER, result(PAPER, epochs=20)))


def test_a_task_without_accuracy_is_compared_in_test_loss() -> None:
    draw = np.random.default_rng(0)
    curves = equal(draw, 2, 0)
    for made in curves:
        for records in made.runs:
            for record in records:
                record["test_accuracy"] = None
    found = Result(Problem(task="autoencoder"), curves, [], None)
    assert found.fields == ["train_loss", "test_loss"]
    said = findings(QUICK, found)
    assert any("in test loss after" in s and "geometric means" in s and "ratio" in s for s in said)
    assert not any("accuracy" in s for s in said)
    told = judgement.compare(curves[0], curves[1], "test_loss")
    ours, theirs = (np.log([one[-1]["test_loss"] for one in made.runs]) for made in curves)
    assert told.difference.mean == pytest.approx(math.exp((ours - theirs).mean()))


def test_findings_say_what_tuning_gave_and_what_the_seeds_can_find() -> None:
    draw = np.random.default_rng(0)
    curves = equal(draw, 3, 0)
    grids = [
        [GridPoint(lr, [loss] * 5) for lr, loss in ((0.1, 1.0), (0.2, 3.0), (0.5, None))] for _ in curves
    ]
    curves = [dataclasses.replace(c, grid=g) for c, g in zip(curves, grids, strict=True)]
    curves[0] = dataclasses.replace(curves[0], grid=grids[0][:2])
    found = Result(QUICK.problems[0], curves, [], None)
    best = judgement.tuned(QUICK, found, curves[1])
    assert best is not None  # of 1, 3 and the 2 of the start
    np.testing.assert_allclose(best, np.repeat([[2.0], [4 / 3], [1.0]], 5, axis=1))
    said = findings(QUICK, found)
    assert any("What tuning gave" in s and "number 1 2 (2 to 2)" in s for s in said)
    assert "Not all had the same trials: 3 steps γ₀, but number 0 2." in said
    (seeds,) = [s for s in said if "with probability 0.8" in s]
    assert "5 seeds and 6 comparisons" in seeds
    spread = judgement.spread(found)
    needed = design.seeds_for(-math.log(0.9) / spread, level=0.025, comparisons=6)
    assert f"a ratio of 0.9 takes {needed} seeds" in seeds
    assert any(s.startswith("Few seeds: 5") for s in findings(QUICK, found, 10**6))
    missing = dataclasses.replace(curves[1], grid=[GridPoint(0.1, [1.0], 4), GridPoint(0.2, [], 5)])
    assert judgement.tuned(QUICK, found, missing) is None


def test_findings_of_what_diverged_or_has_not_begun() -> None:
    nothing = Curve(SETTING, [GridPoint(0.1, [], 5)], None, [])
    assert findings(QUICK, Result(QUICK.problems[0], [nothing], [], nothing)) == ["No long run has begun."]
    wild = of([2, None], [2, None])
    assert findings(QUICK, Result(QUICK.problems[0], [wild], [], wild)) == ["Every run diverged."]
    one = [curve(QUICK.settings[i], 2.0 + i, seeds=1) for i in (4, 5)]
    said = findings(QUICK, Result(QUICK.problems[0], one, [], None))
    words = "SGD shows no difference from ADAGRAD", "no interval; 1 paired seed)"
    assert any(all(word in s for word in words) for s in said)
    assert any(s.startswith("With one seed no difference can be judged") for s in said)


def test_what_is_missing_is_told() -> None:
    problem = QUICK.problems[0]
    missing = [QUICK.selection_run(problem, SETTING, 0.1, seed) for seed in (0, 1)]
    missing.append(QUICK.long_run(problem, QUICK.settings[-1], 0.1, 0))
    (said,) = unfinished(missing)
    assert said.startswith("mnist5k-lenet5 is not at its end.")
    assert "2 that choose γ₀ and 1 of all epochs (INNA, Adam)" in said
    assert unfinished([]) == []


def with_test_losses(*levels: float) -> list[Curve]:
    """Optimizers whose training losses are alike and whose test losses are not."""
    made = []
    for i, level in enumerate(levels):
        rows = [run([2.0, 1.0 + 0.01 * seed]) for seed in range(5)]
        for seed, one in enumerate(rows):
            one[-1]["test_loss"] = level * (1 + 0.02 * ((seed + i) % 3))
        setting = SETTING.model_copy(update={"label": f"number {i}", "role": "peer"})
        made.append(Curve(setting, [], 0.1, rows))
    return made


def test_who_is_judged_by_the_test_loss_is_ranked_and_compared_in_it() -> None:
    found = Result(QUICK.problems[0], with_test_losses(3.0, 2.0, 4.0), [], None, "test_loss")
    assert found.fields == ["test_loss", "test_accuracy"]
    assert found.drawn == ["train_loss", "test_accuracy"]
    said = findings(QUICK, found)
    assert said[0].startswith("The lowest test loss (geometric mean over the seeds) is that of number 1: 2.0")
    assert any(s.startswith("number 1 is ahead of number 0 in test loss") for s in said)
    assert any("a ratio of the test losses of" in s for s in said)
    assert [one.label for one in standings([found])] == ["number 1", "number 0", "number 2"]
    assert [one.ratio > 1.4 for one in standings([found])] == [False, True, True]


def test_a_plan_that_validates_judges_by_the_test_loss_unless_it_says_otherwise() -> None:
    content = QUICK.model_dump(mode="json")
    assert QUICK.lead == "train_loss"
    assert validated(Plan, {**content, "validation": 0.1}).lead == "test_loss"
    assert validated(Plan, {**content, "validation": 0.1, "judged_by": "train_loss"}).lead == "train_loss"


def test_declared_hypotheses_are_tested_one_sided_and_corrected_together() -> None:
    claims = [
        {"ahead": "number 1", "of": "number 0"},
        {"ahead": "number 0", "of": "number 1"},
        {"ahead": "number 0", "of": "number 2", "field": "train_loss"},
        {"ahead": "number 1", "of": "number 2", "field": "test_accuracy"},
    ]
    curves = with_test_losses(3.0, 2.0, 4.0)
    for seed, one in enumerate(curves[1].runs):
        one[-1]["test_accuracy"] += 0.1 + 0.01 * seed
    told = QUICK.model_copy(update={"hypotheses": tuple(Hypothesis.model_validate(c) for c in claims)})
    found = Result(QUICK.problems[0], curves, [], None)
    said = declared(told, [found])
    logs = np.log([one[-1]["test_loss"] for one in curves[1].runs])
    logs -= np.log([one[-1]["test_loss"] for one in curves[0].runs])
    p = stats.ttest_1samp(logs, 0, alternative="less").pvalue
    assert said[0] == (
        f"Declared: number 1 is ahead of number 0 in test loss on mnist5k-lenet5: found (ratio "
        f"{math.exp(logs.mean()):.3g} over 5 paired seeds; one-sided p = {p:.2g}, after "
        f"Holm's correction over 4 tests {4 * p:.2g}, level 0.05)."
    )
    verdicts = [" not found (" in sentence for sentence in said]
    assert verdicts == [False, True, True, False]
    lost = dataclasses.replace(curves[0], runs=[run([2.0, None]), *curves[0].runs[1:]])
    (first, *_) = declared(told, [dataclasses.replace(found, curves=[lost, *curves[1:]])])
    assert "not found (a run diverged, or there are fewer than two seeds; one-sided p = 1" in first
    waiting = declared(told, [found], [QUICK.long_run(QUICK.problems[0], QUICK.settings[0], 0.1, 0)])
    assert waiting == ["The hypotheses of the plan are tested when it is at its end."]
    assert declared(QUICK, [found]) == []


def test_declared_tests_of_equal_optimizers_rarely_find_anything() -> None:
    draw = np.random.default_rng(1)
    claims = [Hypothesis(ahead=f"number {i}", of="number 0", field="train_loss") for i in (1, 2, 3)]
    told = QUICK.model_copy(update={"hypotheses": tuple(claims)})
    studies = 500
    wrong = sum(
        any(
            ": found (" in s for s in declared(told, [Result(QUICK.problems[0], equal(draw, 4, 0), [], None)])
        )
        for _ in range(studies)
    )
    assert wrong / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"ahead": "SGD", "of": "SGD"}, "a hypothesis compares two settings, got 'SGD' twice"),
        ({"ahead": "SGD", "of": "LION"}, "unknown setting of a hypothesis 'LION': choose from INNA"),
        (
            {"ahead": "SGD", "of": "ADAM", "field": "loss"},
            r"hypotheses\.0\.field: .*'train_loss'.*, got 'loss'",
        ),
    ],
)
def test_hypotheses_name_two_settings_of_the_plan(claim: dict[str, str], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        validated(Plan, {**QUICK.model_dump(mode="json"), "hypotheses": [claim]})
