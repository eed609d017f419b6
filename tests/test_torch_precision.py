"""Numbers: float32 for long, 16 bits with and without Kahan's sum, GradScaler, autograd through a step."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from inna import reference, schedules
from inna.torch import INNA, INNAprop
from torch_settings import BOTH, IMPLEMENTATIONS

each_implementation = pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)


@pytest.fixture(autouse=True)
def one_thread():
    """These tensors are small: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


BETAS = np.array([1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0])
CURVATURES = np.logspace(-2, [1, 2], 64, axis=1)  # a mild and a stiff quadratic
MINIMISER = 1 + 0.5 * np.sin(np.arange(64))
Floating = type[np.float32] | type[np.float64]


def paths_in_the_papers_form(dtype: Floating, schedule: schedules.Schedule) -> np.ndarray:
    """Where 10,000 steps of equation (12) end from theta = 0, u = 0: for each beta and quadratic."""
    curvatures, minimiser, beta = (a.astype(dtype) for a in (CURVATURES, MINIMISER, BETAS[:, None, None]))
    theta = psi = np.zeros((len(BETAS), 2, 64), dtype)
    for k in range(10_000):
        v = curvatures * (theta - minimiser)
        theta, psi = reference.inna_step(
            theta, psi, v, lr=dtype(0.01 * schedule(k)), alpha=dtype(0.5), beta=beta
        )
    return theta


def paths_in_float32(schedule: schedules.Schedule, flags: dict[str, Any]) -> np.ndarray:
    curvatures, minimiser = torch.tensor(CURVATURES).float(), torch.tensor(MINIMISER).float()
    groups: list[Any] = [{"params": [torch.zeros(64), torch.zeros(64)], "beta": beta} for beta in BETAS]
    optimizer = INNA(groups, alpha=0.5, initial_speed=None, **flags)
    for k in range(10_000):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * schedule(k)
            for theta, curvature in zip(group["params"], curvatures, strict=True):
                theta.grad = curvature * (theta - minimiser)
        optimizer.step()
    return np.array([[p.numpy() for p in group["params"]] for group in optimizer.param_groups])


@each_implementation
@pytest.mark.parametrize(
    ("schedule", "mild"),
    [(schedules.constant(), 5e-5), (schedules.power(0.5), 3e-4)],
    ids=["constant", "sqrt"],
)
def test_float32_stays_with_float64_for_ten_thousand_steps(schedule, mild, flags):
    """On the stiff one a constant step is unstable at the two smallest beta, and tracked all the same."""
    exact = paths_in_the_papers_form(np.float64, schedule)

    def error(theta: np.ndarray) -> np.ndarray:
        return np.linalg.norm(theta - exact, axis=-1) / np.linalg.norm(exact, axis=-1)

    ours = error(paths_in_float32(schedule, flags))
    assert (ours[:, 0] < mild).all()
    assert (ours[:, 1] < 3e-4).all()
    papers = error(paths_in_the_papers_form(np.float32, schedule))
    assert papers[0, 0] > 50 * ours[0, 0]


def final_loss(case, dtype: torch.dtype, **options) -> float:
    """Full-batch training of a small network at a step that is small against bfloat16's spacing."""
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    y = torch.sin(x.sum(1, keepdim=True))
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    kept = [p.detach().clone().to(dtype) for p in model.parameters()]  # bfloat16 weights, float32 arithmetic
    optimizer = case(kept, **options)
    for _ in range(300):
        with torch.no_grad():
            for p, k in zip(model.parameters(), kept, strict=True):
                p.copy_(k)
        model.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        for p, k in zip(model.parameters(), kept, strict=True):
            k.grad = p.grad.to(dtype)
        optimizer.step()
    return loss.item()


@each_implementation
@pytest.mark.parametrize(("cls", "lr"), [(INNA, 0.03), (INNAprop, 1e-4)], ids=["INNA", "INNAprop"])
def test_kahan_sum_trains_bfloat16_where_plain_bfloat16_stagnates(cls, lr, flags):
    options = {"lr": lr, "state_dtype": torch.float32, **flags}
    full = final_loss(cls, torch.float32, **options)
    kahan = final_loss(cls, torch.bfloat16, kahan_sum=True, **options)
    plain = final_loss(cls, torch.bfloat16, **options)
    assert kahan == pytest.approx(full, rel=0.02)
    assert plain > 1.04 * full


