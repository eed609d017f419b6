"""Twins of the checks that PyTorch's own suite (TestOptimRenewed in test/test_optim.py) makes.

A twin has its original's name; docs/torch_parity.md lists them. `torch_settings.CASES` drives them all.
"""

import copy
import io
import re
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from inna.torch import INNA, INNAprop
from torch_settings import BOTH, CASES, IMPLEMENTATIONS, Case

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_optimizer = pytest.mark.parametrize("case", BOTH, ids=str)
each_implementation = pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
gpu = pytest.mark.gpu
skip_without_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1), nn.Sigmoid()).to(dtype)


def train(optimizer: torch.optim.Optimizer, model: nn.Module, steps: int = 7) -> None:
    """Seven steps, one without any gradient and two with a frozen layer."""
    first = next(model.parameters())
    x = torch.linspace(0.1, 0.6, 6, dtype=first.dtype, device=first.device).reshape(3, 2)
    for i in range(steps):
        optimizer.zero_grad()
        for p in model[2].parameters():  # type: ignore[index]
            p.requires_grad_(i not in (3, 4))
        if i != 2:
            model(x).sum().backward()
        optimizer.step()


def rosenbrock(xy: Tensor) -> Tensor:
    return (1 - xy[0]) ** 2 + 100 * (xy[1] - xy[0] ** 2) ** 2


def assert_same(a: Any, b: Any, **tolerance: float) -> None:
    torch.testing.assert_close(a, b, **tolerance)


def loss_moves_as_it_should(
    case: Any, optimizer: INNA, loss: Callable[[], Tensor], schedulers: Any = ()
) -> None:
    first = loss().item()
    for _ in range(10):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step(*([value] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
    assert loss().item() > first if case.options.get("maximize") else loss().item() < first


@each_optimizer
def test_errors(case):
    p, q = nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.ones(1, 1))
    with pytest.raises(TypeError, match="should be an iterable of Tensors or dicts"):
        case(p)
    with pytest.warns(UserWarning, match="a parameter group with duplicate parameters"):
        case([p, p])
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        case([{"params": p}, {"params": p}])
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        case([p], lr=torch.tensor([0.001, 0.001]))
    with pytest.raises(ValueError, match="all optimizer params should be with/without names"):
        case([("weight", p), q])
    with pytest.raises(ValueError, match="cannot add param group with names to the optimizer"):
        case([{"params": [p]}, {"params": [("weight", q)]}])
    with pytest.raises(RuntimeError, match="`fused` does not support `differentiable`"):
        case([p], fused=True, differentiable=True)
    with pytest.raises(RuntimeError, match="`fused` and `foreach` cannot be `True` together"):
        case([p], fused=True, foreach=True)
    p.grad = torch.ones(1, 1).to_sparse()
    with pytest.raises(
        RuntimeError, match="does not support sparse gradients: build the layer with sparse=False"
    ):
        case([p]).step()


@each_case
@each_implementation
@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("scheduled", [True, False])
def test_forloop_goes_right_direction(case, flags, contiguous, scheduled):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(10, 5) if contiguous else torch.randn(10, 5, 2)[..., 0])
    bias, x = nn.Parameter(torch.randn(10) if contiguous else torch.randn(10, 2)[..., 0]), torch.randn(5)
    optimizer = case([weight, bias], **flags)
    schedulers = [
        lr_scheduler.StepLR(optimizer, 10, 0.9),
        lr_scheduler.ReduceLROnPlateau(optimizer),
    ] * scheduled
    loss_moves_as_it_should(case, optimizer, lambda: 0.05 * (weight.mv(x) + bias).pow(2).sum(), schedulers)


@each_optimizer
def test_param_group_with_lrscheduler_goes_right_direction(case):
    torch.manual_seed(0)
    weight, bias, x = nn.Parameter(torch.randn(10, 5)), nn.Parameter(torch.randn(10)), torch.randn(5)
    optimizer = case([{"params": [weight]}, {"params": [bias], "lr": 0.01}])
    schedulers = [lr_scheduler.StepLR(optimizer, 10, 0.9), lr_scheduler.ReduceLROnPlateau(optimizer)]
    loss_moves_as_it_should(case, optimizer, lambda: 0.05 * (weight.mv(x) + bias).pow(2).sum(), schedulers)


