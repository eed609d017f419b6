"""The paper's misprints: each test fails on what is printed. docs/errata.md names them one by one."""

import ast
import importlib
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inna import dynamics, reference

Array = NDArray[np.float64]
CHECKOUT = Path(__file__).resolve().parents[1]
SETTINGS = [(0.5, 0.1), (1.0, 1.0), (0.3, 2.0)]
each_setting = pytest.mark.parametrize(("alpha", "beta"), SETTINGS)


def well(alpha: float, beta: float) -> dynamics.DIN:
    """A double well in one variable and a bowl in the other."""

    def gradient(p: Array) -> Array:
        return np.stack([p[..., 0] ** 3 - p[..., 0], p[..., 1]], -1)

    return dynamics.DIN(gradient, alpha, beta, lambda p: (p[..., 0] ** 2 - 1) ** 2 / 4 + p[..., 1] ** 2 / 2)


def slopes(values: Array, h: float) -> Array:
    """The derivatives in the middle of groups of five values, h apart."""
    return np.asarray(values.reshape(-1, 5) @ np.array([1, -8, 0, 8, -1]) / (12 * h))


def along(system: dynamics.DIN, h: float = 1e-3) -> dynamics.Trajectory:
    """A trajectory at groups of five times, h apart."""
    times = (np.linspace(0.2, 4, 20)[:, None] + h * np.arange(-2, 3)).ravel()
    path = system.solve([0.1, 1.0], np.concatenate([[0.0], times]))
    return dynamics.Trajectory(system, path.t[1:], path.theta[1:], path.u[1:])


@each_setting
def test_the_gradient_is_psi_minus_theta_over_beta(alpha: float, beta: float) -> None:
    path, h = along(well(alpha, beta)), 1e-3
    velocity, psi_dot = (np.stack([slopes(x, h) for x in points.T], -1) for points in (path.theta, path.psi))
    v = path.system.gradient(path.theta[2::5])
    np.testing.assert_allclose((psi_dot - velocity) / beta, v, atol=1e-7)
    for printed in (velocity - beta * psi_dot, (velocity - psi_dot) / beta):  # the lemma's; its proof's
        assert np.abs(printed - v).max() > 0.5


@each_setting
@pytest.mark.parametrize("lam", [0.0, 1.0, 3.0])
def test_the_lines_between_19_and_20(alpha: float, beta: float, lam: float) -> None:
    path, h = along(well(alpha, beta)), 1e-3
    velocity, psi_dot = path.velocity[2::5], -path.u[2::5]
    measured = slopes(path.energy(lam), h)
    friction = alpha * np.square(velocity).sum(-1) + np.square(velocity - psi_dot).sum(-1) / beta

    def with_gradient(v: Array) -> Array:
        return np.asarray(-friction + (lam - alpha * beta - 1) * (velocity * v).sum(-1))

    corrected, printed = (
        with_gradient((psi_dot - velocity) / beta),
        with_gradient((velocity - psi_dot) / beta),
    )
    assert (np.abs(measured - corrected) <= 1e-6 * friction).all()
    assert (np.abs(measured - printed) / friction).max() > 0.2 * abs(lam - alpha * beta - 1)
    v = (psi_dot - velocity) / beta  # the first of the two lines
    first = lam * (velocity * v).sum(-1) - (alpha - 1 / beta) * (velocity * psi_dot).sum(-1)
    first -= np.square(psi_dot).sum(-1) / beta
    assert (np.abs(measured - first) <= 1e-6 * friction).all()


@each_setting
def test_the_squares_of_lemma_3_5_and_20(alpha: float, beta: float) -> None:
    path, h = along(well(alpha, beta)), 1e-3
    velocity, psi_dot = path.velocity[2::5], -path.u[2::5]
    scale = alpha * np.square(velocity).sum(-1) + np.square(velocity - psi_dot).sum(-1) / beta
    with_minus, with_plus = (
        -np.square(np.sqrt(alpha) * velocity + sign * (psi_dot - velocity) / np.sqrt(beta)).sum(-1)
        for sign in (-1, 1)
    )
    low, high = (slopes(path.energy(lam), h) for lam in dynamics.lambda_range(alpha, beta))
    assert (np.abs(low - with_plus) <= 1e-6 * scale).all()
    assert (np.abs(high - with_minus) <= 1e-6 * scale).all()
    assert (np.abs(low - with_minus) / scale).max() > 0.2  # as printed
    assert (np.abs(high - with_plus) / scale).max() > 0.2
    np.testing.assert_allclose(with_minus + with_plus, -2 * scale, rtol=1e-9)  # (31) is right as printed


