"""inna.jax on what users hand in: other dtypes, scalars with a shape, hyperparameters that are learned."""

from typing import Any

import numpy as np
import pytest

import inna
from golden import START, assert_golden, golden_path
from inna import schedules
from test_jax import jax_path

jax = pytest.importorskip("jax", reason="the extra jax is not installed")
optax = pytest.importorskip("optax", reason="the extra jax is not installed")
jnp = jax.numpy

BOTH = [inna.jax.inna, inna.jax.innaprop]
FP8 = [jnp.float8_e4m3fn, jnp.float8_e5m2]


def stepped(optimizer: Any, theta: Any, v: Any) -> Any:
    updates, _ = jax.jit(optimizer.update)(v, optimizer.init(theta), theta)
    return updates


@pytest.mark.parametrize("make", BOTH)
def test_integer_gradients_give_the_steps_of_the_same_numbers(make: Any) -> None:
    v = jnp.array([1, -2, 30])
    updates = stepped(make(0.1), v, v)
    assert updates.dtype == jnp.float32
    np.testing.assert_allclose(updates, stepped(make(0.1), v.astype(float), v.astype(float)), rtol=1e-6)


@pytest.mark.parametrize("make", BOTH)
def test_python_floats_are_leaves(make: Any) -> None:
    params = {"w": 1.0, "b": -2.0}
    optimizer = make(0.1, weight_decay=0.1)
    updates, state = optimizer.update({"w": 3.0, "b": 4.0}, optimizer.init(params), params)
    updates, _ = optimizer.update({"w": 3.0, "b": 4.0}, state, optax.apply_updates(params, updates))
    arrays = jax.tree.map(jnp.asarray, params)
    expected, state = optimizer.update(
        {"w": jnp.asarray(3.0), "b": jnp.asarray(4.0)}, optimizer.init(arrays), arrays
    )
    expected, _ = optimizer.update(
        {"w": jnp.asarray(3.0), "b": jnp.asarray(4.0)}, state, optax.apply_updates(arrays, expected)
    )
    jax.tree.map(np.testing.assert_array_equal, updates, expected)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("dtype", FP8)
def test_parameters_of_8_bits_take_the_step_of_32_rounded(make: Any, dtype: Any) -> None:
    v = jnp.array([1.0, -2.0, 0.5], dtype)
    updates = stepped(make(0.5, weight_decay=0.5), v, v)
    wide = stepped(make(0.5, weight_decay=0.5), v.astype(jnp.float32), v.astype(jnp.float32))
    assert updates.dtype == dtype
    np.testing.assert_array_equal(updates.astype(jnp.float32), wide.astype(dtype).astype(jnp.float32))


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, *FP8])
def test_small_parameters_have_a_state_of_float32(make: Any, dtype: Any) -> None:
    state = make(0.1).init({"w": jnp.ones(2, dtype)})
    moments = jax.tree.leaves(state._replace(count=(), step=()))
    assert {moment.dtype for moment in moments} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("make", BOTH)
def test_the_state_dtype_rules_and_keeps_complex_parameters_complex(make: Any) -> None:
    theta = {"real": jnp.ones(2, jnp.bfloat16), "complex": jnp.ones(2, jnp.complex64)}
    momentum = make(0.1, state_dtype=jnp.bfloat16).init(theta).momentum_buffer
    assert (momentum["real"].dtype, momentum["complex"].dtype) == (jnp.bfloat16, jnp.complex64)
    with pytest.raises(TypeError, match="state_dtype must be None or a floating point dtype"):
        make(0.1, state_dtype=jnp.int8)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_long_memory_survives_16_bits(make: Any, dtype: Any) -> None:
    gradients = 0.3 + np.random.default_rng(0).normal(size=(30_000, 4))

    def momentum(dtype: Any) -> Any:
        optimizer, theta = make(1e-3, alpha=0.1, beta=0.9), jnp.zeros(4, dtype)

        def step(state: Any, v: Any) -> Any:
            return optimizer.update(v.astype(dtype), state, theta)[1], None

        return jax.lax.scan(step, optimizer.init(theta), jnp.asarray(gradients))[0].momentum_buffer

    np.testing.assert_allclose(momentum(dtype).astype(float), momentum(jnp.float32), rtol=0.01)


