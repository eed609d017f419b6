"""INNA and INNAprop for JAX: the paper's path, optax's conventions, what jit makes of them."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import inna
from families import FAMILIES
from golden import GRADIENTS, RATES, START, TOLERANCE, assert_golden, golden_path
from inna import schedules

jax = pytest.importorskip("jax", reason="the extra jax is not installed")
optax = pytest.importorskip("optax", reason="the extra jax is not installed")
jnp = jax.numpy

BOTH = [inna.jax.inna, inna.jax.innaprop]


def jax_path(optimizer: Any, dtype: str, steps: int | None = None) -> np.ndarray:
    def step(carry: Any, v: Any) -> Any:
        theta, state = carry
        updates, state = optimizer.update(v, state, theta)
        theta = optax.apply_updates(theta, updates)
        return (theta, state), theta

    theta = jnp.asarray(START, dtype)
    _, path = jax.lax.scan(step, (theta, optimizer.init(theta)), jnp.asarray(GRADIENTS[:steps], dtype))
    return np.asarray(path, np.float64)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("speed", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (2.0, 1.0)])
def test_500_steps_of_inna_follow_the_paper(
    alpha: float, beta: float, speed: float, decay: float, rate: str, dtype: str
) -> None:
    expected = golden_path(RATES[rate], alpha=alpha, beta=beta, speed=speed, decay=decay)
    with jax.enable_x64(dtype == "float64"):
        lr = 0.05 if rate == "constant" else inna.jax.schedule(schedules.power(0.5), 0.2)
        optimizer = inna.jax.inna(lr, alpha, beta, initial_speed=speed, weight_decay=decay)
        path = jax_path(optimizer, dtype)
    assert_golden(path, expected, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("speed", [None, 0.0, 1.0])
def test_500_steps_of_innaprop_follow_its_paper(
    speed: float | None, decay: float, rate: str, dtype: str
) -> None:
    start_speed = 0.9 if speed is None else speed
    expected = golden_path(RATES[rate], alpha=0.1, beta=0.9, speed=start_speed, decay=decay, rms=True)
    with jax.enable_x64(dtype == "float64"):
        lr = 0.05 if rate == "constant" else inna.jax.schedule(schedules.power(0.5), 0.2)
        optimizer = inna.jax.innaprop(lr, initial_speed=speed, weight_decay=decay)
        path = jax_path(optimizer, dtype)
    assert_golden(path, expected, dtype)


@pytest.mark.parametrize("lr", [1.0, 0.999, 1.001, 0.5, 3.0])
@pytest.mark.parametrize("traced", [False, True])
def test_a_step_is_right_at_and_around_alpha_lr_1(lr: float, traced: bool) -> None:
    expected = golden_path(lambda k: lr, alpha=1.0, beta=0.1, speed=1.0, steps=5)
    with jax.enable_x64():
        optimizer = inna.jax.inna((lambda _: jnp.asarray(lr)) if traced else lr, 1.0, 0.1)
        assert_golden(jax_path(optimizer, "float64", steps=5), expected, "float64")


def test_inna_with_beta_lr_and_no_initial_momentum_is_optax_sgd() -> None:
    with jax.enable_x64():
        ours = jax_path(inna.jax.inna(0.1, 0.5, 0.1, initial_speed=0.1), "float64")
        sgd = jax_path(optax.sgd(0.01, momentum=0.95), "float64")
    np.testing.assert_allclose(ours, sgd, rtol=1e-10)


def test_innaprop_divides_no_zero_by_zero() -> None:
    optimizer, theta = inna.jax.innaprop(0.1, eps=0.0, weight_decay=0.0), jnp.ones(2)
    updates, _ = optimizer.update(jnp.array([0.0, 1.0]), optimizer.init(theta), theta)
    assert updates[0] == 0
    assert updates[1] < 0


def test_innaprop_with_alpha_beta_1_is_optax_adamw_without_momentum() -> None:
    with jax.enable_x64():
        ours = jax_path(inna.jax.innaprop(0.01, 1.0, 1.0), "float64")
        adamw = jax_path(optax.adamw(0.01, b1=0.0, weight_decay=0.01), "float64")
    np.testing.assert_allclose(ours, adamw, rtol=1e-10)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("traced", [False, True])
def test_a_step_with_learning_rate_0_changes_neither_parameters_nor_state(make: Any, traced: bool) -> None:
    params = {"w": jnp.array([1.0, -2.0])}
    optimizer = make((lambda _: jnp.float32(0)) if traced else 0.0, weight_decay=0.5)
    state = optimizer.init(params)
    updates, after = jax.jit(optimizer.update)({"w": jnp.array([3.0, jnp.nan])}, state, params)
    assert (updates["w"] == 0).all()
    assert after.count == 1
    jax.tree.map(np.testing.assert_array_equal, after._replace(count=0), state._replace(count=0))


@pytest.mark.parametrize("make", BOTH)
def test_the_start_is_due_at_the_first_step_with_a_learning_rate(make: Any) -> None:
    v, theta = jnp.array([3.0, -1.0]), jnp.zeros(2)
    late = make(lambda k: jnp.where(k < 2, 0.0, 0.1), initial_speed=0.7)
    state = late.init(theta)
    for sleeping in (jnp.array([5.0, 5.0]), jnp.array([-9.0, 2.0])):
        _, state = late.update(sleeping, state, theta)
    at_once = make(0.1, initial_speed=0.7)
    expected, _ = at_once.update(v, at_once.init(theta), theta)
    delayed, state = late.update(v, state, theta)
    np.testing.assert_allclose(delayed, expected, rtol=1e-6)
    assert (state.count, state.step) == (3, 1)


def test_the_first_step_has_the_initial_velocity() -> None:
    optimizer = inna.jax.inna(0.1, initial_speed=0.7)
    v = jnp.array([3.0, -1.0])
    updates, _ = optimizer.update(v, optimizer.init(v))
    np.testing.assert_allclose(updates, -0.07 * v, rtol=1e-5)


def test_alpha_and_beta_may_be_schedules() -> None:
    u, theta = np.zeros(6), START
    for k, v in enumerate(GRADIENTS[:20]):
        alpha, beta = 0.5 / (k + 1), 0.1 * (k + 1)
        u = (1 - beta) * v if k == 0 else u
        theta, u = theta - 0.1 * (u + beta * v), (1 - 0.1 * alpha) * u + 0.1 * (1 - alpha * beta) * v
    optimizer = inna.jax.inna(0.1, lambda k: 0.5 / (k + 1), lambda k: 0.1 * (k + 1))
    np.testing.assert_allclose(jax_path(optimizer, "float32", 20)[-1], theta, rtol=2e-5)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("as_function", [False, True])
def test_the_mask_says_where_the_decay_applies(make: Any, as_function: bool) -> None:
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    mask = {"w": True, "b": False}
    optimizer = make(0.1, weight_decay=0.5, mask=(lambda _: mask) if as_function else mask)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.05, rtol=1e-6)
    np.testing.assert_array_equal(updates["b"], 0)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_cautious_decay_shrinks_what_the_step_brings_nearer_to_0(make: Any, dtype: Any) -> None:
    random = np.random.default_rng(0)

    def drawn() -> Any:
        pair = random.normal(size=(2, 40))
        return jnp.asarray(pair[0] + 1j * pair[1] if dtype == jnp.complex64 else pair[0], dtype)

    cautious = make(0.1, weight_decay=0.3, cautious_weight_decay=True, mask={"w": True, "b": False})
    plain = make(0.1, weight_decay=0.0)
    theta = {"w": drawn(), "b": drawn()}
    ours, theirs, shrunk = cautious.init(theta), plain.init(theta), 0.0
    for _ in range(20):
        v = {"w": drawn(), "b": drawn()}
        deltas, theirs = plain.update(v, theirs, theta)
        updates, ours = jax.jit(cautious.update)(v, ours, theta)
        w, delta = as_real(theta["w"]), as_real(deltas["w"])
        nears = w * delta <= 0
        np.testing.assert_allclose(as_real(updates["w"]), delta - 0.03 * w * nears, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(updates["b"], deltas["b"], rtol=1e-4, atol=1e-6)
        shrunk += nears.mean() / 20
        theta = optax.apply_updates(theta, updates)
    assert 0.1 < shrunk < 0.9  # some, not all


def as_real(x: Any) -> Any:
    """Shape (1, n), or (2, n) of complex numbers."""
    return np.stack([x.real, x.imag]) if jnp.iscomplexobj(x) else np.asarray(x)[None]


def test_weight_decay_without_parameters_is_an_error() -> None:
    optimizer = inna.jax.inna(0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match="weight_decay needs the parameters"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


@pytest.mark.parametrize("name", ["learning_rate", "alpha", "beta", "initial_speed", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("make", BOTH)
def test_a_value_out_of_range_is_named(make: Any, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be finite and non-negative, got {value}"):
        make(**{"learning_rate": 0.1, name: value})


def test_other_wrong_values_are_named() -> None:
    with pytest.raises(TypeError, match="learning_rate must be a number or a schedule, got 'fast'"):
        inna.jax.inna("fast")
    with pytest.raises(ValueError, match=r"sigma must be less than 1, got 1\.0"):
        inna.jax.innaprop(0.1, sigma=1.0)
    with pytest.raises(ValueError, match="lr must be finite and non-negative, got -1"):
        inna.jax.schedule(schedules.power(0.5), -1)
    with pytest.raises(ValueError, match="eps must be finite and non-negative, got -1"):
        inna.jax.innaprop(0.1, eps=-1)


@pytest.mark.parametrize("make", BOTH)
def test_extra_arguments_are_accepted(make: Any) -> None:
    optimizer, theta = make(0.1), jnp.ones(2)
    optimizer.update(theta, optimizer.init(theta), theta, value=1.0)


@pytest.mark.parametrize("make", BOTH)
def test_injected_hyperparameters_give_the_same_path(make: Any) -> None:
    injected = optax.inject_hyperparams(make)(learning_rate=0.1, weight_decay=0.1)
    np.testing.assert_allclose(
        jax_path(injected, "float32", 50),
        jax_path(make(0.1, weight_decay=0.1), "float32", 50),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("make", BOTH)
def test_micro_steps_do_not_count(make: Any) -> None:
    theta = jnp.ones(2)
    optimizer = optax.MultiSteps(make(0.1), every_k_schedule=2)
    state = optimizer.init(theta)
    first, state = optimizer.update(jnp.array([1.0, 0.0]), state, theta)
    second, state = optimizer.update(jnp.array([0.0, 3.0]), state, theta)
    whole, _ = make(0.1).update(jnp.array([0.5, 1.5]), make(0.1).init(theta), theta)
    np.testing.assert_array_equal(first, 0)
    np.testing.assert_allclose(second, whole, rtol=1e-6)
    assert state.inner_opt_state.step == 1


@pytest.mark.parametrize("make", BOTH)
def test_masked_and_partition_leave_the_other_parameters_alone(make: Any) -> None:
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    for optimizer in (
        optax.partition({"ours": make(0.1), "frozen": optax.set_to_zero()}, {"w": "ours", "b": "frozen"}),
        optax.chain(
            optax.masked(make(0.1), {"w": True, "b": False}),
            optax.masked(optax.set_to_zero(), {"w": False, "b": True}),
        ),
    ):
        updates, _ = jax.jit(optimizer.update)(params, optimizer.init(params), params)
        assert (updates["w"] < 0).all()
        assert (updates["b"] == 0).all()


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64])
@pytest.mark.parametrize("scheduled", [False, True])
def test_dtypes_are_preserved(make: Any, dtype: Any, scheduled: bool) -> None:
    theta = jnp.ones(2, dtype)
    optimizer = make((lambda k: jnp.float32(0.1)) if scheduled else 0.1)
    state = optimizer.init(theta)
    updates, after = jax.jit(optimizer.update)(theta, state, theta)
    assert updates.dtype == dtype
    assert jax.tree.map(jnp.result_type, after) == jax.tree.map(jnp.result_type, state)


@pytest.mark.parametrize("make", BOTH)
def test_the_momentum_has_the_state_dtype(make: Any) -> None:
    theta = jnp.ones(2, jnp.bfloat16)
    optimizer = make(0.1, state_dtype=jnp.float32)
    updates, state = optimizer.update(theta, optimizer.init(theta), theta)
    assert (updates.dtype, state.momentum_buffer.dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize("make", BOTH)
def test_a_small_damping_is_not_lost_in_bfloat16(make: Any) -> None:
    theta = jnp.zeros(1, jnp.bfloat16)
    optimizer = make(1e-3, alpha=1.0, state_dtype=jnp.float32)
    state = optimizer.init(theta)._replace(step=jnp.int32(1), momentum_buffer=jnp.ones(1))
    _, state = optimizer.update(theta, state, theta)
    np.testing.assert_allclose(state.momentum_buffer, 0.999, rtol=1e-6)


@pytest.mark.parametrize("make", BOTH)
def test_the_second_call_does_not_compile_again(make: Any) -> None:
    traces = []
    optimizer = make(inna.jax.schedule(schedules.power(0.5), 0.1))

    def step(theta: Any, state: Any) -> Any:
        traces.append(1)
        updates, state = optimizer.update(theta, state, theta)
        return optax.apply_updates(theta, updates), state

    theta = jnp.ones(2)
    state = optimizer.init(theta)
    jitted = jax.jit(step)
    for _ in range(3):
        theta, state = jitted(theta, state)
    assert len(traces) == 1


@pytest.mark.parametrize("make", BOTH)
def test_the_state_can_be_initialised_abstractly(make: Any) -> None:
    abstract = jax.eval_shape(make(0.1).init, {"w": jax.ShapeDtypeStruct((3, 2), jnp.float32)})
    assert abstract.momentum_buffer["w"].shape == (3, 2)
    assert abstract.step.dtype == jnp.int32


def test_vmap_over_learning_rates_equals_one_after_the_other() -> None:

    def end(lr: Any, alpha: Any) -> Any:
        optimizer = inna.jax.inna(lr, alpha)
        theta = jnp.asarray(START, jnp.float32)
        state = optimizer.init(theta)
        for v in GRADIENTS[:5]:
            updates, state = optimizer.update(jnp.asarray(v, jnp.float32), state, theta)
            theta = optax.apply_updates(theta, updates)
        return theta

    rates, alphas = jnp.array([0.0, 0.1, 1.0]), jnp.array([0.5, 0.1, 1.0])
    together = jax.jit(jax.vmap(end))(rates, alphas)
    each = [end(float(lr), float(alpha)) for lr, alpha in zip(rates, alphas, strict=True)]
    np.testing.assert_allclose(together, jnp.stack(each), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("lr", [0.1, inna.jax.schedule(schedules.power(0.5), 0.1), lambda k: 2 / (k + 1)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_with_donated_parameters_and_state_a_step_works_in_place(make: Any, lr: Any, decay: float) -> None:
    optimizer, theta = make(lr, weight_decay=decay), jnp.ones(1000)

    def step(theta: Any, state: Any, v: Any) -> Any:
        updates, state = optimizer.update(v, state, theta)
        return optax.apply_updates(theta, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(theta, optimizer.init(theta), theta).compile()
    assert "f32[1000]{0} copy(" not in compiled.as_text()
    assert compiled.memory_analysis().temp_size_in_bytes < theta.nbytes


def test_a_schedule_that_may_reach_alpha_lr_1_is_right_there() -> None:
    class jump(schedules.Schedule):
        def factor(self, k: Any, xp: Any) -> Any:
            return xp.where(k == 2, 10.0, 1.0)

    lr = inna.jax.schedule(schedules.warmup(1, jump()), 0.1)
    expected = golden_path(lambda k: 1.0 if k == 3 else 0.1, alpha=1.0, beta=0.1, speed=1.0, steps=6)
    with jax.enable_x64():
        assert_golden(jax_path(inna.jax.inna(lr, 1.0, 0.1), "float64", steps=6), expected, "float64")


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_a_schedule_under_jit_agrees_with_numpy(family: Any) -> None:
    under_jit = jax.jit(inna.jax.schedule(family, 0.3))
    ours = [float(under_jit(jnp.int32(k))) for k in (0, 1, 4, 9, 10, 30, 50, 80)]
    np.testing.assert_allclose(
        ours, [0.3 * family(k) for k in (0, 1, 4, 9, 10, 30, 50, 80)], rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("missing", ["jax", "optax"])
def test_a_missing_framework_is_one_line_that_names_the_extra(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import inna; inna.jax"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == (
        f"ModuleNotFoundError: inna.jax needs {missing}: pip install 'inna[jax]'"
    )


def test_importing_it_imports_no_framework_that_jax_and_optax_do_not() -> None:
    loaded = "import sys, {}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    frameworks = {"torch", "keras", "tensorflow", "flax"}
    ours, theirs = (
        set(subprocess.check_output([sys.executable, "-c", loaded.format(names)], text=True).split())
        for names in ("inna.jax", "jax, optax")
    )
    assert "inna" in ours
    assert ours & frameworks == theirs & frameworks
