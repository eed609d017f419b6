"""Checkpoints: the authors' own optimizers', resumed runs, and states wider than their parameters."""

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from inna import reference
from inna.torch import INNA, INNAprop
from torch_settings import BOTH, CASES, IMPLEMENTATIONS

each_implementation = pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)


class AuthorsRun:
    """The authors' recursion, and the checkpoint that their file would write after 20 of 60 steps."""

    def __init__(self, adaptive: bool, **group: Any) -> None:
        self.vs = torch.randn(60, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        options = {"lr": 0.05, "alpha": 0.5, "beta": 0.2}
        theta, s = np.linspace(-1, 1, 5), np.zeros(5)
        psi = (1 - 0.5 * 0.2) * theta
        for k, v in enumerate(self.vs.numpy()):
            if k == 20:
                self.weights = torch.tensor(theta)
                state = {"step": k, "psi": torch.tensor(psi)}
                if adaptive:
                    state |= {"step": torch.tensor([float(k)]), "exp_avg_sq": torch.tensor(s)}
            if adaptive:
                more = {"sigma": 0.999, "eps": 1e-8}
                theta, psi, s = reference.innaprop_step(theta, psi, s, v, k, **options, **more)
            else:
                theta, psi = reference.inna_step(theta, psi, v, **options)
        self.end = torch.tensor(theta)
        extra = {"sigma": 0.999, "eps": 1e-8, "weight_decay": 0.0} if adaptive else {"decaypower": 0.0}
        groups = [{**options, **extra, **group, "params": [0]}]
        self.checkpoint = {"state": {0: state}, "param_groups": groups}


@each_implementation
@pytest.mark.parametrize("weights_first", [True, False])
@pytest.mark.parametrize("cls", [INNA, INNAprop])
def test_the_authors_checkpoint_continues_its_trajectory(cls, weights_first, flags):
    run = AuthorsRun(cls is INNAprop)
    param = torch.zeros(5, dtype=torch.float64)
    optimizer = cls([param])
    if weights_first:
        param.copy_(run.weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.load_state_dict(run.checkpoint)
    if not weights_first:
        param.copy_(run.weights)
    optimizer.param_groups[0].update(flags)
    for v in run.vs[20:]:
        param.grad = v.clone()
        optimizer.step()
    assert float((param - run.end).norm() / run.end.norm()) < 1e-12
    assert "psi" not in optimizer.state[param]


@pytest.mark.parametrize("lr", [0.0, torch.tensor(0.0)])
def test_a_dummy_step_does_not_convert_psi(lr):
    run = AuthorsRun(False)
    param = torch.zeros(5, dtype=torch.float64)
    optimizer = INNA([param])
    optimizer.load_state_dict(run.checkpoint)
    optimizer.param_groups[0].update(lr=lr, capturable=isinstance(lr, torch.Tensor))
    param.grad = torch.ones_like(param)
    optimizer.step()
    param.copy_(run.weights)
    optimizer.param_groups[0]["lr"] = 0.05
    for v in run.vs[20:]:
        param.grad = v.clone()
        optimizer.step()
    assert float((param - run.end).norm() / run.end.norm()) < 1e-12


@pytest.mark.parametrize(
    ("adaptive", "group", "words"),
    [
        (False, {"decaypower": 0.5}, r"LambdaLR\(optimizer, lambda k: \(20 \+ k \+ 1\) \*\* -0.5\)"),
        (True, {"weight_decay": 0.1}, "weight_decay = 0.1 also acts through psi"),
    ],
)
def test_one_warning_says_what_the_authors_do_differently(adaptive, group, words):
    optimizer = (INNAprop if adaptive else INNA)([torch.zeros(5, dtype=torch.float64)])
    with pytest.warns(UserWarning, match=words) as caught:
        optimizer.load_state_dict(AuthorsRun(adaptive, **group).checkpoint)
    assert len(caught) == 1


def test_psi_at_beta_zero_is_an_error_that_says_what_to_do():
    param = torch.zeros(5, dtype=torch.float64)
    param.grad = torch.ones_like(param)
    optimizer = INNA([param])
    optimizer.load_state_dict(AuthorsRun(False).checkpoint)
    optimizer.param_groups[0]["beta"] = 0.0
    with pytest.raises(ValueError, match="gives no momentum at beta = 0: do one step"):
        optimizer.step()


def test_a_loaded_authors_parameter_that_never_stepped_starts_without_momentum():
    param = torch.zeros(1)
    optimizer = INNA([param])
    groups = [{"lr": 0.1, "alpha": 0.5, "beta": 0.2, "decaypower": 0.0, "params": [0]}]
    optimizer.load_state_dict({"state": {0: {"step": 0}}, "param_groups": groups})
    param.grad = torch.ones(1)
    optimizer.step()
    assert param.item() == pytest.approx(-0.1 * 0.2)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for k in range(first, last):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(k))
        optimizer.zero_grad()
        model(x.to(next(model.parameters()).dtype)).square().mean().backward()
        optimizer.step()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))


@pytest.mark.parametrize("case", CASES, ids=str)
@each_implementation
def test_a_resumed_run_ends_with_the_same_bits(case, flags, tmp_path):
    straight, broken, resumed = network(), network(), network()
    train(straight, case(straight.parameters(), **flags), 0, 20)
    optimizer = case(broken.parameters(), **flags)
    train(broken, optimizer, 0, 10)
    torch.save({"model": broken.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "run.pt")
    loaded = torch.load(tmp_path / "run.pt", weights_only=True)
    optimizer = case(resumed.parameters(), **flags)
    optimizer.load_state_dict(loaded["optimizer"])
    resumed.load_state_dict(loaded["model"])
    train(resumed, optimizer, 10, 20)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("case", BOTH, ids=str)
@pytest.mark.parametrize("how", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_like_its_original(case, how):
    model = network()
    optimizer = case(model.parameters(), fused=True)
    train(model, optimizer, 0, 5)
    twin, twin_optimizer = how((model, optimizer))
    train(model, optimizer, 5, 10)
    train(twin, twin_optimizer, 5, 10)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("case", BOTH, ids=str)
def test_a_float32_state_of_bfloat16_parameters_survives_loading_unrounded(case):
    model = network().bfloat16()
    optimizer = case(model.parameters(), state_dtype=torch.float32)
    train(model, optimizer, 0, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    other = case(model.parameters(), state_dtype=torch.float32)
    other.load_state_dict(saved)
    for p in model.parameters():
        u = optimizer.state[p]["momentum_buffer"]
        assert u.dtype == torch.float32
        assert not torch.equal(u, u.bfloat16().float())
        torch.testing.assert_close(dict(other.state[p]), dict(optimizer.state[p]), rtol=0, atol=0)


def test_flags_may_change_between_steps():
    """A run may go on with another implementation: the state is the same."""
    straight, changing = network().double(), network().double()
    train(straight, INNA(straight.parameters(), lr=0.05), 0, 12)
    optimizer = INNA(changing.parameters(), lr=0.05)
    for k, flags in enumerate([{}, {"foreach": True}, {"foreach": None, "fused": True}, {"fused": None}]):
        optimizer.param_groups[0].update(flags)
        train(changing, optimizer, 3 * k, 3 * k + 3)
    for a, b in zip(straight.parameters(), changing.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)
