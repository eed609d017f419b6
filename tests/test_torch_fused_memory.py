"""A fused step on a CPU writes to its own tensors only: what does not fit is refused whole."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fuzz_fused import fuzz
from inna.torch import INNA, INNAprop
from torch_settings import BOTH, IMPLEMENTATIONS, Case

each_case = pytest.mark.parametrize("case", BOTH, ids=str)


def stepped(case: Case, size: int = 3, **flags: Any) -> tuple[INNA, Tensor]:
    param = torch.ones(size)
    param.grad = torch.ones(size)
    optimizer = case([param], fused=True, **flags)
    optimizer.step()
    return optimizer, param


@each_case
@pytest.mark.parametrize("sizes", [(10, 100), (100, 10)], ids=str)
def test_the_state_of_another_network_is_refused(case, sizes):
    saved, model = nn.Linear(512, sizes[0]), nn.Linear(512, sizes[1])
    for p in (*saved.parameters(), *model.parameters()):
        p.grad = torch.ones_like(p)
    (source := case(saved.parameters(), fused=True)).step()
    optimizer = case(model.parameters(), fused=True)
    optimizer.load_state_dict(source.state_dict())
    before = [p.clone() for p in model.parameters()], copy.deepcopy(optimizer.state_dict()["state"])
    with pytest.raises(RuntimeError, match=rf"momentum_buffer of shape \[{sizes[0]}, 512\] does not belong"):
        optimizer.step()
    after = list(model.parameters()), optimizer.state_dict()["state"]
    torch.testing.assert_close(after, before, rtol=0, atol=0, check_device=False)


@each_case
def test_a_parameter_that_has_got_another_size_is_refused(case):
    optimizer, param = stepped(case)
    param.data, param.grad = torch.zeros(5000), None
    param.grad = torch.ones(5000)
    with pytest.raises(
        RuntimeError, match=r"of shape \[3\] does not belong to a parameter of shape \[5000\]"
    ):
        optimizer.step()
    assert not param.any()


def freed(tensor: Tensor) -> Tensor:
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(0)
    return tensor


DAMAGED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "shorter": (lambda t: t[:-1].clone(), "does not belong"),
    "of one value": (lambda t: t[:1].clone(), "does not belong"),
    "of another rank": (lambda t: t[None].clone(), "does not belong"),
    "wider": (lambda t: t.double(), "Double"),
    "narrower": (lambda t: t.half(), "Half"),
    "complex": (lambda t: t + 0j, "ComplexFloat"),
    "of integers": (lambda t: t.int(), "Int"),
    "one value for all": (lambda t: torch.ones(()).expand(3), "single memory location"),
    "sparse": (lambda t: t.to_sparse(), "layout Sparse"),
    "elsewhere": (lambda t: t.to("meta"), "on meta"),
    "without memory": (freed, "is gone"),
}


OTHER_DTYPES = {"wider", "narrower", "complex", "of integers"}
DAMAGES = [
    pytest.param(name, *damage, id=f"{name} {adjective}")
    for name in ("momentum_buffer", "exp_avg_sq", "compensation")
    for adjective, damage in DAMAGED.items()
    if name != "compensation" or adjective not in OTHER_DTYPES  # it follows the parameter
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_a_damaged_state_is_refused_and_nothing_has_changed(name, damage, message):
    optimizer, param = stepped(Case(INNAprop, {"kahan_sum": True}))
    state = optimizer.state[param]
    state[name] = damage(state[name])
    before = param.clone(), state["step"].clone()
    with pytest.raises(RuntimeError, match=message):
        optimizer.step()
    assert torch.equal(param, before[0])
    assert torch.equal(state["step"], before[1])


@each_case
@pytest.mark.parametrize(
    ("step", "message"),
    [
        (torch.ones(2), "step must be one number"),
        (torch.ones((), device="meta"), "step must lie on cpu, got meta"),
    ],
    ids=["two numbers", "elsewhere"],
)
def test_a_damaged_step_count_is_refused(case, step, message):
    optimizer, param = stepped(case)
    optimizer.state[param]["step"] = step
    before = param.clone()
    with pytest.raises(RuntimeError, match=message):
        optimizer.step()
    assert torch.equal(param, before)


@each_case
def test_a_refused_step_of_an_expanded_parameter_is_not_counted(case):
    param = torch.ones(1).expand(3)
    param.grad = torch.ones(3)
    optimizer = case([param], fused=True)
    with pytest.raises(RuntimeError, match="single memory location"):
        optimizer.step()
    assert all(not t.any() for t in optimizer.state[param].values())


def test_innaprop_refuses_a_state_without_second_moment_whole_or_in_part():
    params = [torch.ones(3), torch.ones(3)]
    for p in params:
        p.grad = torch.ones(3)
    (inna := INNA(params, fused=True)).step()
    (whole := INNAprop(params, fused=True)).load_state_dict(inna.state_dict())
    (part := INNAprop(params, fused=True)).step()
    del part.state[params[1]]["exp_avg_sq"]
    before = [p.clone() for p in params]
    for optimizer in (whole, part):
        with pytest.raises((ValueError, RuntimeError), match=r"INNAprop .*exp_avg_sq"):
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(params, before, strict=True))


@each_case
@pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_autograd_refuses_a_graph_whose_parameters_have_taken_a_step(case, flags):
    w, v = (torch.tensor(x, requires_grad=True) for x in (2.0, 3.0))
    optimizer = case([w], **flags)
    y = w * v
    (y * y).backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_every_tensor_of_the_state_counts_a_step_as_a_write(flags):
    param = torch.ones(3, dtype=torch.bfloat16)
    optimizer = INNAprop([param], kahan_sum=True, **flags)
    for _ in range(2):
        param.grad = torch.ones_like(param)
        before = {name: t._version for name, t in optimizer.state[param].items()}
        optimizer.step()
    assert before.keys() == {"step", "momentum_buffer", "exp_avg_sq", "compensation"}
    assert all(optimizer.state[param][name]._version > version for name, version in before.items())


@each_case
def test_a_tensor_of_inference_mode_is_refused_outside_of_it(case):
    with torch.inference_mode():
        param = torch.ones(3)
    param.grad = torch.ones(3)
    optimizer = case([param], fused=True)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        optimizer.step()
    assert torch.equal(param, torch.ones(3))
    with torch.inference_mode():
        optimizer.step()
    assert optimizer.state[param]["step"] == 1


@each_case
def test_fake_tensors_take_a_fused_step(case):
    with FakeTensorMode():
        optimizer, param = stepped(case)
        optimizer.step()
        assert optimizer.state[param]["momentum_buffer"].shape == (3,)


def test_random_states_take_the_step_of_the_loop_or_are_refused_whole():
    taken = [fuzz(seed) for seed in range(2000)]
    assert 500 < sum(taken) < 1500