# (12) to (13): mini-batches of a fixed size.

MEDIANS = np.array([0.0, 1.0, 2.0, 5.0, 9.0])


def one_term(rng: np.random.Generator) -> dynamics.DIN:
    """INNA on the sum of |theta - y_n|, one term a step: |B| = 1, N = 5."""
    return dynamics.DIN(lambda x: np.sign(x - MEDIANS[rng.integers(5)]))


def test_the_mean_over_mini_batches_is_a_share_of_the_gradient() -> None:
    theta = 3.3
    whole = np.sign(theta - MEDIANS).sum()
    for size in (1, 2, 4):
        batches = [list(batch) for batch in itertools.combinations(range(5), size)]
        mean = np.mean([np.sign(theta - MEDIANS[batch]).sum() for batch in batches])
        assert mean == pytest.approx(size / 5 * whole)
        assert mean != pytest.approx(whole)  # v_k = w_k + noise of mean zero, w_k in DJ: as printed


def test_the_runs_follow_the_share_of_the_system_and_not_the_system() -> None:
    whole = dynamics.DIN(lambda x: np.sign(x - MEDIANS).sum(-1, keepdims=True))
    share = dynamics.DIN(lambda x: np.sign(x - MEDIANS).mean(-1, keepdims=True))
    gaps = np.zeros((2, 4))
    for seed in range(4):
        run = one_term(np.random.default_rng(seed)).euler(
            [12.0], 0.2, 6000, schedule=lambda k: (k + 1) ** -0.5, initial_speed=0.1
        )
        for row, system in enumerate((share, whole)):
            windows = [dynamics.shadow_distance(run, system, t, 3.0, lr=4e-3) for t in (2, 4, 6)]
            gaps[row, seed] = np.mean(windows)
    assert (3 * gaps[0] < gaps[1]).all(), gaps


def test_the_inequality_of_lemma_4_1_is_with_the_value_on_k() -> None:
    """L = x^2 - y^2, K = {0}. (22) has L(v-bar), which is nowhere said to be L*: elsewhere it fails."""
    rho, a = 1.01, 0.5
    x = np.geomspace(1e-6, 1e-1, 50)
    gap, slope = x**2, 2 * x
    assert (rho * (1 - a) * gap**-a * slope > 1).all()
    elsewhere = gap + 0.1**2  # the value at v-bar = (0, .1), near K too
    assert (rho * (1 - a) * elsewhere**-a * slope).min() < 1e-4


@each_setting
def test_at_the_ends_of_lambda_the_inequality_of_the_proof_is_an_equality(alpha: float, beta: float) -> None:
    for lam in dynamics.lambda_range(alpha, beta):
        assert beta - (alpha * beta + 1 - lam) ** 2 / (4 * alpha) == pytest.approx(0, abs=1e-12)
        sign = 1 if lam < 1 + alpha * beta else -1
        v = np.array([1.0])
        velocity = -sign * np.sqrt(beta / alpha) * v  # the system moves, and this energy stands still
        assert dynamics.energy_rate(velocity, v, alpha, beta, lam) == pytest.approx(0, abs=1e-12)
        assert dynamics.energy_rate(velocity, v, alpha, beta) < -0.1  # E itself falls


@each_setting
def test_the_energy_at_rest(alpha: float, beta: float) -> None:
    system = well(alpha, beta)
    assert system.objective is not None
    theta = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    u = reference.momentum_from_psi(theta, system.rest_phase(theta), alpha=alpha, beta=beta)
    height = system.objective(theta)
    energy = dynamics.energy(height, u, alpha, beta)
    np.testing.assert_allclose(energy, 2 * (1 + alpha * beta) * height, atol=1e-12)
    assert np.abs(energy - height).max() > 0.25  # "E = J on S"


