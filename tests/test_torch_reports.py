"""Faults that users of optimizers have reported elsewhere, and that must not happen here."""

import copy
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils._python_dispatch import TorchDispatchMode

from inna import reference
from inna.torch import INNA, INNAprop
from torch_settings import BOTH, IMPLEMENTATIONS

each_optimizer = pytest.mark.parametrize("case", BOTH, ids=str)
each_implementation = pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
each_way = pytest.mark.parametrize(
    "flags",
    [
        *IMPLEMENTATIONS.values(),
        {"capturable": True},
        {"foreach": True, "capturable": True},
        {"foreach": True, "capturable": True, "lr": torch.tensor(0.01)},
    ],
    ids=str,
)


def leaf(values: object, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


# 16 bits.


@each_way
@pytest.mark.parametrize("size", [256.0, 60000.0, 0.005])
def test_innaprop_squares_float16_gradients_in_float32(size, flags):
    """A square of 256 overflows float16, one of .005 underflows it, also where the state is of float16."""
    param = leaf([1.0, 1.0], torch.float16)
    options = {"lr": 0.01, "weight_decay": 0.0, "beta": 0.9, "state_dtype": torch.float16, **flags}
    optimizer = INNAprop([param], **options)
    param.grad = torch.full_like(param, size)
    optimizer.step()
    torch.testing.assert_close(1 - param.detach().float(), torch.full((2,), 0.009), rtol=0.1, atol=0)


@each_implementation
def test_a_long_memory_survives_parameters_of_16_bits(flags):
    """30,000 steps with a memory of 10,000: the decay of 1e-4 a step would be lost in 16 bits."""
    param = leaf([1.0], torch.bfloat16)
    optimizer = INNAprop([param], lr=1e-3, weight_decay=0.0, **flags)
    noise = torch.Generator().manual_seed(0)
    theta = u = s = 0.0
    for k, v in enumerate((0.3 + torch.randn(30_000, generator=noise)).bfloat16().reshape(-1, 1)):
        param.grad = v
        optimizer.step()
        s = 0.999 * s + 0.001 * v.item() ** 2
        direction = v.item() / (math.sqrt(s / (1 - 0.999 ** (k + 1))) + 1e-8)
        theta, u = reference.momentum_step(theta, u, direction, lr=1e-3, alpha=0.1, beta=0.9)
    assert optimizer.state[param]["momentum_buffer"].item() == pytest.approx(u, rel=0.01)


@each_optimizer
@each_implementation
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_state_of_16_bits_is_float32_unless_state_dtype_says_otherwise(case, dtype, flags):
    def dtypes(**options):
        param = leaf([1.0], dtype)
        optimizer = case([param], **flags, **options)
        param.grad = torch.ones_like(param)
        optimizer.step()
        return {optimizer.state[param][name].dtype for name in optimizer.state_names}

    assert dtypes() == {torch.float32}
    assert dtypes(state_dtype=dtype) == {dtype}


@each_optimizer
@each_implementation
def test_a_checkpoint_of_16_bits_keeps_them_until_it_is_told(case, flags):
    param = leaf([1.0], torch.bfloat16)
    param.grad = torch.ones_like(param)
    old = case([param], **flags, state_dtype=torch.bfloat16)
    old.step()
    saved = old.state_dict()
    saved["param_groups"][0]["state_dtype"] = None  # as every checkpoint before float32 was the default
    optimizer = case([param], **flags)
    optimizer.load_state_dict(copy.deepcopy(saved))
    optimizer.step()
    assert {optimizer.state[param][name].dtype for name in optimizer.state_names} == {torch.bfloat16}
    optimizer.param_groups[0]["state_dtype"] = torch.float32
    optimizer.step()
    assert {optimizer.state[param][name].dtype for name in optimizer.state_names} == {torch.float32}


@each_optimizer
@each_way
def test_states_of_16_and_of_32_bits_live_in_one_group(case, flags):
    """A loaded parameter keeps bfloat16, one added later has float32: each moves as it does alone."""

    def run(groups):
        params = [leaf([1.0, -2.0], torch.bfloat16) for _ in range(2)]
        together = [params] if groups == 1 else [[p] for p in params]
        optimizers = [case(ps, **flags) for ps in together]
        for p in params:
            p.grad = torch.tensor([0.3, 0.7], dtype=torch.bfloat16)
        for optimizer in optimizers:
            optimizer.step()
        for name in optimizers[0].state_names:
            state = optimizers[0].state[params[0]]
            state[name] = state[name].bfloat16()
        for _ in range(3):
            for optimizer in optimizers:
                optimizer.step()
        return params

    if "fused" in flags:
        pytest.skip("the kernel takes one dtype of state in a group")
    for a, b in zip(run(1), run(2), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int32, torch.complex64, "float32"], ids=str)