def test_a_float16_gradient_of_256_has_a_finite_square() -> None:
    v = jnp.array([256.0, 0.005], jnp.float16)
    updates = stepped(inna.jax.innaprop(0.01, weight_decay=0.0), v, v)
    np.testing.assert_allclose(updates.astype(jnp.float32), [-0.009, -0.009], rtol=2e-3)


@pytest.mark.parametrize("make", BOTH)
def test_a_schedule_of_one_element_is_a_scalar(make: Any) -> None:
    shaped = make(lambda k: 0.1 / (k + jnp.ones(1)), lambda k: jnp.full((1,), 0.5))
    plain = make(lambda k: 0.1 / (k + 1.0), 0.5)
    np.testing.assert_allclose(jax_path(shaped, "float32", 20), jax_path(plain, "float32", 20), rtol=1e-6)


def test_a_schedule_of_two_elements_is_an_error() -> None:
    optimizer, theta = inna.jax.inna(lambda k: jnp.ones(2)), jnp.ones(2)
    with pytest.raises(ValueError, match=r"learning_rate must be a scalar, got shape \(2,\)"):
        optimizer.update(theta, optimizer.init(theta), theta)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_sigma_that_16_bits_round_to_1_is_an_error_that_tells_the_cure(dtype: Any) -> None:
    theta = jnp.ones(2, dtype)
    with pytest.raises(ValueError, match=r"hyperparam_dtype=jax\.numpy\.float32"):
        optax.inject_hyperparams(inna.jax.innaprop)(learning_rate=0.1).init(theta)
    with pytest.raises(ValueError, match=r"hyperparam_dtype=jax\.numpy\.float32"):
        jax.jit(lambda sigma: inna.jax.innaprop(0.1, sigma=sigma).init(theta))(dtype(0.9))
    cured = optax.inject_hyperparams(inna.jax.innaprop, hyperparam_dtype=jnp.float32)(learning_rate=0.1)
    ours, plain = (stepped(optimizer, theta, theta) for optimizer in (cured, inna.jax.innaprop(0.1)))
    np.testing.assert_array_equal(ours.astype(float), plain.astype(float))


@pytest.mark.parametrize("make", BOTH)
def test_the_damping_is_not_lost_in_injected_hyperparameters_of_16_bits(make: Any) -> None:
    def damped(lr: Any, alpha: Any) -> Any:
        theta = jnp.zeros(1)
        optimizer = make(lr, alpha)
        state = optimizer.init(theta)._replace(step=jnp.int32(1), momentum_buffer=jnp.ones(1))
        return optimizer.update(theta, state, theta)[1].momentum_buffer

    decayed = jax.jit(damped)(jnp.bfloat16(2.0**-10), jnp.bfloat16(1.0))
    np.testing.assert_allclose(decayed, 1 - 2.0**-10, rtol=1e-6)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("late", [False, True])
def test_the_derivative_by_a_learning_rate_of_0_is_that_of_small_ones(make: Any, late: bool) -> None:
    theta, v = jnp.array([1.0, -2.0]), jnp.array([3.0, -1.0])

    def loss(lr: Any) -> Any:
        optimizer = make(lr)
        state = optimizer.init(theta)
        if late:
            state = make(0.1).update(2 * v, state, theta)[1]
        updates, _ = optimizer.update(v, state, theta)
        return ((theta + updates) ** 2).sum()

    at_0, small = jax.grad(loss)(0.0), jax.grad(loss)(1e-6)
    assert at_0 != 0
    np.testing.assert_allclose(at_0, small, rtol=1e-4)


