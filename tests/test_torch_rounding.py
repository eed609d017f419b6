"""Stochastic rounding: right on average, the same in the loop and in the fused kernels, only of 16 bits."""

import pytest
import torch
from torch import Tensor

from inna.torch import INNA, INNAprop
from inna.torch._rounding import rounded
from torch_settings import BOTH, Case

each_case = pytest.mark.parametrize("case", BOTH, ids=str)
each_dtype = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
each_way = pytest.mark.parametrize("flags", [{"foreach": False}, {"fused": True}], ids=["loop", "fused"])


@each_dtype
def test_a_value_goes_to_its_two_neighbours_and_is_right_on_average(dtype):
    exact = torch.tensor([1.0, -0.7, 3e-3, 123.4]).repeat_interleave(20_000)
    nearest = exact.to(dtype)
    result = rounded(exact, nearest, 5).float()
    gap = exact.abs() * torch.finfo(dtype).eps
    assert ((result - exact).abs() <= gap).all()
    means, gaps = result.view(4, -1).mean(1), gap.view(4, -1)[:, 0]
    assert ((means - exact.view(4, -1)[:, 0]).abs() < 5 * gaps / 20_000**0.5).all()
    assert (result.view(4, -1).unique(dim=1).shape[1]) > 1
    assert torch.equal(rounded(nearest.float(), nearest, 5), nearest)  # what needs no rounding gets none


@each_dtype
def test_steps_and_places_draw_independently(dtype):
    exact = torch.full((20_000,), 1 + torch.finfo(dtype).eps / 2)
    ups = torch.stack([rounded(exact, exact.to(dtype), k) > exact for k in range(4)]).double()
    assert (torch.corrcoef(ups) - torch.eye(4)).abs().max() < 0.03
    assert torch.corrcoef(torch.stack([ups[0, :-1], ups[0, 1:]]))[0, 1].abs() < 0.03


@each_dtype
def test_what_is_not_finite_stays_so(dtype):
    exact = torch.tensor([torch.inf, -torch.inf, torch.nan])
    assert torch.equal(rounded(exact, exact.to(dtype), 1).isnan(), exact.isnan())
    assert torch.equal(rounded(exact, exact.to(dtype), 1)[:2].float(), exact[:2])


def path(case: Case, make: Tensor, steps: int = 5, **flags: bool) -> Tensor:
    param = make.clone(memory_format=torch.preserve_format)
    optimizer = case([param], stochastic_rounding=True, state_dtype=torch.float32, **flags)
    for k in range(steps):
        param.grad = torch.linspace(-1, 2, param.numel()).roll(k).view(param.shape).to(param.dtype)
        optimizer.step()
    return param


@each_case
@each_dtype
@pytest.mark.parametrize("flags", [{"fused": True}, {"foreach": False, "capturable": True}], ids=str)
def test_every_implementation_rounds_the_same_way(case, dtype, flags):
    make = torch.linspace(-2, 2, 3000).view(50, 60).to(dtype).t()
    ours, loop = path(case, make, **flags), path(case, make, foreach=False)
    assert (ours == loop).float().mean() > 0.98  # float32 itself rounds in another order
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(ours, loop, rtol=3 * eps, atol=eps * eps)


@each_dtype
@each_way
def test_steps_too_small_for_16_bits_add_up(dtype, flags):
    moved = {}
    for stochastic in (True, False):
        param = torch.ones(4000, dtype=dtype)
        optimizer = INNA(
            [param], lr=1e-3, beta=0.1, initial_speed=None, state_dtype=torch.float32,
            stochastic_rounding=stochastic, **flags,
        )  # fmt: skip
        for _ in range(100):
            param.grad = torch.ones_like(param)
            optimizer.step()
        moved[stochastic] = 1 - param.float().mean().item()
    exact = torch.ones(1)
    optimizer = INNA([exact], lr=1e-3, beta=0.1, initial_speed=None)
    for _ in range(100):
        exact.grad = torch.ones(1)
        optimizer.step()
    assert moved[False] == 0
    assert moved[True] == pytest.approx(1 - exact.item(), rel=0.05)


@each_case
@each_way
def test_float32_is_left_alone(case, flags):
    ends = []
    for stochastic in (True, False):
        param = torch.linspace(-1, 1, 50)
        param.grad = torch.linspace(1, 2, 50)
        case([param], stochastic_rounding=stochastic, **flags).step()
        ends.append(param)
    assert torch.equal(*ends)


@each_case
def test_any_number_of_threads_rounds_to_the_same_bits(case):
    ends, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ends.append(path(case, torch.linspace(-2, 2, 40_000).bfloat16(), steps=2, fused=True))
    torch.set_num_threads(before)
    assert torch.equal(*ends)


@pytest.mark.parametrize("cls", [INNA, INNAprop])
@pytest.mark.parametrize("other", ["foreach", "kahan_sum", "differentiable"])
def test_what_excludes_it_is_said_at_construction(cls, other):
    with pytest.raises(ValueError, match=f"stochastic_rounding and {other} cannot be True together"):
        cls([torch.ones(1)], stochastic_rounding=True, **{other: True})