@each_optimizer
@each_implementation
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("capturable", [False, True])
def test_tensor_lr(case, flags, shape, capturable):
    models = network(torch.float64), network(torch.float64)
    lr = torch.full(shape, 0.01, dtype=torch.float64)
    optimizer = case(models[0].parameters(), **flags, lr=lr, capturable=capturable)
    train(optimizer, models[0])
    train(case(models[1].parameters(), **flags, lr=0.01), models[1])
    assert_same(list(models[0].parameters()), list(models[1].parameters()), rtol=1e-12, atol=0)
    assert torch.equal(lr, torch.full(shape, 0.01, dtype=torch.float64))


@each_case
def test_param_groups_weight_decay(case):
    torch.manual_seed(0)
    weight, bias, x = nn.Parameter(torch.randn(10, 5)), nn.Parameter(torch.randn(10)), torch.randn(5)
    optimizer = case([{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}])
    loss_moves_as_it_should(case, optimizer, lambda: 0.05 * (weight.mv(x) + bias).pow(2).sum())


@each_case
def test_param_groups_lr(case):
    torch.manual_seed(0)
    weight, bias, x = nn.Parameter(torch.randn(10, 5)), nn.Parameter(torch.randn(10)), torch.randn(5)
    still = nn.Parameter(torch.randn(2))
    still.grad = torch.ones(2)
    groups = [{"params": [weight, bias], "lr": 0.01}, {"params": [still]}]
    optimizer, before = case(groups, lr=1e-28), still.detach().clone()
    loss_moves_as_it_should(
        case, optimizer, lambda: 0.05 * (weight.mv(x) + bias).pow(2).sum() + 0 * still.sum()
    )
    assert torch.equal(still, before)


@each_case
@pytest.mark.parametrize("foreach", [False, True])
def test_complex(case, foreach):
    torch.manual_seed(0)
    complexes = [torch.randn(10, 5, dtype=torch.complex64), torch.randn(10)]
    reals = [torch.view_as_real(complexes[0]).clone(), complexes[1].clone()]
    a, b = case(complexes, foreach=foreach), case(reals, foreach=foreach)
    for _ in range(3):
        for c, r in zip(complexes, reals, strict=True):
            r.grad = torch.randn_like(r)
            c.grad = torch.view_as_complex(r.grad) if c.is_complex() else r.grad
        a.step()
        b.step()
        assert_same([torch.view_as_real(complexes[0]), complexes[1]], reals, rtol=0, atol=0)


@each_optimizer
@pytest.mark.parametrize("foreach", [False, True])
def test_complex_2d(case, foreach):
    """Rosenbrock of a complex pair, against its real and imaginary parts."""
    torch.manual_seed(0)
    z = torch.randn(2, dtype=torch.complex128, requires_grad=True)
    re, im = (part.detach().clone().requires_grad_() for part in (z.real, z.imag))
    optimizers = case([z], foreach=foreach, lr=1e-4), case([re, im], foreach=foreach, lr=1e-4)
    for _ in range(5):
        for o, value in zip(optimizers, (lambda: z, lambda: torch.complex(re, im)), strict=True):
            o.zero_grad()
            rosenbrock(value()).abs().backward()
            o.step()
        assert_same(torch.complex(re, im), z)


@each_optimizer
@each_implementation
@pytest.mark.parametrize("maximize", [False, True])
def test_rosenbrock(case, flags, maximize):
    """Away from the solution or towards it; a sparse gradient is an error (test_errors)."""
    xy = torch.tensor([1.5, 1.5], dtype=torch.float64, requires_grad=True)
    optimizer = case(
        [xy], lr=0.001, alpha=2.0, initial_speed=None, maximize=maximize, weight_decay=0.0, **flags
    )
    for _ in range(5 if maximize else 1000):
        optimizer.zero_grad()
        rosenbrock(xy).backward()
        optimizer.step()
    end, start = rosenbrock(xy).item(), 56.5  # of (1.5, 1.5)
    assert end > start if maximize else end < start


