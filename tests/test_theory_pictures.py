"""The pictures of the theory show what the theory says."""

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inna import hyperparameters
from inna.lab import style
from inna.lab.gallery import theory


@functools.cache
def drawn(name: str) -> Any:
    return theory.PICTURES[name]()


def line(ax: Any, label: str) -> Any:
    return next(line for line in ax.get_lines() if str(line.get_label()).startswith(label))


@pytest.mark.parametrize("name", theory.PICTURES)
def test_every_panel_names_itself_and_its_axes(name: str) -> None:
    for ax in drawn(name).axes:
        assert ax.get_title()
        assert ax.get_xlabel()
        assert ax.get_ylabel() or not ax.get_yticks().size


def test_trajectories_end_at_rest_and_turn_round_it_only_below_alpha_beta_1() -> None:
    turns = []
    for ax in drawn("theory_phases").axes:
        paths = [path.get_xydata() for path in ax.get_lines() if len(path.get_xdata()) > 1000]
        assert len(paths) == 6
        for path in paths:
            assert np.abs(path[-1] - [np.sign(path[-1, 0]), 0]).max() < 0.02
        late = [path[np.abs(path - path[-1]).max(-1) < 0.3] for path in paths]
        offsets = [path[:, 0] - np.sign(path[-1, 0]) for path in late]
        turns.append(max((np.diff(np.sign(x[np.abs(x) > 1e-6])) != 0).sum() for x in offsets))
    below, at, above = turns
    assert below >= 4
    assert at <= 1
    assert above <= 1


def test_the_measured_slopes_lie_on_the_corrected_formulas() -> None:
    for ax in drawn("theory_energies").axes[1:]:
        dots, corrected, printed = (line(ax, name) for name in ("measured", "corrected", "(20) as printed"))
        t, slopes = dots.get_xdata()[1:-1], dots.get_ydata()[1:-1]
        close, far = (
            np.abs(np.interp(t, curve.get_xdata(), curve.get_ydata()) - slopes)
            for curve in (corrected, printed)
        )
        assert close.max() < 0.01
        assert far.max() > 10


def test_the_power_laws_end_on_their_predictions() -> None:
    _, powers, sharp = drawn("theory_rates").axes
    for c in (3, 4, 6):
        curve = line(powers, f"J = |θ|$^{c}$")
        dashed = powers.get_lines()[powers.get_lines().index(curve) + 1]
        assert curve.get_ydata()[-1] == pytest.approx(dashed.get_ydata()[-1], rel=0.01)
    slope = np.diff(np.log(line(sharp, "predicted").get_ydata()))[-1]
    for power in (1.2, 1.5):
        assert np.diff(np.log(line(sharp, f"J = |θ|$^{{{power}}}$").get_ydata()))[-1] == pytest.approx(
            slope, rel=1e-3
        )


def regime(lr: float, alpha: float, beta: float, curvature: float) -> str:
    if hyperparameters.max_stable_lr(alpha, beta, curvature, smallest=curvature) <= lr:
        return "unstable"
    if hyperparameters.damping(alpha, beta, curvature) == "underdamped":
        return "oscillates (underdamped)"
    multipliers = hyperparameters.multipliers(lr, alpha, beta, curvature)
    return "a mode changes sign at every step" if min(m.real for m in multipliers) < 0 else "overdamped"


@pytest.mark.parametrize("curvature", [1.0, 100.0])
def test_the_map_of_regimes_is_that_of_the_hyperparameters(curvature: float) -> None:
    rng = np.random.default_rng(0)
    alpha, beta = 10 ** rng.uniform(-2, 1.5, 300), 10 ** rng.uniform(-3, 1.5, 300)
    indices, radius = theory.regimes(curvature, 0.05, alpha, beta)
    names = [theory.REGIMES[int(i)] for i in indices]
    assert names == [regime(0.05, a, b, curvature) for a, b in zip(alpha, beta, strict=True)]
    assert set(names) == set(theory.REGIMES)
    expected = [
        max(map(abs, hyperparameters.multipliers(0.05, a, b, curvature)))
        for a, b in zip(alpha, beta, strict=True)
    ]
    np.testing.assert_allclose(radius, expected)


def test_the_sets_of_the_criticality_example() -> None:
    graph, sets, paths = drawn("theory_criticality").axes
    bars = [bar.get_xdata() for bar in sets.get_lines() if bar.get_linewidth() == 9 and len(bar.get_xdata())]
    points = [p.get_xdata() for p in sets.get_lines() if p.get_marker() == "D" and len(p.get_xdata())]
    np.testing.assert_allclose(bars, [[-2, 2], [0, 2], [-2, 0]], atol=1e-6)
    np.testing.assert_allclose(points, [[0, 0], [1, 1], [-1, -1]], atol=1e-6)
    ends = [curve.get_ydata()[-1] for curve in paths.get_lines()]
    assert ends[0] == 0
    np.testing.assert_allclose(ends[1:], 1, atol=1e-3)
    assert line(graph, "minimum").get_xdata()[0] == 1


def test_the_inclusion_rests_on_the_kink_where_inna_chatters() -> None:
    motion, energies, valley = drawn("theory_inclusion").axes
    theta, wanted, v = (line(motion, name).get_ydata() for name in ("θ", "−u/β", "v in"))
    assert np.abs(v).max() <= 1
    resting = np.abs(theta) < 1e-12
    np.testing.assert_allclose(v[resting][:-1], wanted[resting][:-1], atol=1e-9)
    assert line(energies, "the inclusion").get_ydata()[-1] < 1e-16
    assert all(curve.get_ydata()[-100:].max() > 1e-5 for curve in energies.get_lines()[1:])
    np.testing.assert_allclose(line(valley, "the solution").get_xydata()[-1], [1, 1], atol=1e-3)


def test_what_is_promised_of_limits_is_found() -> None:
    near, saddle, damping = drawn("theory_limits").axes
    admissible, constant, summable = (path.get_ydata() for path in near.get_lines())
    assert admissible[-1] < constant[-1] / 3 < summable[-1] / 3
    predicted = line(saddle, "predicted").get_ydata()
    assert predicted[-1] == pytest.approx(0.1, rel=0.2)  # it starts on the typical run and ends there
    assert "100%" in str(saddle.get_lines()[-2].get_label())
    fixed, vanishing, bound = damping.get_lines()
    assert (vanishing.get_ydata() < bound.get_ydata()).all()
    assert vanishing.get_ydata()[-1] < fixed.get_ydata()[-1] / 100


def test_the_command_draws_them_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inna", "reproduce", "theory", "--out", str(tmp_path / "new")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    written = [Path(path) for path in done.stdout.splitlines()]
    assert [p.name for p in written] == [f"{n}.{end}" for n in theory.PICTURES for end in ("png", "svg")]
    assert all(p.stat().st_size > 10_000 for p in written)


def test_the_same_picture_is_the_same_file(tmp_path: Path) -> None:
    first, second = (
        style.save(theory.draw_d_criticality(), tmp_path, name)[1].read_bytes() for name in ("a", "b")
    )
    assert first == second