def test_a_learned_learning_rate_that_starts_at_0_moves() -> None:
    theta = jnp.array([1.0, -2.0])

    def loss(lr: Any) -> Any:
        updates, _ = inna.jax.inna(lr).update(2 * theta, inna.jax.inna(lr).init(theta), theta)
        return ((theta + updates) ** 2).sum()

    lr = 0.0
    for _ in range(20):
        lr = jnp.maximum(lr - 0.005 * jax.grad(loss)(lr), 0)
    np.testing.assert_allclose(lr, 0.5, rtol=0.05)


def test_eps_root_gives_a_derivative_at_a_gradient_of_0() -> None:
    theta = jnp.array([0.0, 1.0])

    def loss(theta: Any, **options: Any) -> Any:
        optimizer = inna.jax.innaprop(0.1, weight_decay=0.0, **options)
        updates, _ = optimizer.update(2 * theta, optimizer.init(theta), theta)
        return ((theta + updates) ** 2).sum()

    assert jnp.isnan(jax.grad(loss)(theta)[0])  # as that of optax.adam
    assert jnp.isfinite(jax.grad(loss)(theta, eps_root=1e-8)).all()
    with pytest.raises(ValueError, match="eps_root must be finite and non-negative, got -1"):
        inna.jax.innaprop(0.1, eps_root=-1)


def test_eps_root_is_that_of_optax_adam() -> None:
    with jax.enable_x64():
        ours = jax_path(inna.jax.innaprop(0.01, 1.0, 1.0, eps_root=1e-3, weight_decay=0.0), "float64")
        adam = jax_path(optax.adam(0.01, b1=0.0, eps_root=1e-3), "float64")
    np.testing.assert_allclose(ours, adam, rtol=1e-10)


def test_behind_rms_scaling_innas_inertia_is_innaprop() -> None:
    falling = inna.jax.schedule(schedules.power(0.5), 0.2)
    rms = optax.scale_by_rms(decay=0.999, eps=1e-8, eps_in_sqrt=False, bias_correction=True)
    inertia = inna.jax.scale_by_inna(falling, alpha=0.1, beta=0.9, initial_speed=0.9)
    with jax.enable_x64():
        chained = jax_path(optax.chain(rms, inertia), "float64")
        ours = jax_path(inna.jax.innaprop(falling, weight_decay=0.0), "float64")
    np.testing.assert_allclose(chained, ours, rtol=1e-12, atol=1e-12)


def test_innas_inertia_drives_any_direction() -> None:
    def path(sign: Any, optimizer: Any) -> Any:
        theta, ends = jnp.asarray(START), []
        state = optimizer.init(theta)
        for v in np.random.default_rng(0).normal(size=(5, 6)):
            updates, state = optimizer.update(sign(jnp.asarray(v)), state, theta)
            theta = optax.apply_updates(theta, updates)
            ends.append(theta)
        return jnp.stack(ends)

    signed = optax.chain(optax.scale_by_sign(), inna.jax.scale_by_inna(0.1))
    np.testing.assert_allclose(path(lambda v: v, signed), path(jnp.sign, inna.jax.inna(0.1)), rtol=1e-6)


@pytest.mark.parametrize("through", ["schedule", "warmup"])
def test_no_family_of_schedules_is_trusted_to_stay_below_1(through: str, monkeypatch: Any) -> None:
    class jump(schedules.Schedule):
        def factor(self, k: Any, xp: Any) -> Any:
            return xp.where(k == 2, 10.0, 1.0)

    monkeypatch.setattr(jump, "__module__", schedules.__name__)  # as if it had been added there
    f, peak = (jump(), 2) if through == "schedule" else (schedules.warmup(1, jump()), 3)
    expected = golden_path(lambda k: 1.0 if k == peak else 0.1, alpha=1.0, beta=0.1, speed=1.0, steps=6)
    with jax.enable_x64():
        optimizer = inna.jax.inna(inna.jax.schedule(f, 0.1), 1.0, 0.1)
        assert_golden(jax_path(optimizer, "float64", steps=6), expected, "float64")