@each_case
def test_foreach_matches_forloop(case):
    compare(case, {"foreach": True}, torch.float64, rtol=1e-12, atol=1e-15)


@each_optimizer
def test_capturable_foreach_is_no_loop_in_disguise(case, monkeypatch):
    def loop(*_: object, **__: object) -> None:
        raise AssertionError("the loop was called")

    monkeypatch.setattr("inna.torch._inna.single_tensor_inna", loop)
    param = torch.ones(2)
    param.grad = torch.ones(2)
    case([param], foreach=True, capturable=True, lr=torch.tensor(0.1)).step()


@each_case
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_fused_matches_forloop(case, dtype):
    if dtype.itemsize == 2:  # the loop rounds after each operation, the kernel once
        case = Case(case.cls, {**case.options, "state_dtype": torch.float32})
        compare(case, {"fused": True}, dtype, rtol=0.05, atol=0.02)
    else:
        compare(case, {"fused": True}, dtype)


def compare(case: Any, flags: dict[str, Any], dtype: torch.dtype, **tolerance: float) -> None:
    results = []
    for more in ({}, flags):
        model = network(dtype)
        scalar = torch.ones((), dtype=dtype, requires_grad=True)
        scalar.grad = torch.full_like(scalar, 0.5)
        optimizer = case([*model.parameters(), scalar], **more)
        train(optimizer, model)
        results.append([[p.detach(), dict(optimizer.state[p])] for p in [*model.parameters(), scalar]])
    assert_same(*results, **tolerance)


@gpu
@skip_without_gpu
@each_case
def test_mixed_device_dtype(case):
    ends = []
    for flags in ({}, {"foreach": True}):
        torch.manual_seed(0)
        dtypes, devices = (torch.float64, torch.float32, torch.bfloat16), ("cpu", "cuda")
        params = [torch.rand(2, 3, dtype=t).to(d) for t in dtypes for d in devices]
        for p in params:
            p.grad = torch.rand_like(p)
        optimizer = case(params, **flags)
        for _ in range(7):
            optimizer.step()
        ends.append(params)
    assert_same(*ends, rtol=0.02, atol=0.01)