def test_a_state_dtype_that_no_step_can_take_is_refused_at_once(dtype):
    with pytest.raises(TypeError, match=r"state_dtype must be None, torch\.float16, .*, got"):
        INNA([leaf([1.0])], state_dtype=dtype)


# Checkpoints.


@pytest.fixture
def default_dtype():
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@each_optimizer
@each_implementation
@pytest.mark.parametrize("step", [300, torch.tensor(300.0, dtype=torch.bfloat16)], ids=["number", "bfloat16"])
@pytest.mark.parametrize("default", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_steps_are_counted_whatever_the_default_dtype(case, default, step, flags, default_dtype):
    default_dtype(default)
    param = leaf([1.0])
    param.grad = torch.ones_like(param)
    optimizer = case([param], **flags)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0]["step"] = step
    optimizer.load_state_dict(saved)
    for _ in range(5):
        optimizer.step()
    assert optimizer.state[param]["step"] == 305
    optimizer.param_groups[0].update(foreach=None, fused=True)
    optimizer.step()
    assert optimizer.state[param]["step"] == 306


@each_way
@pytest.mark.parametrize("lacking", [1, 2])
def test_innaprop_says_that_a_state_without_second_moments_is_not_its_own(lacking, flags):
    params = [leaf([1.0]), leaf([2.0])]
    for p in params:
        p.grad = torch.ones_like(p)
    inna = INNA(params)
    inna.step()
    optimizer = INNAprop(params, **flags)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    for i in range(lacking):
        saved["state"][i] = inna.state_dict()["state"][i]
    optimizer.load_state_dict(saved)
    with pytest.raises(ValueError, match=r"INNAprop needs exp_avg_sq .* or start anew"):
        optimizer.step()


def test_the_warning_of_an_authors_checkpoint_points_at_the_line_that_loads_it():
    optimizer = INNA([torch.zeros(1)])
    group = {"lr": 0.1, "alpha": 0.5, "beta": 0.2, "decaypower": 0.5, "params": [0]}
    state = {"step": 3, "psi": torch.ones(1)}
    with pytest.warns(UserWarning, match="will not continue as it began") as caught:
        optimizer.load_state_dict({"state": {0: state}, "param_groups": [group]})
    assert Path(caught[0].filename) == Path(__file__)


# Steps that must change nothing, take no memory, or are recorded.


@each_optimizer
@each_way
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_step_with_lr_0_is_the_identity_even_with_a_bad_gradient(case, flags, bad, dtype, decay):
    param = leaf([1.0, 2.0], dtype)
    lr = torch.tensor(0.01) if flags.get("capturable") or flags.get("fused") else 0.01
    optimizer = case([param], **{**flags, "lr": lr, "weight_decay": decay})
    param.grad = torch.tensor([0.5, 0.25], dtype=dtype)
    optimizer.step()
    before = copy.deepcopy([param.detach(), dict(optimizer.state[param])])
    optimizer.param_groups[0]["lr"] = 0 * lr
    param.grad = torch.tensor([bad, -bad], dtype=dtype)
    optimizer.step()
    torch.testing.assert_close([param.detach(), dict(optimizer.state[param])], before, rtol=0, atol=0)


