"""The projection on a ball: the constrained minimum is reached, and the energy falls all the way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inna.dynamics import DIN, Ball, energy
from inna.reference import psi_from_momentum

Array = NDArray[np.float64]
WEIGHTS = np.array([1.0, 4.0])
# The free minimum, alpha, beta, psi_0 (None: u_0 = 0), gamma, steps, the minimum on the ball of radius 1.5.
CASES: dict[str, tuple[Any, ...]] = {
    "on the wall": (
        (3.0, 1.0),
        0.5,
        0.1,
        None,
        0.005,
        40_000,
        (1.2973306770537711, 0.7529496094528528),
    ),
    "inside": ((1.2, 0.7), 3.0, 1.0, (-1.0, 0.5), 0.002, 100_000, (1.2, 0.7)),
}


def system(minimum: tuple[float, float], alpha: Any, beta: Any) -> DIN:
    return DIN(
        lambda p: (p - minimum) * WEIGHTS,
        alpha,
        beta,
        lambda p: np.asarray(((p - minimum) ** 2 * WEIGHTS).sum(-1) / 2),
    )


@pytest.mark.parametrize("name", CASES)
def test_the_constrained_minimum_is_reached_and_the_energy_never_rises(name: str) -> None:
    minimum, alpha, beta, psi, lr, steps, end = CASES[name]
    psi = None if psi is None else np.array(psi)
    path = system(minimum, alpha, beta).euler(
        [-1.0, 0.5], lr, steps, psi=psi, initial_speed=beta, ball=Ball(1.5)
    )
    np.testing.assert_allclose(path.theta[-1], end, rtol=0, atol=1e-8)
    assert np.diff(path.energy()).max() <= 1e-12
    assert np.linalg.norm(path.theta, axis=-1).max() <= 1.5 * (1 + 1e-15)


def test_the_end_on_the_wall_is_the_minimum_on_the_ball() -> None:
    *_, end = CASES["on the wall"]
    angle = np.linspace(0, 2 * np.pi, 1_000_001)
    circle = 1.5 * np.stack([np.cos(angle), np.sin(angle)], -1)
    best = (((circle - CASES["on the wall"][0]) ** 2) * WEIGHTS).sum(-1).argmin()
    np.testing.assert_allclose(circle[best], end, atol=1e-5)


def test_with_the_momentum_left_alone_the_energy_would_rise() -> None:
    minimum, alpha, beta, _, lr, *_ = CASES["on the wall"]
    x, u = np.array([-1.0, 0.5]), np.zeros(2)
    energies = []
    for _ in range(4000):
        v = (x - minimum) * WEIGHTS
        value = (((x - minimum) ** 2) * WEIGHTS).sum() / 2
        energies.append(float(energy(value, u, alpha, beta)))
        x, u = x - lr * (u + beta * v), (1 - alpha * lr) * u + lr * (1 - alpha * beta) * v
        Ball(1.5).project(x)
    assert np.diff(energies).max() > 1e-3


def test_psi_is_left_alone_around_any_centre_and_for_a_whole_batch() -> None:
    alpha, beta = np.array([0.5, 2.0, 1.0]), np.array([0.1, 1.0, 3.0])
    rng = np.random.default_rng(0)
    starts, centre = rng.normal(size=(3, 2)), np.array([1.0, -2.0])
    free = system((5.0, 5.0), alpha, beta).euler(starts, 0.1, 1)
    held = system((5.0, 5.0), alpha, beta).euler(starts, 0.1, 1, ball=Ball(0.3, centre))
    np.testing.assert_allclose(held.psi[-1], free.psi[-1], atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(held.theta[-1] - centre, axis=-1), 0.3)


@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan, np.inf])
def test_a_bad_radius_is_named(radius: float) -> None:
    with pytest.raises(ValueError, match=f"radius must be positive and finite, got {radius}"):
        Ball(radius)


def test_without_newtonian_damping_there_is_no_psi_to_keep() -> None:
    with pytest.raises(ValueError, match="beta > 0"):
        DIN(lambda p: p, 0.5, 0.0).euler([1.0], 0.1, 1, ball=Ball(1.0))


class TestTorch:
    @pytest.fixture
    def torch(self) -> Any:
        return pytest.importorskip("torch")

    @pytest.mark.parametrize("name", CASES)
    def test_the_optimizer_goes_where_the_theory_does(self, torch: Any, name: str) -> None:
        from inna.torch import INNA, project_on_ball

        minimum, alpha, beta, psi, lr, *_ = CASES[name]
        steps = 3000
        theta = torch.tensor([-1.0, 0.5], dtype=torch.float64, requires_grad=True)
        optimizer = INNA([theta], lr=lr, alpha=alpha, beta=beta, initial_speed=beta)
        if psi is not None:  # as a checkpoint of the authors' optimizer has it
            saved = optimizer.state_dict()
            saved["state"] = {0: {"psi": torch.tensor(psi, dtype=torch.float64)}}
            optimizer.load_state_dict(saved)
        project_on_ball(optimizer, 1.5)
        energies = []
        for _ in range(steps):
            theta.grad = torch.from_numpy((theta.detach().numpy() - minimum) * WEIGHTS)
            optimizer.step()
            x, u = theta.detach().numpy(), optimizer.state[theta]["momentum_buffer"].numpy()
            energies.append(float(energy(((x - minimum) ** 2 * WEIGHTS).sum() / 2, u, alpha, beta)))
        path = system(minimum, alpha, beta).euler(
            [-1.0, 0.5],
            lr,
            steps,
            psi=None if psi is None else np.array(psi),
            initial_speed=beta,
            ball=Ball(1.5),
        )
        np.testing.assert_allclose(theta.detach(), path.theta[-1], atol=1e-12)
        np.testing.assert_allclose(energies, path.energy()[1:], atol=1e-12)
        assert np.diff(energies).max() <= 1e-12

    def test_psi_stays_in_every_group_and_the_handle_ends_it(self, torch: Any) -> None:
        from inna.torch import INNA, project_on_ball

        def stepped(radius: float | None) -> tuple[Any, list[Any]]:
            torch.manual_seed(0)
            params = [torch.randn(3, requires_grad=True), torch.randn(2, 2, requires_grad=True)]
            groups = [{"params": params[:1], "alpha": 2.0}, {"params": params[1:], "beta": 0.7}]
            optimizer = INNA(groups, lr=0.1)
            handle = project_on_ball(optimizer, radius) if radius else None
            for p in params:
                p.grad = torch.ones_like(p)
            optimizer.step()
            phases = [optimizer.phase(p) for p in params]
            if handle:
                handle.remove()
            return params, phases

        params, phases = stepped(0.5)
        assert torch.cat([p.detach().flatten() for p in params]).norm().item() == pytest.approx(0.5)
        for held, free in zip(phases, stepped(None)[1], strict=True):
            torch.testing.assert_close(held, free)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda project, make: project(make(0.1), -1.0), "radius must be positive and finite, got -1.0"),
            (lambda project, make: project(make(0.0), 1.0), "beta > 0"),
            (lambda project, make: project(make(0.1), 1.0, []), r"shapes \[\(3,\)\], got \[\]"),
        ],
    )
    def test_bad_arguments_are_named(self, torch: Any, call: Callable[..., Any], message: str) -> None:
        from inna.torch import INNA, project_on_ball

        with pytest.raises(ValueError, match=message):
            call(project_on_ball, lambda beta: INNA([torch.ones(3, requires_grad=True)], beta=beta))


def test_psi_is_what_the_projection_keeps() -> None:
    x, u = np.array([3.0, 4.0]), np.array([1.0, -1.0])
    before = psi_from_momentum(x, u, alpha=0.5, beta=0.1)
    u = u + (0.5 - 1 / 0.1) * Ball(1.0).project(x)
    np.testing.assert_allclose(psi_from_momentum(x, u, alpha=0.5, beta=0.1), before)
