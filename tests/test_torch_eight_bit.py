"""State in 8 bits: right on average for 30,000 steps, a byte a value, the same bits everywhere."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from inna.torch import INNA, INNAprop, energy, project_on_ball
from inna.torch._eight_bit import BLOCK, CODES, EIGHT_BIT, Coded, decoded, encode, read, values
from torch_settings import BOTH, Case

each_case = pytest.mark.parametrize("case", BOTH, ids=str)
each_class = pytest.mark.parametrize("cls", [INNA, INNAprop])
each_moment = pytest.mark.parametrize("name", CODES)
WAYS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "capturable": {"foreach": False, "capturable": True},
    "fused": {"fused": True},
}
each_way = pytest.mark.parametrize("flags", WAYS.values(), ids=WAYS)


def empty(name: str, size: int) -> Coded:
    exponents = torch.zeros(-(-size // BLOCK), dtype=torch.uint8)
    return Coded(name, torch.zeros(size, dtype=CODES[name].dtype), exponents)


@each_moment
@pytest.mark.parametrize("largest", [1e-30, 0.3, 1e20])
def test_values_go_to_a_neighbouring_code_and_are_right_on_average(name, largest):
    exact = largest * torch.linspace(0, 1, BLOCK - 1) ** 3
    exact = torch.cat([exact, -exact[-1:] if name == "momentum_buffer" else exact[-1:]])
    rounded = []
    for step in range(1000):
        moment = empty(name, BLOCK)
        encode(moment, exact, step)
        rounded.append(decoded(moment))
    means = torch.stack(rounded).double().mean(0)
    coarse = {"momentum_buffer": 1 / 16, "exp_avg_sq": 1 / 8}[name]
    gap = coarse * (exact.abs() + {"momentum_buffer": 0.15, "exp_avg_sq": 4e-5}[name] * largest)
    assert all(((x - exact).abs() <= gap).all() for x in rounded)
    off = (means - exact).abs() / gap
    assert (
        (off < 5 / math.sqrt(1000)).all()
        if name == "momentum_buffer"
        else (off[20:] < 5 / math.sqrt(1000)).all()
    )
    assert len(torch.stack(rounded).unique(dim=0)) > 100


@each_moment
def test_what_a_code_stands_for_is_rounded_to_that_code(name):
    moment = empty(name, 256)
    moment.codes.copy_(torch.arange(256) - (128 if name == "momentum_buffer" else 0))
    moment.codes[0] = moment.codes[1]  # -128 is no code
    moment.exponents.fill_(100)
    again = Coded(name, moment.codes.clone(), moment.exponents.clone())
    for step in range(20):
        encode(again, decoded(moment), step)
        largest = decoded(moment).view(-1, BLOCK).abs().amax(1)
        kept = (largest > CODES[name].top * 2.0 ** (100 - 127) / 4).repeat_interleave(BLOCK)
        assert kept.any()
        assert torch.equal(again.codes[kept], moment.codes[kept])


def test_a_second_moment_never_becomes_0():
    exact = torch.tensor([1.0, *[1e-30] * 63])
    moment = empty("exp_avg_sq", BLOCK)
    encode(moment, exact, 1)
    assert (decoded(moment)[1:] >= exact[1:]).all()
    assert decoded(moment)[1] < 4e-6


@each_class
def test_a_memory_of_10_000_steps_survives_30_000(cls):
    options: dict[str, Any] = {"lr": 1e-3, "alpha": 0.1, "beta": 0.9, "weight_decay": 0.0, "fused": True}
    noise = torch.randn(64, 1024, generator=torch.Generator().manual_seed(0))
    ends = {}
    for dtype in (None, EIGHT_BIT, torch.bfloat16):
        param = torch.zeros(1024, dtype=torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
        optimizer = cls([param], initial_speed=None, state_dtype=dtype, **options)
        for k in range(30_000):
            param.grad = (0.3 + noise[k % 64].roll(k)).to(param.dtype)
            optimizer.step()
        ends[dtype] = values(read(optimizer.state[param], "momentum_buffer")).float()
    exact, ours = ends[None].mean().item(), ends[EIGHT_BIT]
    assert ours.mean().item() == pytest.approx(exact, rel=0.03)
    assert ours.std() < 0.25 * exact
    assert ends[torch.bfloat16].mean() < 0.7 * exact  # what it is compared with has lost it


def many(dtype: torch.dtype) -> list[Tensor]:
    """Whole blocks and not, dense in another order, with gaps, and one below the smallest size."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    return [normal(1024), normal(50, 60).t(), normal(40, 80)[:, :70], normal(2, 8, 9, 9).mT, normal(5)]