@each_optimizer
@pytest.mark.parametrize("default", [torch.float64, torch.float16], ids=str)
def test_set_default_dtype_works_with_foreach(case, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        compare(case, {"foreach": True}, torch.float64, rtol=1e-12, atol=1e-15)
        p = torch.ones(1, dtype=torch.float64)
        p.grad = p.clone()
        (optimizer := case([p])).step()
        assert optimizer.state[p]["step"].dtype == (
            torch.float64 if default == torch.float64 else torch.float32
        )
    finally:
        torch.set_default_dtype(before)


@each_optimizer
def test_fused_error_on_params_on_meta(case):
    with torch.device("meta"):
        model = network()
        optimizer = case(model.parameters(), fused=True)
        for p in model.parameters():
            p.grad = torch.rand_like(p)
    with pytest.raises(
        RuntimeError, match="`fused=True` requires all the params to be floating point Tensors"
    ):
        optimizer.step()
    optimizer.zero_grad()
    model.to_empty(device="cpu")
    for p in model.parameters():
        p.grad = torch.rand_like(p)
    optimizer.step()


@each_case
@pytest.mark.parametrize("scaled", [False, True])
def test_fused_does_not_step_if_foundinf(case, scaled):
    param = torch.ones(3)
    param.grad = torch.ones(3)
    optimizer = case([param], fused=True)
    optimizer.grad_scale = torch.ones(()) if scaled else None
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert optimizer.state[param]["step"] == 0
    assert torch.equal(param, torch.ones(3))


@gpu
@skip_without_gpu
@each_optimizer
def test_cpu_load_state_dict(case):
    source = torch.tensor([0.1, 0.2])
    source.grad = torch.ones(2)
    (optimizer := case([source])).step()
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["capturable"] = True
    target = source.cuda()
    target.grad = torch.ones_like(target)
    (other := case([target], capturable=True)).load_state_dict(state)
    other.step()
    assert other.state[target]["step"].is_cuda


@each_case
@each_implementation
def test_step_is_noop_when_params_have_no_grad(case, flags):
    params = [torch.randn(2, 3) for _ in range(2)]
    before = [p.clone() for p in params]
    optimizer = case(params, **flags)
    assert optimizer.step(lambda: 1.0) == 1.0
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
    assert not optimizer.state


@each_case
@each_implementation
def test_step_is_noop_for_zero_grads(case, flags):
    param = torch.randn(5, 1)
    before = param.clone()
    param.grad = torch.zeros_like(param)
    optimizer = case([param], **{**flags, "weight_decay": 0.0})
    for _ in range(3):
        optimizer.step()
    assert torch.equal(param, before)


@each_case
def test_optimizer_can_be_printed(case):
    assert repr(case([torch.ones(1)])).startswith(f"{case.cls.__name__} (\nParameter Group 0\n    alpha:")


@each_case
@each_implementation
@pytest.mark.parametrize("named", [(False, False), (True, False), (False, True), (True, True)])
def test_state_dict_deterministic(case, flags, named):
    models = network(), network()
    given = [m.named_parameters() if n else m.parameters() for m, n in zip(models, named, strict=True)]
    a, b = (case(list(g), **flags) for g in given)
    train(a, models[0])
    models[1].load_state_dict(models[0].state_dict())
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    for optimizer, model in zip((a, b), models, strict=True):
        train(optimizer, model)
    states = [o.state_dict() for o in (a, b)]
    for state in states:
        for group in state["param_groups"]:
            group.pop("param_names", None)
    assert_same([*models[0].parameters()], [*models[1].parameters()], rtol=0, atol=0)
    assert_same(*(s["state"] for s in states), rtol=0, atol=0)
    assert states[0]["param_groups"] == states[1]["param_groups"]


@each_case
def test_can_load_older_state_dict(case):
    model = network()
    optimizer = case(model.parameters())
    train(optimizer, model)
    older = copy.deepcopy(optimizer.state_dict())
    new = ("foreach", "fused", "capturable", "differentiable", "kahan_sum", "state_dtype", "maximize")
    for group in older["param_groups"]:
        for name in new:
            del group[name]
    optimizer.load_state_dict(older)
    train(optimizer, model)
    assert all(name in optimizer.param_groups[0] for name in new)


@each_case
@pytest.mark.parametrize("names", [(True, False), (False, True), (True, True)])
def test_can_load_from_to_named_state_dict(case, names):
    models = network(), network()
    a, b = (
        case(list(m.named_parameters()) if n else list(m.parameters()))
        for m, n in zip(models, names, strict=True)
    )
    train(a, models[0])
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    train(b, models[1])
    assert b.state_dict()["param_groups"][0]["param_names"] == ["0.weight", "0.bias", "2.weight", "2.bias"]


@each_case
@each_implementation
def test_save_load_equality_with_weights_only(case, flags):
    model = network()
    optimizer = case(model.parameters(), **flags)
    train(optimizer, model)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert_same(loaded["state"], optimizer.state_dict()["state"], rtol=0, atol=0)
    assert loaded["param_groups"] == optimizer.state_dict()["param_groups"]


@each_case
@each_implementation
def test_load_nontensor_step(case, flags):
    models = network(), network()
    optimizers = [case(m.parameters(), **flags) for m in models]
    for optimizer, model in zip(optimizers, models, strict=True):
        train(optimizer, model)
    state = copy.deepcopy(optimizers[0].state_dict())
    for entry in state["state"].values():
        entry["step"] = entry["step"].item()
    optimizers[0].load_state_dict(state)
    for optimizer, model in zip(optimizers, models, strict=True):
        train(optimizer, model)
    assert_same([*models[0].parameters()], [*models[1].parameters()], rtol=0, atol=0)


@gpu
@skip_without_gpu
@each_optimizer
def test_state_dict_with_cuda_params(case):
    cpu = network()
    optimizer = case(cpu.parameters())
    train(optimizer, cpu)
    gpu_model = copy.deepcopy(cpu).cuda()
    other = case(gpu_model.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert {s["step"].device.type for s in other.state.values()} == {"cpu"}
    train(other, gpu_model)
    train(optimizer, cpu)
    assert_same([p.cpu() for p in gpu_model.parameters()], list(cpu.parameters()))


def mark(optimizer: Any) -> None:
    optimizer.state["test"] = 1


def report(optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
    state["found"] = state["state"].pop("test", None) is not None
    return state


@each_optimizer
def test_state_dict_pre_hook(case):
    optimizer = case([torch.ones(1)])
    optimizer.register_state_dict_pre_hook(mark)
    assert optimizer.state_dict()["state"]["test"] == 1


@each_optimizer
def test_state_dict_post_hook(case):
    optimizer = case([torch.ones(1)])
    optimizer.register_state_dict_post_hook(report)
    assert optimizer.state_dict()["found"] is False


@each_optimizer
def test_state_dict_pre_post_hook(case):
    optimizer = case([torch.ones(1)])
    optimizer.register_state_dict_pre_hook(mark)
    optimizer.register_state_dict_post_hook(report)
    assert optimizer.state_dict()["found"] is True


def set_lr(lr: float) -> Callable[[Any, dict[str, Any]], dict[str, Any]]:
    def hook(_: Any, state: dict[str, Any]) -> dict[str, Any]:
        state = copy.deepcopy(state)
        state["param_groups"][0]["lr"] = lr
        return state

    return hook


@each_optimizer
def test_load_state_dict_pre_hook_and_prepend(case):
    optimizer = case([torch.ones(1)])
    optimizer.register_load_state_dict_pre_hook(set_lr(0.002))
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.002
    optimizer.register_load_state_dict_pre_hook(set_lr(0.003), prepend=True)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.002


@each_optimizer
def test_load_state_dict_post_hook(case):
    optimizer, seen = case([torch.ones(1)]), []
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o.param_groups[0]["lr"]))
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == [case.options["lr"]]


@each_optimizer
def test_load_state_dict_pre_post_hook(case):
    optimizer, seen = case([torch.ones(1)]), []
    optimizer.register_load_state_dict_pre_hook(set_lr(0.003))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o.param_groups[0]["lr"]))
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == [0.003]


