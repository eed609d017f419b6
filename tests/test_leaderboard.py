import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from inna.lab import plan
from inna.lab.records import RunFolder
from inna.lab.reporting.circumstances import made_on, options, schedule
from inna.lab.reporting.leaderboard import overall, standings
from inna.lab.results.curves import Curve
from made_results import result, run, with_the_papers_settings

QUICK = with_the_papers_settings("quick")


def test_the_lowest_stands_first_and_who_diverged_last() -> None:
    made = result(QUICK)
    lost = Curve(QUICK.settings[6], made.curves[6].grid, 0.1, [run([2.0, None])] * 5)
    found = standings([dataclasses.replace(made, curves=[*made.curves[:6], lost])])
    assert [one.beside for one in found] == ["lowest", *["behind the lowest"] * 8, "diverged"]
    assert found[0].label == "INNA (0.1, 0.1), k^-1/16"
    assert found[-1].label == "ADAM"
    assert math.isnan(found[-1].loss)
    one = next(one for one in found if one.label == "SGD")
    assert one.ratio == pytest.approx(6 / (1 + 1 / 16))
    assert one.loss == pytest.approx(found[0].loss * one.ratio)
    assert one.test_loss == pytest.approx(1.2 * one.loss)
    assert (one.epochs, one.seconds, one.trials, one.seeds) == (4, 2, 2, 5)


def test_over_all_problems_ratios_have_a_geometric_mean() -> None:
    first, other = result(QUICK), result(QUICK)
    other = dataclasses.replace(other, curves=other.curves[::-1][:6], decays=[], best=None)
    other = dataclasses.replace(other, problem=other.problem.model_copy(update={"network": "small"}))
    found = standings([first, other])
    rows = overall(found)
    assert {row.label for row in rows} == {curve.setting.label for curve in other.curves}
    for row in rows:
        ratios = [one.ratio for one in found if one.label == row.label]
        assert row.ratio == pytest.approx(math.prod(ratios) ** 0.5)
        assert (row.problems, row.lowest) == (2, sum(ratio == 1 for ratio in ratios))
    assert [row.ratio for row in rows] == sorted(row.ratio for row in rows)


def test_who_shows_no_difference_from_the_lowest_is_level_with_it() -> None:
    made = result(QUICK)
    losses = {4: [1.0, 1.1, 0.9, 1.05, 1.0], 5: [1.05, 1.0, 1.0, 1.0, 1.02], 6: [9.0, 9.1, 8.9, 9.0, 9.0]}
    curves = [
        Curve(QUICK.settings[i], made.curves[i].grid, 0.1, [run([2.0, x]) for x in of])
        for i, of in losses.items()
    ]
    rows = overall(standings([dataclasses.replace(made, curves=curves, decays=[], best=None)]))
    assert [(row.label, row.lowest, row.level) for row in rows] == [
        ("SGD", 1, 1),
        ("ADAGRAD", 0, 1),
        ("ADAM", 0, 0),
    ]


def test_what_was_compared_in_words() -> None:
    assert options({}) == "defaults"
    made: dict[str, dict[str, Any]] = {
        "constant": {},
        "mine.every_hundred": {"schedule": "mine.every_hundred"},
        "cosine: steps = 54": {"schedule": {"family": "cosine", "steps": 54}},
        "constant_family": {"schedule": {"family": "constant_family"}},
    }
    for told, change in made.items():
        assert schedule(plan.Setting(label="a", optimizer="adam", **change)) == told


def test_versions_and_machines_are_counted_as_the_runs_wrote_them_down(tmp_path: Path) -> None:
    of = QUICK.model_copy(update={"settings": QUICK.settings[4:6], "decays": ()})
    for number, setting in enumerate(of.settings):
        for seed in of.seeds:
            run = of.long_run(of.problems[0], setting, 0.1, seed)
            left = RunFolder.of(run, tmp_path / "runs")
            left.path.mkdir(parents=True)
            content = {"run": run.model_dump(mode="json"), "data": {"sha256": ""}}
            code = {"inna": "1", "commit": "0123456789abcdef", "modified": True}
            machine = {"processor": "a chip", "cores": 4, "platform": "Linux", "device": "cpu"}
            left.describe(content if number else content | {"code": code, "machine": machine})
    seeds = len(of.seeds)
    assert made_on(tmp_path, of, [result(of)]) == [
        f"{seeds} long runs: inna 1 (commit 0123456789, modified); a chip, 4 cores, Linux, device cpu.",
        f"{seeds} long runs: inna unknown.",
    ]