def path(case: Case, dtype: torch.dtype, steps: int = 5, **flags: Any) -> list[dict[str, Any]]:
    params = many(dtype)
    optimizer = case(params, state_dtype=EIGHT_BIT, stochastic_rounding=True, **flags)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(dtype)
        optimizer.step()
    return [{"param": p, **optimizer.state[p]} for p in params]


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("flags", [WAYS["fused"], WAYS["capturable"]], ids=["fused", "capturable"])
def test_every_implementation_takes_the_steps_of_the_loop(case, dtype, flags):
    for ours, loop in zip(path(case, dtype, **flags), path(case, dtype, **WAYS["loop"]), strict=True):
        assert ours.keys() == loop.keys()
        for name in ours:
            assert ours[name].stride() == loop[name].stride()
            same = (ours[name].float() - loop[name].float()).abs() <= 1e-5 * loop[name].float().abs() + 1e-6
            assert same.float().mean() > 0.98, name  # float32 itself rounds in another order


@each_case
def test_any_number_of_threads_gives_the_same_bits(case):
    ends, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        param = torch.linspace(-1, 1, 99_999)
        optimizer = case([param], state_dtype=EIGHT_BIT, fused=True)
        for k in range(3):
            param.grad = torch.linspace(-1, 2, 99_999).roll(k)
            optimizer.step()
        ends.append([param, *optimizer.state[param].values()])
    torch.set_num_threads(before)
    assert all(map(torch.equal, *ends))


@each_case
@each_way
def test_the_state_is_a_byte_for_each_value_and_moment(case, flags):
    param = torch.zeros(100, 100)
    param.grad = torch.ones(100, 100)
    optimizer = case([param], state_dtype=EIGHT_BIT, **flags)
    optimizer.step()
    moments = len(optimizer.state_names)
    assert sum(t.nbytes for t in optimizer.state[param].values()) <= 1.02 * moments * param.numel()


@each_case
@each_way
def test_a_checkpoint_goes_on_with_the_same_bits(case, flags, tmp_path):
    def step(param: Tensor, optimizer: INNA, k: int) -> None:
        param.grad = torch.linspace(-1, 2, 1200).roll(k).view(30, 40).t()
        optimizer.step()

    whole = torch.linspace(-1, 1, 1200).view(30, 40).t()
    optimizer = case([whole], state_dtype=EIGHT_BIT, **flags)
    for k in range(3):
        step(whole, optimizer, k)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    resumed = whole.clone()
    other = case([resumed], **flags)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for k in range(3, 6):
        step(whole, optimizer, k)
        step(resumed, other, k)
    assert torch.equal(whole, resumed)
    assert all(torch.equal(optimizer.state[whole][name], t) for name, t in other.state[resumed].items())


@each_case
@each_way
def test_a_state_turns_to_8_bits_and_back_when_its_dtype_changes(case, flags):
    param, exact = torch.zeros(2048), torch.zeros(2048)
    optimizer, reference = case([param], **flags), case([exact], **flags)
    group = optimizer.param_groups[0]
    for dtype in (None, EIGHT_BIT, torch.float32, EIGHT_BIT, None):
        group["state_dtype"] = dtype
        param.grad = torch.linspace(1, 2, 2048)
        exact.grad = param.grad.clone()
        optimizer.step()
        reference.step()
        state = optimizer.state[param]
        assert ("momentum_buffer_8bit" in state) == (dtype == EIGHT_BIT)
        assert ("momentum_buffer" in state) == (dtype != EIGHT_BIT)
        moment = values(read(state, "momentum_buffer"))
        torch.testing.assert_close(
            moment.sum(), reference.state[exact]["momentum_buffer"].sum(), rtol=0.01, atol=0
        )
    torch.testing.assert_close(param, exact, rtol=0.05, atol=0)


DAMAGES = {
    "momentum_buffer_8bit": (lambda t: t[:-1], "momentum_buffer_8bit of shape"),
    "exp_avg_sq_8bit": (lambda t: t.float(), "a state in 8 bits needs exp_avg_sq_8bit in torch.uint8"),
    "momentum_buffer_exponent": (
        lambda t: t[:-1],
        r"of shape \[20\], got torch.int8, torch.uint8 of shape \[19\]",
    ),
    "exp_avg_sq_exponent": (lambda t: t.int(), "torch.int32 of shape"),
}


@pytest.mark.parametrize("name", DAMAGES)
@each_way
def test_a_state_that_does_not_fit_is_refused_and_nothing_has_changed(name, flags):
    param = torch.zeros(1250)
    param.grad = torch.ones(1250)
    optimizer = INNAprop([param], state_dtype=EIGHT_BIT, **flags)
    optimizer.step()
    damage, message = DAMAGES[name]
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0][name] = damage(saved["state"][0][name])
    optimizer.load_state_dict(saved)
    before = param.clone()
    with pytest.raises(RuntimeError, match=message):
        optimizer.step()
    assert torch.equal(param, before)


