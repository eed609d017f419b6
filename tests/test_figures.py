from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from inna.lab import plan, style
from inna.lab.gallery import figure1
from inna.lab.reporting import drawing, figures
from inna.lab.results import paper
from inna.lab.results.curves import Curve, GridPoint, Result
from inna.lab.results.findings import findings
from made_results import curve, with_the_papers_settings
from made_results import result as made

# The paper's colours and line styles, as its figures print them.
PRINTED = {
    "SGD": ("magenta", "-", "D"),
    "ADAM": ("darkorange", "-", "*"),
    "ADAGRAD": ("red", "-", "o"),
    "INNA (0.1, 0.1)": ("navy", "-.", "None"),
    "INNA (0.5, 0.1)": ("blue", "--", "None"),
    "INNA (0.5, 0.5)": ("springgreen", "-", "None"),
    "INNA (0.5, 1)": ("green", ":", "D"),
    "$k^{-1/2}$": ("blue", "--", "None"),
    "$k^{-1/4}$": ("darkred", "-", "None"),
    "$k^{-1/8}$": ("darkviolet", ":", "None"),
    "$k^{-1/16}$": ("plum", "-", "None"),
}
QUICK, PAPER = with_the_papers_settings("quick"), plan.load("paper")
OWN = QUICK.model_copy(
    update={
        "name": "own",
        "decays": (),
        "settings": tuple(
            s.model_copy(update={"label": f"mine {i}", "role": "peer"}) for i, s in enumerate(QUICK.settings)
        ),
    }
)
"""A plan without candidates, with labels that the paper does not know."""


@pytest.fixture
def result() -> Result:
    return made(QUICK)


def pictures(of: plan.Plan, *results: Result) -> dict[str, figures.Picture]:
    return {picture.name: picture for picture in figures.pictures(of, results)}


def lines(fig: Any, axis: int) -> dict[str, Any]:
    drawn = {line.get_label(): line for line in fig.axes[axis].get_lines()}
    return {label: line for label, line in drawn.items() if not label.startswith("_")}


def panels(picture: figures.Picture) -> list[figures.Panel]:
    return [panel for column in picture.columns for panel in column]


def test_same_curve_same_colour_and_line_as_in_the_paper(result: Result) -> None:
    drawn: dict[str, Any] = {}
    for name in ("figure2", "figure3", "figure4"):
        drawn |= lines(drawing.draw(pictures(QUICK, result)[name]), 0)
    assert {
        label: (to_hex(line.get_color()), line.get_linestyle(), line.get_marker() or "None")
        for label, line in drawn.items()
    } == {label: (to_hex(color), *rest) for label, (color, *rest) in PRINTED.items()}


@pytest.mark.parametrize("of", [QUICK, OWN], ids=["quick", "own"])
def test_an_optimizer_has_one_look_in_all_figures_and_no_other_has_it(of: plan.Plan) -> None:
    looks: dict[str, set[figures.Look]] = {}
    for picture in pictures(of, made(of)).values():
        for line in (line for panel in panels(picture) for line in panel.lines):
            if picture.name != "figure4":  # there the decays have names of their own
                looks.setdefault(line.label.replace("best candidate", of.settings[0].label), set()).add(
                    line.look
                )
    assert all(len(found) == 1 for found in looks.values())
    assert len(set.union(*looks.values())) == len(looks)


def test_curves_are_means_and_bands_reach_from_the_best_run_to_the_worst(result: Result) -> None:
    fig = drawing.draw(pictures(QUICK, result)["figure2"])
    losses = result.curves[0].series("train_loss")
    line = lines(fig, 0)["INNA (0.1, 0.1)"]
    np.testing.assert_allclose(line.get_ydata(), losses.mean(axis=0))
    assert fig.axes[0].get_yscale() == "log"
    band = np.array(fig.axes[0].collections[0].get_paths()[0].vertices)[:, 1]
    assert band.min() == pytest.approx(losses.min())
    assert band.max() == pytest.approx(losses.max())
    accuracy = lines(fig, 1)["INNA (0.1, 0.1)"].get_ydata()
    np.testing.assert_allclose(accuracy, result.curves[0].series("test_accuracy").mean(axis=0))


def test_each_figure_shows_its_curves_and_names_its_axes(result: Result) -> None:
    drawn = {name: drawing.draw(picture) for name, picture in pictures(QUICK, result).items()}
    assert list(drawn) == [
        "figure2",
        "figure3",
        "figure4",
        "sensitivity",
        "budget",
        "time_to_target",
        "profiles",
    ]
    assert len(lines(drawn["figure2"], 0)) == len(lines(drawn["figure2"], 1)) == 4
    assert list(lines(drawn["figure3"], 0)) == ["SGD", "ADAGRAD", "ADAM", "INNA (0.1, 0.1)"]
    assert list(lines(drawn["figure4"], 0)) == ["$k^{-1/2}$", "$k^{-1/4}$", "$k^{-1/8}$", "$k^{-1/16}$"]
    assert list(lines(drawn["figure4"], 1)) == ["ADAM", "$k^{-1/4}$"]
    assert len(lines(drawn["sensitivity"], 0)) == 4
    assert len(lines(drawn["sensitivity"], 1)) == len(lines(drawn["time_to_target"], 0)) - 1 == 6
    assert len(lines(drawn["profiles"], 2)) == 10
    for fig in (*drawn.values(), figure1.draw()):
        assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in fig.axes)