@pytest.mark.parametrize("c", [1.2, 1.5])
@pytest.mark.parametrize("beta", [2.0, 3.0])
def test_the_exponent_of_the_energy_of_a_sharp_minimum(c: float, beta: float) -> None:
    alpha = 0.5
    system = dynamics.DIN(
        lambda p: c * np.abs(p) ** (c - 1) * np.sign(p), alpha, beta, lambda p: (np.abs(p) ** c).sum(-1)
    )
    path = system.solve([1.0], np.linspace(0, 16 * beta, 401), method="Radau", rtol=1e-8, atol=1e-60)
    values = path.energy()
    gradients = dynamics.energy_gradient(system.gradient(path.theta), path.u, alpha, beta)
    motion = np.concatenate([path.velocity, -path.u], -1)
    exponent = dynamics.descent(values, gradients, motion).exponent
    assert exponent == pytest.approx(dynamics.kl_exponent(c), abs=1e-3)
    assert abs(exponent - (1 - 1 / c)) > 0.15  # as printed
    assert dynamics.measured_rate(path.t, values, tail=(0.8, 1.0)) == pytest.approx(-2 / beta, rel=1e-3)


def test_alpha_beta_1_is_no_gradient_system() -> None:
    matrix = dynamics.linearisation(curvature=4.0, alpha=2.0, beta=0.5)  # alpha beta = 1, curvature 1/beta^2
    eigenvalues, eigenvectors = np.linalg.eig(matrix)
    np.testing.assert_allclose(eigenvalues, -2)
    assert abs(np.linalg.det(eigenvectors)) < 1e-7  # a gradient system has a basis of eigenvectors
    with pytest.raises(ValueError, match="alpha beta > 1 only, got 1"):
        dynamics.potential(0.0, np.zeros(1), np.zeros(1), alpha=2.0, beta=0.5)
    _, eigenvectors = np.linalg.eig(dynamics.linearisation(4.0, 2.1, 0.5))
    assert abs(np.linalg.det(eigenvectors)) > 0.1


def test_pytorch_does_not_return_a_clarke_subgradient_of_x() -> None:
    x = torch.zeros((), requires_grad=True)
    (slope,) = torch.autograd.grad(torch.relu(x) - torch.relu(-x), x)
    assert slope.item() == 0  # one term J_1(x) = x: the Clarke set and D are {1}


def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", ["errata.md", "theory.md"])
def test_what_the_documents_name_exists(name: str) -> None:
    text = (CHECKOUT / "docs" / name).read_text()
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", text)
    missing = [f"{file}::{test}" for file, test in named if test not in functions_of(CHECKOUT / file)]
    assert missing == []
    functions = re.findall(r"`(inna(?:\.\w+)+)", text)
    for function in set(functions):
        parts = function.split(".")
        found = importlib.import_module(".".join(parts[:2]))
        for part in parts[2:]:
            assert hasattr(found, part), function
            found = getattr(found, part)
    pictures = re.findall(r"\]\(([\w-]+\.(?:png|md))\)", text)
    assert [picture for picture in pictures if not (CHECKOUT / "docs" / picture).is_file()] == []
    assert len(named) + len(functions) >= 10


def test_the_code_in_the_theory_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "theory.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})


def test_every_numbered_statement_has_a_row() -> None:
    text = (CHECKOUT / "docs" / "theory.md").read_text()
    table = text[text.index("## Every numbered statement") : text.index("## Bibliography")]
    first = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| ")]
    equations: set[int] = set()
    for cell in first:
        for low, high in re.findall(r"\((\d+)\)(?: to \((\d+)\))?", cell):
            equations |= set(range(int(low), int(high or low) + 1))
    assert equations >= set(range(1, 36))
    named = [f"Definition {n}" for n in (1, 2, 3)] + ["Assumption 1", "Theorem 3.1", "Remark 1"]
    named += [f"Lemma {n}" for n in ("3.2", "3.3", "3.4", "3.5", "3.6", "4.1")]
    named += ["Theorem 4.2", "Theorem 4.3", "Table 1", "Figure 1", *(f"Remark 2({x})" for x in "abcd")]
    named += [f"footnote {n}" for n in range(1, 6)]
    assert [name for name in named if not any(name in cell for cell in first)] == []
    assert all(row.split(" | ")[2].strip(" |") for row in table.splitlines() if row.startswith("| "))


def test_every_erratum_names_its_test() -> None:
    rows = [
        line
        for line in (CHECKOUT / "docs" / "errata.md").read_text().splitlines()
        if re.match(r"\| \d", line)
    ]
    assert len(rows) >= 8
    assert [row for row in rows if "`tests/" not in row] == []
