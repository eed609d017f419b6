import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from inna.lab import figures, plan, protocol, report

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


def curve(setting: plan.Setting, level: float, *, seeds: int = 5, epochs: int = 4) -> protocol.Curve:
    runs = [
        [
            {
                "epoch": e,
                "train_loss": level * (1 + 0.1 * s) * 0.5**e,
                "test_accuracy": 1 - level * (1 + 0.1 * s) * 0.5**e / 10,
                "diverged": False,
            }
            for e in range(epochs + 1)
        ]
        for s in range(seeds)
    ]
    grid = [protocol.GridPoint(0.1, [level] * seeds), protocol.GridPoint(1.0, [None] * seeds)]
    return protocol.Curve(setting, grid, 0.1, runs)


@pytest.fixture
def quick() -> plan.Plan:
    return plan.load("quick")


@pytest.fixture
def result(quick: plan.Plan) -> protocol.Result:
    curves = [curve(setting, 2 + i) for i, setting in enumerate(quick.settings)]
    best = curves[0]
    decays = [
        curve(best.setting.model_copy(update={"label": protocol.decay_label(q), "q": q}), 1.0)
        for q in quick.decays
    ]
    return protocol.Result(quick.problems[0], curves, decays, best)


def lines(fig: Any, axis: int) -> dict[str, Any]:
    return {line.get_label(): line for line in fig.axes[axis].get_lines()}


def test_same_curve_same_colour_and_line_as_in_the_paper(result: protocol.Result) -> None:
    drawn: dict[str, Any] = {}
    for draw in (figures.draw_figure2, figures.draw_figure3, figures.draw_figure4):
        drawn |= lines(draw([result]), 0)
    assert {
        label: (to_hex(line.get_color()), line.get_linestyle(), line.get_marker())
        for label, line in drawn.items()
    } == {label: (to_hex(color), *rest) for label, (color, *rest) in PRINTED.items()}


def test_curves_are_means_and_bands_reach_from_the_best_run_to_the_worst(result: protocol.Result) -> None:
    fig = figures.draw_figure2([result])
    losses = result.curves[0].series("train_loss")
    line = lines(fig, 0)["INNA (0.1, 0.1)"]
    np.testing.assert_allclose(line.get_ydata(), np.log10(losses.mean(axis=0)))
    band = np.array(fig.axes[0].collections[0].get_paths()[0].vertices)[:, 1]
    assert band.min() == pytest.approx(np.log10(losses.min()))
    assert band.max() == pytest.approx(np.log10(losses.max()))
    accuracy = lines(fig, 1)["INNA (0.1, 0.1)"].get_ydata()
    np.testing.assert_allclose(accuracy, result.curves[0].series("test_accuracy").mean(axis=0))


def test_each_figure_shows_its_curves_and_names_its_axes(result: protocol.Result) -> None:
    figure2, figure3, figure4 = (
        draw([result]) for draw in (figures.draw_figure2, figures.draw_figure3, figures.draw_figure4)
    )
    assert len(lines(figure2, 0)) == len(lines(figure2, 1)) == 4
    assert list(lines(figure3, 0)) == ["SGD", "ADAGRAD", "ADAM", "INNA (0.1, 0.1)"]
    assert list(lines(figure4, 0)) == ["$k^{-1/2}$", "$k^{-1/4}$", "$k^{-1/8}$", "$k^{-1/16}$"]
    assert list(lines(figure4, 1)) == ["ADAM", "$k^{-1/4}$"]
    for fig in (figure2, figure3, figure4, figures.draw_figure1()):
        assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in fig.axes)


def test_three_problems_stand_side_by_side(result: protocol.Result) -> None:
    assert len(figures.draw_figure2([result] * 3).axes) == 6


def test_a_diverged_run_ends_the_mean_and_a_hopeless_setting_is_left_out(
    quick: plan.Plan, result: protocol.Result
) -> None:
    broken = curve(quick.settings[1], 1.0)
    broken.runs[0][2:] = [{"epoch": 2, "train_loss": None, "test_accuracy": None, "diverged": True}]
    hopeless = protocol.Curve(quick.settings[2], [protocol.GridPoint(1.0, [None])], None, [])
    mixed = protocol.Result(result.problem, [result.curves[0], broken, hopeless], [], result.curves[0])
    drawn = lines(figures.draw_figure2([mixed]), 0)
    assert list(drawn) == ["INNA (0.1, 0.1)", "INNA (0.5, 0.1)"]
    assert np.isnan(drawn["INNA (0.5, 0.1)"].get_ydata()[2:]).all()
    table = {row["label"]: row for row in report.rows(mixed)}
    assert table["INNA (0.5, 0.1)"]["diverged"] == 1
    assert table["INNA (0.5, 0.5)"]["lr"] is None


def test_drawing_leaves_the_users_settings_alone(result: protocol.Result, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    figures.save(figures.draw_figure2([result]), tmp_path, "figure2")
    assert dict(mpl.rcParams) == before


class Reader(HTMLParser):
    """Collects what a page would load from elsewhere, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_needs_nothing_else_says_what_it_is_and_escapes(
    quick: plan.Plan, result: protocol.Result, tmp_path: Path
) -> None:
    hostile = quick.model_copy(update={"description": "<script>alert(1)</script>"})
    _, svg = figures.save(figures.draw_figure3([result]), tmp_path, "figure3")
    report.write(tmp_path, hostile, [result], {"Figure 3": svg})
    page = (tmp_path / "report.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert "<script" not in page
    assert reader.loads
    assert all(load.startswith("data:image/svg+xml;base64,") for load in reader.loads)
    text = re.sub(r"\s+", " ", reader.text)
    for fact in ("The quick preset", "mnist5k", "first 2,000 training images", "lenet5", "12 epochs", "∞"):
        assert fact in text


def test_findings_come_from_the_records(result: protocol.Result) -> None:
    said = report.findings(result)
    assert said[0] == "The lowest mean training loss is that of INNA (0.1, 0.1), k^-1/4: 0.0750."
    assert any(
        s.startswith("INNA (0.1, 0.1) is ahead of SGD in mean training loss (0.1500 against") for s in said
    )
    worse = protocol.Result(result.problem, result.curves, [], result.curves[-1])
    assert any(s.startswith("ADAM is behind SGD in mean training loss") for s in report.findings(worse))