@each_optimizer
def test_step_pre_hook(case):
    optimizer, calls = case([torch.ones(1)]), []
    handle = optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert calls == ["pre"]


@each_optimizer
def test_step_post_hook(case):
    optimizer, calls = case([torch.ones(1)]), []
    handle = optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert calls == ["post"]


@each_optimizer
def test_step_all_hooks(case):
    optimizer, calls = case([torch.ones(1)]), []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: calls.append(0)),
        register_optimizer_step_post_hook(lambda *_: calls.append(3)),
        optimizer.register_step_pre_hook(lambda *_: calls.append(1)),
        optimizer.register_step_post_hook(lambda *_: calls.append(2)),
    ]
    optimizer.step()
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert calls == [0, 1, 2, 3]


@each_case
@each_implementation
def test_deepcopy_copies_all_public_attrs(case, flags):
    model = network()
    optimizer = case(model.parameters(), **flags)
    train(optimizer, model)

    def public(o: object) -> set[str]:
        return {name for name in o.__dict__ if not name.startswith("_")}

    assert public(optimizer) == public(copy.deepcopy(optimizer))


@gpu
@skip_without_gpu
@each_optimizer
def test_defaults_changed_to_foreach(case, monkeypatch):
    called = []
    monkeypatch.setattr("inna.torch._inna.multi_tensor_inna", lambda *_, **__: called.append(True))
    param = torch.ones(2, device="cuda")
    param.grad = torch.ones_like(param)
    case([param]).step()
    assert called


@each_case
@each_implementation
def test_non_empty_state(case, flags):
    model = network()
    optimizer = case(model.parameters(), **flags)
    train(optimizer, model)
    assert all(len(state) >= 2 for state in optimizer.state.values())
    assert len(optimizer.state) == 4


HEADERS = Path(sysconfig.get_paths()["include"], "Python.h")  # what inductor needs on a CPU
INDUCTOR = "inductor" if HEADERS.exists() else "aot_eager"