@each_way
def test_a_graph_records_no_step_that_decides_on_the_host(flags, monkeypatch):
    param = leaf([1.0])
    param.grad = torch.ones_like(param)
    optimizer = INNA([param], **flags)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    if flags.get("capturable"):
        optimizer.step()
    else:
        with pytest.raises(RuntimeError, match=r"CUDA graph capture of step\(\) .* capturable is False"):
            optimizer.step()


@each_optimizer
@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"foreach": True, "capturable": True}], ids=str)
def test_a_step_of_fake_tensors_leaves_real_ones_alone(case, flags):
    for fake in (True, False):
        if fake:
            with FakeTensorMode():
                param = torch.ones(3, requires_grad=True)
                param.grad = torch.ones(3)
                optimizer = case([param], **flags)
                for _ in range(2):
                    optimizer.step()
        else:
            param = torch.ones(3, requires_grad=True)
            param.grad = torch.ones(3)
            optimizer = case([param], **flags)
            for _ in range(2):
                optimizer.step()
            assert param.isfinite().all()
            assert optimizer.state[param]["step"] == 2


@each_optimizer
@pytest.mark.parametrize("flags", [{}, {"foreach": True}], ids=str)
def test_the_memory_tracker_sees_the_state(case, flags):
    with FakeTensorMode():
        model = torch.nn.Linear(64, 64)
        optimizer = case(model.parameters(), **flags)
        tracker = MemTracker()
        tracker.track_external(model, optimizer)
        with warnings.catch_warnings(), tracker:
            warnings.simplefilter("ignore")
            for _ in range(2):
                model(torch.ones(2, 64)).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
                tracker.reset_mod_stats()
        peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    bytes_of_state = sum(size for kind, size in peak.items() if "OPT" in str(kind).upper())
    assert bytes_of_state >= 4 * (64 * 64 + 64) * len(optimizer.state_names)


def test_autograd_sees_a_tensor_weight_decay_of_both_kinds():
    for decoupled in (False, True):

        def end(decay, decoupled=decoupled):
            theta = torch.tensor([1.0, -2.0], dtype=torch.float64).clone()
            options = {"differentiable": True, "decoupled_weight_decay": decoupled, "weight_decay": decay}
            optimizer = INNA([theta], lr=0.1, **options)
            for k in range(3):
                theta.grad = torch.tensor([0.3, 0.7], dtype=torch.float64) * (k + 1)
                optimizer.step()
            return theta

        assert torch.autograd.gradcheck(end, [leaf(0.2, torch.float64)])


# Speed on a GPU, as far as a CPU can tell.


@each_optimizer
@pytest.mark.parametrize("tensor_lr", [False, True])
def test_nothing_is_read_from_the_device_under_capturable(case, tensor_lr):
    """What a CUDA graph cannot record: `.item()`, explicit or inside of an overload for numbers."""
    params = [leaf([1.0, 2.0]), leaf([3.0])]
    for p in params:
        p.grad = torch.ones_like(p)
    lr = torch.tensor(0.01) if tensor_lr else 0.01
    optimizer = case(params, foreach=True, capturable=True, lr=lr)
    optimizer.step()
    with torch.profiler.profile() as recorded:
        optimizer.step()
    assert "aten::_local_scalar_dense" not in {event.key for event in recorded.key_averages()}


@each_optimizer
@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01)], ids=["number", "tensor"])
def test_capturable_lists_take_few_kernels(case, lr):
    """Lists of different shapes take a kernel for each pair on a GPU: here one operation, not each."""
    params = [leaf([1.0, 2.0]) for _ in range(50)]
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer = case(params, foreach=True, capturable=True, lr=lr)
    optimizer.step()
    slow = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            lists = [x for x in args if isinstance(x, list | tuple)]
            if "_foreach" in str(func) and len({tuple(t.shape for t in x) for x in lists}) > 1:
                slow.append(func)
            return func(*args, **(kwargs or {}))

    with Watch():
        optimizer.step()
    assert len(slow) == 1


