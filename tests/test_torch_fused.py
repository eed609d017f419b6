"""The fused step: one operation, no memory of parameter size, every layout."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from inna.torch import INNA, INNAprop
from torch_settings import BOTH, CASES, IMPLEMENTATIONS


def parameters(dtype: torch.dtype = torch.float32, size: int = 150) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(size, size, generator=generator).to(dtype) for _ in range(8)]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator).to(dtype)
    return params


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_fused_operation_is_dispatched(case):
    optimizer = case(parameters(), fused=True)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        optimizer.step()
    assert [e.count for e in recorded.key_averages() if e.key == "inna::step_"] == [1]


def allocated(optimizer: INNA) -> float:
    """Largest tensor memory that a step holds beyond what was there, in units of the parameters' size."""
    optimizer.step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        optimizer.step()
    level = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            peak = max(peak, level)
    params = optimizer.param_groups[0]["params"]
    return peak / sum(p.nbytes for p in params)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fused_allocates_nothing_of_parameter_size(case):
    assert allocated(case(parameters(), fused=True)) < 0.01


@pytest.mark.parametrize("case", BOTH, ids=str)
def test_the_gradient_of_a_1x1_convolution_is_copied_in_no_layout(case):
    """A dimension of one value may have any stride, and channels_last gives it another."""
    param = torch.zeros(300, 200, 1, 1)
    param.grad = torch.ones(300, 200, 1, 1).to(memory_format=torch.channels_last)
    assert param.stride() != param.grad.stride()
    assert allocated(case([param], fused=True)) < 0.01


@pytest.mark.parametrize("case", CASES, ids=str)
def test_foreach_allocates_at_most_one_intermediate_and_mostly_none(case):
    options = case.options
    coupled = options.get("weight_decay") and not options.get("decoupled_weight_decay")
    one = case.cls is INNAprop or coupled or options.get("kahan_sum")
    another = options.get("capturable") and isinstance(options["lr"], torch.Tensor)  # for fewer kernels
    assert allocated(case(parameters(), foreach=True)) <= bool(one) + bool(another) + 0.01


@pytest.mark.parametrize("case", BOTH, ids=str)
@pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_state_is_four_bytes_a_value_for_inna_and_eight_for_innaprop(case, flags):
    params = parameters()
    optimizer = case(params, **flags)
    optimizer.step()
    state = sum(t.nbytes for t in optimizer.state[params[0]].values()) / params[0].numel()
    assert round(state, 3) == (4 if case.cls is INNA else 8)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_no_gradient_is_modified(case, flags):
    params = parameters()
    before = [p.grad.clone() for p in params]
    case(params, **flags).step()
    assert all(torch.equal(p.grad, b) for p, b in zip(params, before, strict=True))


@pytest.mark.parametrize("case", BOTH, ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(6, 5).t(),
        lambda: torch.randn(6, 5, 2)[..., 0],
        lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        lambda: torch.randn(3, 1).expand(3, 4).clone(),
    ],
)
def test_every_memory_layout_takes_the_same_step(case, make):
    torch.manual_seed(0)
    fused = make()
    loop, vs = fused.clone(), [torch.randn(fused.shape) for _ in range(4)]
    optimizers = case([fused], fused=True), case([loop])
    for v in vs:
        fused.grad, loop.grad = v, v.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(fused, loop)


@pytest.mark.skipif(not hasattr(torch.Tensor, "grad_dtype"), reason="PyTorch 2.9 has no such gradients")
@pytest.mark.parametrize("case", BOTH, ids=str)
@pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_a_gradient_of_another_dtype_is_cast(case, flags):
    ends = []
    for dtype in (torch.bfloat16, torch.float32):
        param = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
        param.grad_dtype = dtype
        param.grad = torch.arange(6, dtype=dtype).reshape(2, 3) / 8
        case([param], **flags).step()
        ends.append(param.detach())
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], torch.ones_like(ends[0]))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_foreach_goes_through_long_parameters_in_blocks(case):
    """With the values of the loop, and with temporaries of a block's size only."""
    shapes = [(3, 5), (1, 4, 600, 500), (1, 4, 300, 500), (7,)]
    torch.manual_seed(0)
    params = [torch.randn(s) for s in shapes]
    params[2] = params[2].contiguous(memory_format=torch.channels_last)
    loop = [p.clone() for p in params]
    optimizers = case(params, foreach=True), case(loop)
    for _ in range(2):
        for ours, other in zip(params, loop, strict=True):
            ours.grad = torch.randn_like(ours)
            other.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for ours, other in zip(params, loop, strict=True):
        torch.testing.assert_close(ours, other)
    if not case.options.get("capturable"):
        assert allocated(optimizers[0]) < 0.5


def test_a_refused_step_leaves_the_state_as_it_was():
    params = [torch.ones(3), torch.ones(3, dtype=torch.float64)]
    optimizer = INNA(params, fused=True, state_dtype=torch.float32)  # not for float64
    for p in params:
        p.grad = torch.ones_like(p)
    with pytest.raises(RuntimeError, match="got Double with a state of Float: use foreach=True"):
        optimizer.step()
    assert [optimizer.state[p]["step"].item() for p in params] == [0, 0]


def test_any_number_of_threads_gives_the_same_bits():
    ends = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        params = parameters()
        optimizer = INNA(params, fused=True)
        for _ in range(3):
            optimizer.step()
        torch.set_num_threads(before)
        ends.append(params)
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