@each_implementation
@pytest.mark.parametrize("case", BOTH, ids=str)
@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
def test_a_model_summed_in_16_bits_goes_on_in_float32(narrow, case, flags):
    """What 16 bits lost is kept in the dtype of the parameter, so it becomes float32 with it."""
    start = torch.linspace(-1, 1, 150).to(narrow)
    models = [nn.ParameterList([start.clone()]), nn.ParameterList([start.float()])]
    optimizers = [
        case(models[0].parameters(), kahan_sum=True, state_dtype=torch.float32, **flags),
        case(models[1].parameters()),
    ]
    for k in range(6):
        if k == 3:
            models[0].float()
        gradient = torch.linspace(0.5, 2, 150).roll(k).to(narrow)
        for model, optimizer in zip(models, optimizers, strict=True):
            model[0].grad = gradient.to(model[0].dtype)
            optimizer.step()
    eps = torch.finfo(narrow).eps
    torch.testing.assert_close(models[0][0], models[1][0], rtol=eps, atol=eps)


@pytest.mark.parametrize("case", BOTH, ids=str)
@each_implementation
def test_grad_scaler_unscales_and_skips_overflows(case, flags):
    def run(scaled: bool) -> tuple[Tensor, float]:
        param = torch.ones(3, requires_grad=True)
        optimizer = case([param], **flags)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=scaled)
        for k in range(6):
            optimizer.zero_grad()
            overflow = scaled and k in (0, 3)  # the first steps too: the start must wait
            if scaled or k not in (0, 3):
                loss = (param * torch.tensor([1.0, 2.0, 3.0])).square().sum()
                scaler.scale(loss * (math.inf if overflow else 1.0)).backward()
                scaler.step(optimizer)
                scaler.update(2.0**10)
        return param.detach(), optimizer.state[param]["step"].item()

    (ours, steps), (plain, plain_steps) = run(True), run(False)
    assert steps == plain_steps == 4
    torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("case", BOTH, ids=str)
def test_grad_scaler_serves_groups_with_and_without_fused(case):
    params = [torch.ones(2), torch.ones(2)]
    optimizer = case([{"params": [params[0]], "fused": True}, {"params": [params[1]]}])
    for found in (1.0, 0.0):
        for p in params:
            p.grad = torch.full((2,), 8.0)
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), torch.tensor(found)
        optimizer.step()
    torch.testing.assert_close(*params)
    assert [optimizer.state[p]["step"].item() for p in params] == [1, 1]


@pytest.mark.parametrize("cls", [INNA, INNAprop])
@pytest.mark.parametrize("kahan", [False, True])
def test_autograd_differentiates_through_steps(cls, kahan):
    options = {"weight_decay": 0.1, "differentiable": True, "kahan_sum": kahan}
    if cls is INNAprop:
        options["eps"] = 0.1

    def train(theta, grad, lr, alpha, beta):
        theta = theta.clone()
        optimizer = cls([theta], lr=lr, alpha=alpha, beta=beta, **options)
        for k in range(3):
            theta.grad = grad * (k + 1)
            optimizer.step()
        return theta, optimizer.state[theta]["momentum_buffer"]

    values: list = [[0.3, -0.7], [1.0, 0.5], 0.1, 0.6, 0.4]
    inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    assert torch.autograd.gradcheck(train, inputs)


DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex128]
RELATIVE = dict(zip(DTYPES, [1e-11, 3e-5, 0.03, 0.004, 1e-11], strict=True))
LAYOUTS: list[Callable[[Tensor], Tensor]] = [
    lambda t: t,
    lambda t: t.transpose(0, -1) if t.dim() else t,
    lambda t: torch.stack([t, t], -1)[..., 0],
]
WAYS: list[dict[str, Any]] = [
    *IMPLEMENTATIONS.values(),
    {"foreach": False, "capturable": True},
    {"foreach": True, "capturable": True},
]
number = st.floats(0, 2)
group = st.fixed_dictionaries(
    {
        "tensors": st.lists(
            st.tuples(
                st.lists(st.integers(0, 5), max_size=3),
                st.sampled_from(DTYPES),
                st.sampled_from(LAYOUTS),
                st.booleans(),  # whether every second gradient is missing
            ),
            min_size=1,
            max_size=4,
        ),
        "initial_speed": st.none() | number,
        "weight_decay": st.floats(0, 0.5),
        "decoupled_weight_decay": st.booleans(),
        "maximize": st.booleans(),
        "kahan_sum": st.booleans(),
        "sigma": st.sampled_from([0.0, 0.9, 0.999]),
        "faster": st.floats(0.1, 2),
    }
)