@pytest.mark.parametrize("decays", [(0.0625, 0.25, 0.125), (0.25,), (0.75, 0.25)])
def test_figure_4_and_its_sentence_set_the_same_decay_against_adam(decays: tuple[float, ...]) -> None:
    """That with the greatest q, in whatever order the plan has them, and Adam whatever its label."""
    settings = [s.model_copy(update={"label": "adaptive"}) if s.is_adam else s for s in QUICK.settings]
    plan = QUICK.model_copy(update={"decays": decays, "settings": tuple(settings)})
    against = f"k^-1/{1 / max(decays):g}"
    shown = pictures(plan, made(plan))["figure4"].columns[0][1]
    assert [line.label for line in shown.lines] == ["adaptive", against]
    said = [s for s in findings(plan, made(plan)) if "adaptive in training loss" in s]
    assert said[1].startswith(f"INNA (0.1, 0.1), {against} is")


@pytest.mark.parametrize(("problems", "axes"), [(1, 2), (2, 4), (3, 6)])
def test_problems_stand_side_by_side(problems: int, axes: int) -> None:
    of = PAPER.model_copy(update={"problems": PAPER.problems[:problems]})
    drawn = pictures(of, *(made(of, problem) for problem in range(problems)))
    found = {name: len(drawing.draw(picture).axes) for name, picture in drawn.items()}
    assert found.pop("profiles") == 3
    assert found.pop("budget") == problems
    assert set(found.values()) == {axes}


def test_a_plan_without_candidates_has_its_figures(tmp_path: Path) -> None:
    drawn = pictures(OWN, made(OWN))
    assert list(drawn) == ["figure3", "sensitivity", "budget", "time_to_target", "profiles"]
    assert list(lines(drawing.draw(drawn["figure3"]), 0)) == [s.label for s in OWN.settings]
    lone = OWN.model_copy(update={"settings": OWN.settings[:1]})
    assert "figure3" in pictures(lone, made(lone))


def test_a_diverged_run_ends_the_mean_and_a_hopeless_setting_is_left_out(result: Result) -> None:
    broken = curve(QUICK.settings[1], 1.0)
    broken.runs[0][2:] = [
        {"epoch": 2, "train_loss": None, "test_accuracy": None, "diverged": True, "seconds": 1.0}
    ]
    hopeless = Curve(QUICK.settings[2], [GridPoint(1.0, [None])], None, [])
    mixed = Result(result.problem, [result.curves[0], broken, hopeless], [], result.curves[0])
    drawn = lines(drawing.draw(pictures(QUICK, mixed)["figure2"]), 0)
    assert list(drawn) == ["INNA (0.1, 0.1)", "INNA (0.5, 0.1)"]
    assert np.isnan(drawn["INNA (0.5, 0.1)"].get_ydata()[2:]).all()


def test_the_whole_grid_is_shown_with_what_was_chosen_and_what_diverged() -> None:
    grid = [
        GridPoint(0.1, [2.0, 1.0]),
        GridPoint(1.0, [0.5, 0.1]),
        GridPoint(10.0, [None, 3.0]),
    ]
    one = Curve(QUICK.settings[0], grid, 1.0, curve(QUICK.settings[0], 1.0, seeds=2).runs)
    picture = pictures(QUICK, Result(QUICK.problems[0], [one], [], one))["sensitivity"]
    curve_, *marks = picture.columns[0][0].lines
    assert curve_.low is not None
    assert curve_.high is not None
    assert [list(v) for v in (curve_.x, curve_.y, curve_.low, curve_.high)] == [
        [0.1, 1, 10],
        [1.5, 0.3, 3],
        [1, 0.1, 3],
        [2, 0.5, 3],
    ]
    assert [(mark.kind, list(mark.x)) for mark in marks] == [("chosen", [1.0]), ("diverged", [10.0])]
    assert marks[1].y[0] > 3


def test_time_to_target_is_the_median_over_the_seeds(result: Result) -> None:
    epochs, seconds = panels(pictures(QUICK, result)["time_to_target"])
    line = next(line for line in epochs.lines if line.label == "SGD")
    losses = result.curves[4].series("train_loss")
    for goal, needed in zip(line.x[::10], line.y[::10], strict=True):
        assert needed == np.median([np.flatnonzero(run <= goal)[0] for run in losses])
    assert [line.label for line in seconds.lines] == [line.label for line in epochs.lines]