def test_a_refusal_of_the_kernel_is_whole_where_small_parameters_have_moments_in_float32():
    small, large = torch.zeros(10), torch.zeros(1280)
    for param in (small, large):
        param.grad = torch.ones_like(param)
    optimizer = INNA([small, large], state_dtype=EIGHT_BIT, fused=True)
    optimizer.step()
    large.grad.untyped_storage().resize_(0)
    before = small.clone()
    with pytest.raises(RuntimeError, match=r"the memory of a gradient of shape \[1280\] is gone"):
        optimizer.step()
    assert torch.equal(small, before)
    assert optimizer.state[small]["step"] == 1


@each_way
def test_codes_with_gaps_are_refused(flags):
    param = torch.zeros(8, 16, 10)
    param.grad = torch.ones_like(param)
    optimizer = INNA([param], state_dtype=EIGHT_BIT, **flags)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["momentum_buffer_8bit"] = torch.zeros(8, 16, 20, dtype=torch.int8)[..., ::2]
    optimizer.load_state_dict(saved)
    with pytest.raises(RuntimeError, match=r"momentum_buffer_8bit of strides \[320, 20, 2\] has gaps"):
        optimizer.step()


@each_case
@each_way
def test_a_step_with_lr_0_changes_no_bit(case, flags):
    param = torch.linspace(-1, 1, 1500)
    lr = torch.tensor(0.01)
    optimizer = case([param], state_dtype=EIGHT_BIT, **{**flags, "lr": lr})
    for k in range(4):
        param.grad = torch.randn(1500, generator=torch.Generator().manual_seed(k)) / 4**k
        optimizer.step()
    before = [param.clone(), *(t.clone() for t in optimizer.state[param].values())]
    lr.zero_()
    optimizer.step()
    assert all(map(torch.equal, before, [param, *optimizer.state[param].values()]))


@each_case
@each_way
def test_what_is_not_finite_stays_in_its_block(case, flags):
    param = torch.zeros(1024)
    optimizer = case([param], state_dtype=EIGHT_BIT, **flags)
    for bad in (torch.nan, 1.0):
        param.grad = torch.ones(1024)
        param.grad[70] = bad
        optimizer.step()
    broken = torch.arange(1024) // BLOCK == 70 // BLOCK
    assert param[~broken].isfinite().all()
    assert values(read(optimizer.state[param], "momentum_buffer"))[~broken].isfinite().all()
    assert not values(read(optimizer.state[param], "momentum_buffer"))[broken].isfinite().any()


def test_the_phase_the_energy_and_the_ball_know_it():
    param, exact = (torch.linspace(-1, 1, 2000) for _ in range(2))
    optimizers = [INNA([param], state_dtype=EIGHT_BIT), INNA([exact])]
    for optimizer in optimizers:
        project_on_ball(optimizer, radius=5.0)
        for _ in range(3):
            (p,) = optimizer.param_groups[0]["params"]
            p.grad = p.abs() + 1
            optimizer.step()
    ours, theirs = optimizers
    assert param.norm() == pytest.approx(5.0, rel=1e-5)
    torch.testing.assert_close(ours.phase(param), theirs.phase(exact), rtol=0, atol=0.02)
    assert energy(ours, 0.0) == pytest.approx(energy(theirs, 0.0), rel=0.1)


@each_class
@pytest.mark.parametrize("other", ["foreach", "kahan_sum", "differentiable"])
def test_what_excludes_it_is_said_at_construction(cls, other):
    with pytest.raises(ValueError, match=f"state_dtype='8bit' and {other} cannot be used together: take"):
        cls([torch.ones(1)], state_dtype=EIGHT_BIT, **{other: True})


def test_complex_and_double_parameters_are_refused_with_a_way_out():
    for dtype, flags, message in (
        (torch.complex64, {}, "takes real parameters that are whole on one device, got torch.complex64"),
        (
            torch.float64,
            {"fused": True},
            "takes float32, bfloat16 or float16 parameters, got Double: leave fused out",
        ),
    ):
        param = torch.zeros(2000, dtype=dtype)
        param.grad = torch.ones(2000, dtype=dtype)
        with pytest.raises(RuntimeError, match=message):
            INNA([param], state_dtype=EIGHT_BIT, **flags).step()
        assert not param.any()


@each_case
@each_way
def test_a_parameter_may_get_another_layout(case, flags):
    params = [torch.linspace(-1, 1, 1600).view(40, 40) for _ in range(2)]
    optimizers = [case([p], state_dtype=EIGHT_BIT, **flags) for p in params]
    for k in range(4):
        if k == 2:
            params[0].data = params[0].t().contiguous().t()
        for p, optimizer in zip(params, optimizers, strict=True):
            p.grad = torch.linspace(1, 2, 1600).roll(k).view(40, 40)
            optimizer.step()
    torch.testing.assert_close(*params, rtol=0, atol=0.02)