def recursion(
    theta: Tensor, grads: list[Tensor | None], schedule: list[Any], options: dict[str, Any], adaptive: bool
) -> Tensor:
    """The algorithm's two lines, in float64."""
    steps, decoupled = 0, adaptive or options["decoupled_weight_decay"]
    u = s = torch.zeros_like(theta)
    for (lr, alpha, beta), v in zip(schedule, grads, strict=True):
        lr = options["faster"] * lr
        if lr == 0 or v is None:
            continue
        v = -v if options["maximize"] else v
        if adaptive:
            s = options["sigma"] * s + (1 - options["sigma"]) * v**2
            v = v / ((s / (1 - options["sigma"] ** (steps + 1))) ** 0.5 + 1e-8)
        if not decoupled:
            v = v + options["weight_decay"] * theta
        if steps == 0 and options["initial_speed"] is not None:
            u = (options["initial_speed"] - beta) * v
        theta = (1 - lr * options["weight_decay"] * decoupled) * theta - lr * (u + beta * v)
        u = (1 - alpha * lr) * u + lr * (1 - alpha * beta) * v
        steps += 1
    return theta


@pytest.mark.parametrize("flags", WAYS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES[:4], ids=str)
@pytest.mark.parametrize("eps", [1e-8, 0.0])
def test_innaprop_divides_no_zero_by_zero(flags, dtype, eps):
    """A gradient of zeros, one whose square underflows, and a step with lr 0 before the first."""
    param = torch.ones(4, dtype=dtype)
    lr = torch.tensor(0.0) if "capturable" in flags else 0.0
    optimizer = INNAprop([param], lr, eps=eps, weight_decay=0.0, **flags)
    param.grad = torch.tensor([0, 1e-5, 0.5, -0.5], dtype=dtype)
    optimizer.step()
    assert torch.equal(param, torch.ones_like(param))
    optimizer.param_groups[0]["lr"] = lr + 0.1
    optimizer.step()
    assert param.isfinite().all()
    assert param[0] == 1
    assert param[2] < 1 < param[3]


@settings(max_examples=100)
@given(
    groups=st.lists(group, min_size=1, max_size=3),
    adaptive=st.booleans(),
    schedule=st.lists(
        st.tuples(st.sampled_from([0.0, 0.01, 0.1, 0.3]), number, number), min_size=1, max_size=6
    ),
    seed=st.integers(0, 1000),
)
def test_every_implementation_is_the_recursion(groups, adaptive, schedule, seed):
    """Any groups, shapes, dtypes, layouts, options, gaps; lr, alpha and beta change at every step."""
    assume(not adaptive or all(t[1] != torch.float16 for g in groups for t in g["tensors"]))  # it underflows
    torch.manual_seed(seed)
    starts = [[torch.randn(shape, dtype=dtype) for shape, dtype, *_ in g["tensors"]] for g in groups]
    paths = [[[torch.randn_like(p) for _ in schedule] for p in ps] for ps in starts]
    for flags in WAYS:
        if "fused" in flags and any(p.is_complex() for ps in starts for p in ps):
            continue  # refused
        optimizer = (INNAprop if adaptive else INNA)(
            [
                {
                    "params": [
                        layout(p.clone()) for p, (_, _, layout, _) in zip(ps, g["tensors"], strict=True)
                    ],
                    **{
                        name: g[name]
                        for name in g
                        if name not in ("tensors", "faster", "decoupled_weight_decay")
                    },
                    "decoupled_weight_decay": adaptive or g["decoupled_weight_decay"],
                }
                for ps, g in zip(starts, groups, strict=True)
            ],
            state_dtype=None,
            **flags,
        )
        for k, numbers in enumerate(schedule):
            for own, g, path in zip(optimizer.param_groups, groups, paths, strict=True):
                options = dict(zip(("lr", "alpha", "beta"), numbers, strict=True))
                options["lr"] *= g["faster"]
                wrap = (lambda x: torch.tensor(x, dtype=torch.float64)) if "capturable" in flags else float
                own.update({name: wrap(value) for name, value in options.items()})
                for p, vs, (_, _, layout, gaps) in zip(own["params"], path, g["tensors"], strict=True):
                    p.grad = None if gaps and k % 2 else layout(vs[k].clone())
            optimizer.step()
        for own, g, ps, path in zip(optimizer.param_groups, groups, starts, paths, strict=True):
            for p, start, vs, (_, _, layout, gaps) in zip(own["params"], ps, path, g["tensors"], strict=True):
                wide = [torch.view_as_real(t) if t.is_complex() else t.double() for t in (start, *vs)]
                seen = [None if gaps and k % 2 else v for k, v in enumerate(wide[1:])]
                end = recursion(wide[0], seen, schedule, g, adaptive)
                end = layout(torch.view_as_complex(end) if p.is_complex() else end)
                tolerance = RELATIVE[p.dtype]
                found = p if p.is_complex() else p.double()
                torch.testing.assert_close(
                    found,
                    end,
                    rtol=tolerance,
                    atol=tolerance * (1 + float(end.abs().max() if end.numel() else 0)),
                )