def test_the_papers_plan_has_the_printed_curves_under_its_own_and_no_other_plan_has() -> None:
    results = [made(PAPER, problem, epochs=20) for problem in range(3)]
    drawn = pictures(PAPER, *results)
    printed = {
        name: [
            [line.label for line in panel.lines if line.kind == "printed"] for panel in panels(drawn[name])
        ]
        for name in ("figure2", "figure3", "figure4")
    }
    inna, peers = [s.label for s in PAPER.settings[:4]], [s.label for s in PAPER.settings[4:]]
    assert printed["figure2"] == [inna] * 6
    assert printed["figure3"] == [[*peers, inna[0]]] * 6
    assert printed["figure4"] == [["k^-1/2", "k^-1/4", "k^-1/8", "k^-1/16"], ["ADAM", "k^-1/4"]] * 3
    loss = drawn["figure3"].columns[1][0]
    under = next(line for line in loss.lines if (line.kind, line.label) == ("printed", "ADAM"))
    known = paper.printed(PAPER.problems[1], "train_loss", "ADAM")
    assert known is not None
    assert list(under.x) == list(range(21))  # as far as ours have come
    assert list(under.y) == list(known.mean[:21])
    assert "printed" in drawn["figure3"].caption
    quick = pictures(QUICK, made(QUICK))
    assert not any(line.kind == "printed" for p in quick.values() for q in panels(p) for line in q.lines)


def test_an_unfinished_plan_has_the_figures_of_what_there_is() -> None:
    begun = curve(QUICK.settings[0], 2.0)
    waiting = Curve(QUICK.settings[4], [GridPoint(0.1, [1.0], 4)], None, [])
    chosen = Curve(QUICK.settings[5], waiting.grid, 0.1, [[]] * 5)
    drawn = pictures(QUICK, Result(QUICK.problems[0], [begun, waiting, chosen], [], begun))
    assert [line.label for line in drawn["figure3"].columns[0][0].lines] == ["INNA (0.1, 0.1)"]
    assert {line.label for line in panels(drawn["sensitivity"])[1].lines} == {"SGD", "ADAGRAD"}
    for picture in drawn.values():
        drawing.draw(picture)
    nothing = Curve(QUICK.settings[0], [GridPoint(0.1, [], 5)], None, [])
    assert pictures(QUICK, Result(QUICK.problems[0], [nothing], [], nothing)) == {}


def test_drawing_leaves_the_users_settings_alone_and_draws_the_same_twice(
    result: Result, tmp_path: Path
) -> None:
    before = dict(mpl.rcParams)
    picture = pictures(QUICK, result)["figure2"]
    files: Sequence[Path] = style.save(drawing.draw(picture), tmp_path, "figure2")
    first = [file.read_bytes() for file in files]
    style.save(drawing.draw(picture), tmp_path, "figure2")
    assert [file.read_bytes() for file in files] == first
    assert dict(mpl.rcParams) == before


def test_a_label_that_starts_with_an_underscore_is_in_the_legend(tmp_path: Path) -> None:
    x = np.array([1.0, 2.0])
    named = [figures.Line(label, figures.Look("red"), x, x) for label in ("_mine", "yours", "_$a_b k^-1/2")]
    fig = drawing.draw(figures.Picture("figure", "", "", [[figures.Panel("", "", "", named)]]))
    style.save(fig, tmp_path, "figure")
    shown = [text.get_text() for text in fig.legends[0].get_texts()]
    assert shown == [r"$\_$mine", "yours", r"$\_$\$a_b $k^{-1/2}$"]


def test_dollars_in_a_label_are_no_mathematics(tmp_path: Path) -> None:
    setting = QUICK.settings[4].model_copy(update={"label": "costs $1_ or $2^"})
    one = curve(setting, 1.0)
    drawn = pictures(QUICK, Result(QUICK.problems[0], [one], [], None))
    style.save(drawing.draw(drawn["figure3"]), tmp_path, "figure3")


def test_the_numbers_of_figure_1() -> None:
    rows = [row.split(",") for row in figure1.trajectories_csv().splitlines()]
    assert rows[0] == ["panel", "alpha", "beta", "iteration", "theta_1", "theta_2", "J"]
    assert len(rows) == 1 + 5 * 2201  # (c) is the same in both versions
    assert rows[1] == ["a", "0.3", "0.01", "0", "-1", "1.5", "27"]


def test_columns_after_the_fourth_go_below_the_first() -> None:
    columns = [[figures.Panel(f"{i}{row}", "epoch", "loss", []) for row in "ab"] for i in range(6)]
    places = {
        ax.get_title(): ax.get_subplotspec()
        for ax in drawing.draw(figures.Picture("figure", "", "", columns)).axes
    }
    assert {title: (at.rowspan.start, at.colspan.start) for title, at in places.items() if at} == {
        f"{i}{row}": (2 * (i // 4) + "ab".index(row), i % 4) for i in range(6) for row in "ab"
    }
