"""The theory's view of PyTorch: functions as oracles, and the energy of a training run."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inna import dynamics, schedules
from inna.nonsmooth import FiniteSum, ReluNetwork, is_clarke_critical, is_d_critical
from inna.torch import INNA, INNAprop, ModuleSum, energy, oracle
from test_torch_distributed import network, on_processes, sharded, train


def valley(theta: Tensor) -> Tensor:
    return 10 * (theta[1] - theta[0].abs()) ** 2 + (1 - theta[0]).abs()


def test_an_oracle_gives_what_autograd_gives_for_whole_batches():
    J = oracle(lambda p: p[0] ** 4 / 4 + p[0] * p[1] + p[1] ** 2)
    points = np.random.default_rng(0).normal(size=(5, 3, 2))
    x, y = points[..., 0], points[..., 1]
    np.testing.assert_allclose(J.objective(points), x**4 / 4 + x * y + y**2, rtol=1e-14)
    np.testing.assert_allclose(J.gradient(points), np.stack([x**3 + y, x + 2 * y], -1), rtol=1e-13)
    w = np.ones(2)
    expected = [3 * x[0, 0] ** 2 + 1, 3.0]
    np.testing.assert_allclose(J.hessian_times(points[0, 0], w), expected, rtol=1e-13)
    assert oracle(lambda p: p.abs().sum()).hessian_times(points[0, 0], w).tolist() == [0.0, 0.0]


def test_an_oracle_refuses_a_derivative_that_is_none_and_a_function_of_several_values():
    J = oracle(lambda p: torch.sqrt((p**2).sum()))
    np.testing.assert_allclose(J.gradient(np.array([3.0, 4.0])), [0.6, 0.8])
    for bad in (np.zeros(2), np.array([[1.0, 1.0], [0.0, 0.0]])):
        with pytest.raises(ValueError, match=r"gives \[nan, nan\] at \[0.0, 0.0\]"):
            J.gradient(bad)
        with pytest.raises(ValueError, match=r"gives \[nan, nan\] at \[0.0, 0.0\]"):
            J.hessian_times(bad, np.ones_like(bad))
    assert np.isnan(
        oracle(lambda p: p[0] ** 2).gradient(np.array([np.nan]))
    ).all()  # a path that diverged goes on
    vector = oracle(lambda p: p * 2)
    for call in (vector.objective, vector.gradient):
        for point in (np.ones(3), np.ones((2, 3))):
            with pytest.raises(ValueError, match=r"must give one number, got the shape \(3,\)"):
                call(point)
    assert oracle(lambda p: p[:1] ** 2).gradient(np.array([3.0, 1.0])).tolist() == [6.0, 0.0]


def test_a_function_of_pytorch_runs_through_the_dynamics():
    J = oracle(lambda p: p @ p / 2 + torch.cos(p[0]))
    din = dynamics.DIN(J.gradient, 0.5, 0.3, J.objective)
    times = np.linspace(0, 5, 21)
    first, second = din.solve([1.0, 2.0], times), din.solve_second_order([1.0, 2.0], times, J.hessian_times)
    np.testing.assert_allclose(first.theta, second.theta, atol=1e-8)
    assert (np.diff(first.energy()) < 0).all()


@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("start", [1.0, None])
def test_the_energy_of_a_run_is_that_of_the_path_it_takes(start, penalty):
    J = oracle(lambda p: valley(p) + penalty / 2 * p @ p)
    din = dynamics.DIN(J.gradient, 0.5, 0.1, J.objective)
    path = din.euler([-1.0, 1.5], 0.01, 20, initial_speed=0.1 if start is None else start)
    theta = torch.tensor([-1.0, 1.5], dtype=torch.float64, requires_grad=True)
    optimizer = INNA([theta], lr=0.01, alpha=0.5, beta=0.1, initial_speed=start, weight_decay=penalty)
    seen = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = valley(theta)
        loss.backward()
        seen.append([energy(optimizer, loss), energy(optimizer, loss.item(), lam=0.7)])
        optimizer.step()
    expected = np.stack([path.energy(), path.energy(0.7)], -1)[:-1]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)


def test_the_energy_of_a_relu_network_falls_with_full_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    x = torch.randn(64, 4)
    y = x[:, :1].abs()
    optimizer = INNA(model.parameters(), lr=0.02, alpha=0.5, beta=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, schedules.power(0.25))
    seen = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        seen.append(energy(optimizer, loss))
        optimizer.step()
        schedule.step()
    assert max(np.diff(seen)) < 0
    assert seen[-1] < seen[0] / 2


def test_groups_share_an_energy_when_they_share_alpha_beta():
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    (a.sum() + 2 * b.sum()).backward()
    optimizer = INNA([{"params": [a]}, {"params": [b], "alpha": 0.25, "beta": 0.2}], alpha=0.5, beta=0.1)
    assert energy(optimizer, 6.0) == pytest.approx(2 * 1.05 * 6 + 2 * 0.9**2 + 2 * (2 * 0.8) ** 2)
    optimizer.param_groups[1]["beta"] = 0.4
    with pytest.raises(ValueError, match=r"alpha beta = 0.05, 0.1 and no E in common: give a lam"):
        energy(optimizer, 6.0)
    assert energy(optimizer, 6.0, lam=1.0) == pytest.approx(6 + 0.9**2 + (2 * 0.6) ** 2)


def test_maximizing_turns_the_landscape_over():
    theta = torch.tensor([2.0, 0.0, 1j], dtype=torch.complex64, requires_grad=True)
    theta.abs().square().sum().neg().backward()
    climbing = INNA([theta], maximize=True)
    before = energy(climbing, -5.0)
    assert before == pytest.approx(2 * 1.05 * 5 + 0.81 * 4 * 5)
    climbing.step()
    assert energy(climbing, -float(theta.detach().abs().square().sum())) < before


def test_an_energy_that_does_not_exist_is_refused():
    theta = torch.ones(1, requires_grad=True)
    for optimizer in (INNAprop([theta]), torch.optim.SGD([theta])):
        with pytest.raises(TypeError, match=f"INNA, got {type(optimizer).__name__}"):
            energy(optimizer, 1.0)
    mixed = INNA([{"params": [theta]}, {"params": [torch.ones(1)], "maximize": True}])
    with pytest.raises(ValueError, match="some groups maximize"):
        energy(mixed, 1.0)


def test_the_energy_of_the_authors_checkpoint_is_known_before_the_next_step():
    theta = torch.tensor([1.0], requires_grad=True)
    ours = INNA([theta], lr=0.1)
    theta.square().sum().backward()
    ours.step()
    theirs = ours.state_dict()
    state = theirs["state"][0]
    theirs["state"][0] = {"psi": ours.phase(theta).clone(), "step": state["step"]}
    loaded = INNA([theta], lr=0.1)
    loaded.load_state_dict(theirs)
    assert energy(loaded, 1.0) == pytest.approx(energy(ours, 1.0), rel=1e-5)


def sharded_energy(expected: float) -> None:
    model = sharded()
    optimizer = INNA(model.parameters(), weight_decay=0.1)
    train(model, optimizer, 0, 3)
    assert energy(optimizer, 1.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")
def test_every_process_of_a_sharded_run_knows_the_whole_energy():
    model = network()
    optimizer = INNA(model.parameters(), weight_decay=0.1)
    train(model, optimizer, 0, 3)
    on_processes(sharded_energy, energy(optimizer, 1.0))


# D and Clarke's set of modules.


def half_squares(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).sum() / 2


def same_support(a, b, size):
    directions = np.random.default_rng(0).normal(size=(60, size))
    np.testing.assert_allclose(
        [a.support(w) for w in directions], [b.support(w) for w in directions], atol=1e-9
    )


def test_a_module_of_one_layer_has_the_sets_of_a_relu_network():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 1))
    w = rng.normal(size=(3, 2))
    w[0] -= w[0] @ x[1] / (x[1] @ x[1]) * x[1]
    w[1] = 0  # kinked for all four samples: the two sets differ
    theta = np.r_[w.ravel(), rng.normal(size=3)]
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    J, ours = ReluNetwork(x, y, 3), ModuleSum(net, half_squares, torch.tensor(x), torch.tensor(y))
    assert ours(theta) == pytest.approx(J(theta))
    assert ours.method(theta) == "closed form"
    D, clarke = ours.D(theta, 1e-9), ours.clarke(theta, 1e-9)
    assert D.exact
    assert clarke.exact
    same_support(D, J.D(theta, 1e-9), 9)
    same_support(clarke, J.clarke(theta, 1e-9), 9)
    assert D.contains(ours.gradient(theta))
    np.testing.assert_allclose(ours.gradient(theta, [0, 2]), J.gradient(theta, [0, 2]))


def test_a_deep_module_with_leaky_units_has_the_sets_of_its_program():
    net = nn.Sequential(
        nn.Linear(1, 2), nn.LeakyReLU(0.1), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1), nn.Tanh()
    )
    x = torch.tensor([[1.0], [-1.0]])
    y = torch.tensor([[0.5], [-2.0]])
    J = ModuleSum(net, half_squares, x, y)
    w1, b1, w2, b2 = [1.0, -1.0], [-1.0, 2.0], [[1.0, 1.0], [2.0, -1.0]], [-1.0, 0.5]
    theta = np.r_[
        w1, b1, np.ravel(w2), b2, [1.0, -2.0], 0.3
    ]  # at x = 1 a leaky unit and one above it are kinked

    def term(p, x, y):
        h = p[0:2] * x + p[2:4]
        h = np.where(h > 0, h, 0.1 * h)
        g = np.maximum(p[4:8].reshape(2, 2) @ h + p[8:10], 0)
        return (np.tanh(p[10:12] @ g + p[12]) - y) ** 2 / 2

    program = FiniteSum.over([(1.0, 0.5), (-1.0, -2.0)], term)
    assert J(theta) == pytest.approx(program(theta))
    assert J.method(theta) == "closed form"
    for ours, theirs in ((J.D(theta), program.D(theta)), (J.clarke(theta), program.clarke(theta))):
        assert ours.exact
        assert theirs.exact
        assert len(ours.hulls[0]) == 3  # where the upper unit is off, the lower makes no difference
        same_support(ours, theirs, 13)


def test_kinks_that_first_order_does_not_part_are_enclosed():
    net = nn.Sequential(
        nn.Linear(2, 2, bias=False),
        nn.ReLU(),
        nn.Linear(2, 2, bias=False),
        nn.ReLU(),
        nn.Linear(2, 1, bias=False),
    )
    J = ModuleSum(net, half_squares, torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([[1.0], [-1.0]]))
    theta = np.array([1.0, 0, 1, 0, 0, 0, 0, 0, 1, 1])
    gradient = np.r_[np.zeros(4), 1, 1, 0, 0, 0, 0]  # occurs arbitrarily near
    D, clarke = J.D(theta), J.clarke(theta)
    assert D.exact
    assert D.contains(gradient)
    assert not clarke.exact
    assert clarke.outer.contains(gradient)
    assert is_d_critical(J, theta)
    assert is_clarke_critical(J, theta)


def test_where_a_module_has_other_kinks_its_gradients_are_sampled_and_that_is_said():
    net = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.MaxPool1d(2), nn.Flatten())
    J = ModuleSum(net, half_squares, torch.tensor([[[1.0, -1.0]]]), torch.tensor([[1.0]]))
    assert "sampled: max_pool1d" in J.method([0.0])
    D = J.D([0.0])
    assert not D.exact
    np.testing.assert_allclose(D.bounds(), [[-1], [1]], atol=1e-6)  # the maximum is |w|
    with pytest.raises(ValueError, match="1 finite numbers"):
        J.D([np.nan])
    many = nn.Sequential(nn.Linear(1, 13, bias=False), nn.ReLU(), nn.Linear(13, 1, bias=False))
    J = ModuleSum(many, half_squares, torch.ones(1, 1), torch.ones(1, 1))
    assert J.method(np.zeros(26)) == "sampled: 13 kinks meet, more than 12"