@each_optimizer
def test_the_loop_adds_a_coupled_decay_in_one_copy_of_a_parameter(case):
    param = leaf([[0.0] * 1000] * 1000)
    param.grad = torch.ones_like(param)
    optimizer = INNA([param], weight_decay=0.1)
    optimizer.step()
    with torch.profiler.profile(profile_memory=True) as recorded:
        optimizer.step()
    level = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            peak = max(peak, level)
    assert peak < 1.01 * param.nbytes


@pytest.mark.parametrize(("initial_speed", "rises"), [(1.0, True), (None, False)])
def test_the_papers_start_lifts_the_loss_and_one_without_momentum_does_not(initial_speed, rises):
    theta = leaf([3.0])
    optimizer = INNA([theta], lr=0.05, initial_speed=initial_speed)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = 25 * theta.square().sum() / 2
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert (max(losses[:20]) > losses[0]) == rises
    assert losses[-1] < losses[0] / 10


# torch.compile.


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@each_optimizer
@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"foreach": True, "capturable": True}], ids=str)
def test_a_compiled_step_goes_on_when_a_parameter_loses_its_gradient(case, flags):
    ends = []
    for compiled in (False, True):
        params = [leaf([1.0, -1.0]) for _ in range(3)]
        optimizer = case(params, **flags)
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for there in [(0, 1, 2), (0, 1, 2), (0, 1), (0, 1), (2,), (0, 1, 2)]:
            for i, p in enumerate(params):
                p.grad = torch.full_like(p, i + 1.0) if i in there else None
            step()
        ends.append([p.detach() for p in params])
    torch.testing.assert_close(*ends)


@pytest.mark.usefixtures("fresh_compiler")
@each_optimizer
@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"foreach": True, "capturable": True}], ids=str)
def test_options_in_tensors_make_one_graph_and_numbers_two(case, flags):
    for options, graphs in (({}, 2), ({"lr": 0.01, "alpha": 0.1, "beta": 0.9}, 1)):
        torch._dynamo.reset()
        counter = torch._dynamo.testing.CompileCounter()
        params = [leaf([1.0, -1.0]) for _ in range(3)]
        optimizer = case(params, **flags)
        optimizer.param_groups[0].update({name: torch.tensor(value) for name, value in options.items()})
        step = torch.compile(optimizer.step, backend=counter)
        for p in params:
            p.grad = torch.ones_like(p)
        for _ in range(3):
            step()
        assert counter.frame_count == graphs


@pytest.mark.usefixtures("fresh_compiler")
@each_optimizer
def test_a_compiled_foreach_step_takes_complex_parameters(case):
    ends = []
    for compiled in (False, True):
        params = [torch.full((2,), 1 + 1j) for _ in range(3)]
        optimizer = case(params, foreach=True)
        step = torch.compile(optimizer.step, backend="aot_eager") if compiled else optimizer.step
        for _ in range(2):
            for p in params:
                p.grad = torch.full_like(p, 0.5 - 1j)
            step()
        ends.append(params)
    torch.testing.assert_close(*ends)


@pytest.mark.usefixtures("fresh_compiler")
@each_optimizer
def test_a_copy_that_compiled_code_makes_has_groups_and_state(case):
    param = leaf([1.0])
    param.grad = torch.ones_like(param)
    optimizer = case([param])
    optimizer.step()
    twin = torch.compile(lambda: copy.deepcopy(optimizer), backend="eager")()
    assert twin.param_groups[0]["alpha"] == optimizer.param_groups[0]["alpha"]
    torch.testing.assert_close(twin.state_dict()["state"], optimizer.state_dict()["state"])