@each_optimizer
@pytest.mark.parametrize(
    ("backend", "flags"),
    [
        (INDUCTOR, {"foreach": True}),
        (INDUCTOR, {"foreach": True, "capturable": True}),
        ("aot_eager", {"foreach": False}),
        ("aot_eager", {"foreach": False, "capturable": True}),
        ("aot_eager", {"fused": True}),
    ],
    ids=str,
)
def test_correctness(case, backend, flags):
    """CompiledOptimizerParityTests: the compiled step is the step, and no schedule recompiles it."""
    torch.manual_seed(0)
    start = [torch.randn(4, 3), torch.randn(4)]
    grads = [[torch.randn_like(p) for p in start] for _ in range(6)]
    ends = []
    for compiled in (False, True):
        params = [p.clone() for p in start]
        optimizer = case(params, **flags)
        (group,) = optimizer.param_groups
        options = {name: group[name] for name in ("lr", "alpha", "beta")}
        if flags.get("capturable"):
            group.update({name: torch.tensor(value) for name, value in options.items()})
        torch._dynamo.reset()
        step = torch.compile(optimizer.step, backend=backend) if compiled else optimizer.step
        for k, vs in enumerate(grads):
            for p, v in zip(params, vs, strict=True):
                p.grad = v
            for name in options:
                group[name] *= 0.9  # in place if it is a tensor
            with torch._dynamo.config.patch(error_on_recompile=k > 1):
                step()
        ends.append(params)
    assert_same(*ends)


_ONCE: list[dict[str, Any]] = [  # each option of the table, and what it leaves out
    {"lr": 0.01, "weight_decay": 0.1, "maximize": True},
    {"lr": 0.01, "kahan_sum": True, "state_dtype": torch.float64},
    {"lr": torch.tensor(0.01), "capturable": True, "weight_decay": 0.1},
    {"lr": 0.01, "alpha": torch.tensor(0.9), "beta": torch.tensor(0.2), "initial_speed": 1.0},
]
COMPILED = [
    *(Case(INNA, o) for o in _ONCE),
    Case(INNA, {"weight_decay": 0.1, "decoupled_weight_decay": True, "initial_speed": None}),
    *(Case(INNAprop, o) for o in _ONCE),
    Case(INNAprop, {"lr": 0.01, "sigma": 0.9, "eps": 1e-3}),
]


@pytest.mark.parametrize("case", COMPILED, ids=str)
@pytest.mark.parametrize("foreach", [False, True], ids=["loop", "foreach"])
def test_each_setting_is_the_same_when_compiled(case, foreach):
    """PYTORCH_TEST_WITH_DYNAMO in small: the step alone is compiled, not the test around it."""
    torch.manual_seed(0)
    start = [torch.randn(4, 3), torch.randn(4), torch.randn(2, 1)]
    grads = [[torch.randn_like(p) for p in start] for _ in range(5)]
    ends = []
    for compiled in (False, True):
        params = [p.clone() for p in start]
        optimizer = case(params, foreach=foreach)
        torch._dynamo.reset()
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for k, vs in enumerate(grads):
            for p, v in zip(params, vs, strict=True):
                p.grad = v
            if k in (2, 3):  # the second parameter has one step less than the others, twice
                params[1].grad = None
            step()
        ends.append((params, [optimizer.state[p] for p in params]))
    assert not torch.equal(ends[0][0][1], start[1])
    assert_same(*ends)


PARITY = Path(__file__).parents[1] / "docs" / "torch_parity.md"


def test_every_upstream_test_has_a_twin_or_a_reason(request):
    rows = re.findall(r"^\| `(test_\w+)` \| (.+?) \|$", PARITY.read_text(), flags=re.MULTILINE)
    assert len(rows) >= 44
    collected = {(item.path.stem, getattr(item, "originalname", "")) for item in request.session.items}
    for name, twin in rows:
        own = re.match(r"`tests/(\w+)\.py::(\w+)`", twin)
        assert own or twin.startswith("none: "), name
        if own and own[1] in {module for module, _ in collected}:
            assert own.groups() in collected, f"the twin of {name} was not collected"
        elif own:
            assert f"def {own[2]}(" in (Path(__file__).parent / f"{own[1]}.py").read_text()
