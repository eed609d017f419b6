"""What holds of INNA and INNAprop on Keras's backend of this process; test_keras.py runs it for each."""

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from families import FAMILIES
from golden import GRADIENTS, RATES, START, TOLERANCE, assert_golden, golden_path
from inna import schedules
from inna.keras import INNA, INNAprop, schedule

BACKEND = keras.backend.backend()
BOTH = [INNA, INNAprop]


@pytest.fixture
def floatx(request: pytest.FixtureRequest) -> Iterator[str]:
    if BACKEND == "jax":
        import jax

        jax.config.update("jax_enable_x64", request.param == "float64")
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx("float32")
    if BACKEND == "jax":
        jax.config.update("jax_enable_x64", False)


def compiled(optimizer: Any, theta: Any) -> Callable[[Any], None]:
    """The step as the backend's users run it: traced on JAX and TensorFlow, eager on PyTorch."""
    optimizer.build([theta])
    if BACKEND == "jax":
        import jax

        jitted = jax.jit(lambda t, s, v: optimizer.stateless_apply(s, [v], [t]))

        def step(v: Any) -> None:
            (value,), state = jitted(theta.value, [x.value for x in optimizer.variables], v)
            theta.assign(value)
            for variable, new in zip(optimizer.variables, state, strict=True):
                variable.assign(new)

        return step
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda v: optimizer.apply([v], [theta]))  # type: ignore[no-any-return]
    return lambda v: optimizer.apply([v], [theta])


def path_of(optimizer: Any, dtype: str = "float32", gradients: np.ndarray = GRADIENTS) -> np.ndarray:
    theta, vs = keras.Variable(START, dtype=dtype), ops.convert_to_tensor(gradients, dtype)
    optimizer.build([theta])
    if BACKEND == "jax":
        import jax

        def step(carry: Any, v: Any) -> Any:
            (value,), state = optimizer.stateless_apply(carry[1], [v], [carry[0]])
            return (value, state), value

        path = jax.jit(lambda *args: jax.lax.scan(step, *args)[1])(
            (theta.value, [variable.value for variable in optimizer.variables]), vs
        )
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        def applied(_: Any, v: Any) -> Any:
            optimizer.apply([v], [theta])
            return tf.identity(theta.value)

        path = tf.function(lambda: tf.scan(applied, vs, theta.value))()
    else:
        path = []
        for v in vs:
            optimizer.apply([v], [theta])
            path.append(theta.value.clone())
    return np.array([ops.convert_to_numpy(point) for point in path], np.float64)


def one_step(optimizer: Any, gradient: Any, start: Any = (1.0, -2.0)) -> np.ndarray:
    theta = keras.Variable(start)
    optimizer.apply([ops.convert_to_tensor(gradient)], [theta])
    return np.array(ops.convert_to_numpy(theta))


def values(variables: Any) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


@pytest.mark.parametrize("floatx", TOLERANCE, indirect=True)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("speed", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("decay", [None, 0.125])  # TensorFlow rounds the decay to float32
def test_500_steps_of_inna_follow_the_paper(
    speed: float, decay: float | None, rate: str, floatx: str
) -> None:
    expected = golden_path(RATES[rate], alpha=0.5, beta=0.1, speed=speed, decay=decay or 0)
    lr = 0.05 if rate == "constant" else schedule(schedules.power(0.5), 0.2)
    optimizer = INNA(lr, 0.5, 0.1, initial_speed=speed, weight_decay=decay)
    assert_golden(path_of(optimizer, floatx), expected, floatx)


@pytest.mark.parametrize("floatx", TOLERANCE, indirect=True)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("speed", [None, 0.0, 1.0])
@pytest.mark.parametrize("decay", [None, 0.125])
def test_500_steps_of_innaprop_follow_its_paper(
    speed: float | None, decay: float | None, rate: str, floatx: str
) -> None:
    start = 0.9 if speed is None else speed
    expected = golden_path(RATES[rate], alpha=0.1, beta=0.9, speed=start, decay=decay or 0, rms=True)
    lr = 0.05 if rate == "constant" else schedule(schedules.power(0.5), 0.2)
    assert_golden(path_of(INNAprop(lr, weight_decay=decay, initial_speed=speed), floatx), expected, floatx)


def test_a_step_is_right_at_alpha_lr_1() -> None:
    expected = golden_path(lambda k: 1.0, alpha=1.0, beta=0.1, speed=1.0, steps=5)
    assert_golden(path_of(INNA(1.0, 1.0, 0.1), gradients=GRADIENTS[:5]), expected, "float32")


def test_the_first_step_has_the_initial_velocity() -> None:
    np.testing.assert_allclose(one_step(INNA(0.1, initial_speed=0.7), [3.0, -1.0]), [0.79, -1.93], rtol=1e-6)


@pytest.mark.parametrize("make", BOTH)
def test_a_step_with_learning_rate_0_changes_neither_variables_nor_state(make: Any) -> None:
    theta, optimizer = keras.Variable([1.0, -2.0]), make(0.0, weight_decay=0.5)
    optimizer.build([theta])
    before = values(optimizer.variables[1:])
    optimizer.apply([ops.convert_to_tensor([3.0, np.nan])], [theta])
    np.testing.assert_array_equal(theta, [1.0, -2.0])
    for old, new in zip(before, values(optimizer.variables[1:]), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("make", BOTH)
def test_the_start_waits_for_the_first_step_with_a_learning_rate(make: Any) -> None:
    theta, optimizer = keras.Variable([1.0, -2.0]), make(0.0, initial_speed=0.7)
    optimizer.apply([ops.convert_to_tensor([5.0, 5.0])], [theta])
    optimizer.learning_rate = 0.1
    optimizer.apply([ops.convert_to_tensor([3.0, -1.0])], [theta])
    np.testing.assert_allclose(theta, one_step(make(0.1, initial_speed=0.7), [3.0, -1.0]), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("make", BOTH)
def test_a_variable_that_moves_later_has_its_own_start(make: Any) -> None:
    first, late = keras.Variable([1.0, -2.0]), keras.Variable([1.0, -2.0])
    optimizer = make(0.1, initial_speed=0.7)
    v = ops.convert_to_tensor([3.0, -1.0])
    for gradient in (None, None, v):
        optimizer.apply([v, gradient], [first, late])
    np.testing.assert_allclose(late, one_step(make(0.1, initial_speed=0.7), [3.0, -1.0]), rtol=1e-6)


def test_alpha_and_beta_given_as_callables_are_read_at_every_step() -> None:
    now = {"alpha": 0.5, "beta": 0.1}
    theta, reference = keras.Variable([1.0, -2.0]), keras.Variable([1.0, -2.0])
    moving = INNA(0.1, lambda: now["alpha"], lambda: now["beta"])
    settable = INNA(0.1)
    for alpha, beta in [(0.5, 0.1), (2.0, 0.3), (0.0, 0.0)]:
        now.update(alpha=alpha, beta=beta)
        settable.alpha, settable.beta = alpha, beta
        for optimizer, variable in ((moving, theta), (settable, reference)):
            optimizer.apply([ops.convert_to_tensor([3.0, -1.0])], [variable])
    np.testing.assert_array_equal(theta, reference)


def test_the_learning_rate_may_be_a_callable() -> None:
    np.testing.assert_allclose(
        one_step(INNA(lambda: 0.1), [3.0, -1.0]), one_step(INNA(0.1), [3.0, -1.0]), rtol=1e-6
    )


@pytest.mark.parametrize("make", BOTH)
def test_the_decay_shrinks_and_leaves_the_momentum_alone(make: Any) -> None:
    decayed, plain = make(0.1, weight_decay=0.5), make(0.1, weight_decay=None)
    v = [3.0, -1.0]
    np.testing.assert_allclose(one_step(decayed, v) - one_step(plain, v), [-0.05, 0.1], rtol=1e-5, atol=1e-7)
    for with_decay, without in zip(values(decayed.variables[2:]), values(plain.variables[2:]), strict=True):
        np.testing.assert_array_equal(with_decay, without)


def test_variables_can_be_excluded_from_the_decay() -> None:
    kept, shrunk, optimizer = keras.Variable([1.0]), keras.Variable([1.0]), INNA(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[kept])
    optimizer.apply([ops.zeros(1), ops.zeros(1)], [kept, shrunk])
    np.testing.assert_array_equal(kept, [1.0])
    np.testing.assert_allclose(shrunk, [0.95], rtol=1e-6)


@pytest.mark.parametrize(
    ("option", "clipped"),
    [
        ({"clipnorm": 1.0}, [0.6, -0.8]),
        ({"clipvalue": 1.0}, [1.0, -1.0]),
        ({"global_clipnorm": 1.0}, [0.6, -0.8]),
    ],
)
@pytest.mark.parametrize("make", BOTH)
def test_gradients_are_clipped(make: Any, option: dict[str, float], clipped: list[float]) -> None:
    np.testing.assert_allclose(
        one_step(make(0.1, **option), [3.0, -4.0]), one_step(make(0.1), clipped), rtol=1e-6
    )


def test_innaprop_divides_no_zero_by_zero() -> None:
    theta = one_step(INNAprop(0.1, eps=0.0, weight_decay=None), [0.0, -1.0])
    assert theta[0] == one_step(INNAprop(0.0), [0.0, -1.0])[0]
    assert np.isfinite(theta[1])


@pytest.mark.parametrize("make", BOTH)
def test_the_loss_scale_is_taken_out(make: Any) -> None:
    scaled = one_step(make(0.1, loss_scale_factor=8.0), [24.0, -8.0])
    np.testing.assert_allclose(scaled, one_step(make(0.1), [3.0, -1.0]), rtol=1e-6)


@pytest.mark.parametrize("make", BOTH)
def test_a_step_that_loss_scaling_skips_does_not_count(make: Any) -> None:
    theta, inner = keras.Variable([1.0, -2.0]), make(0.1)
    step = compiled(keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0), theta)
    step(ops.convert_to_tensor([np.inf, 0.0]))
    np.testing.assert_array_equal(theta, [1.0, -2.0])
    step(ops.convert_to_tensor([12.0, -4.0]))  # the scale was halved
    np.testing.assert_allclose(theta, one_step(make(0.1), [3.0, -1.0]), rtol=1e-6)


@pytest.mark.parametrize("make", BOTH)
def test_accumulating_micro_steps_do_not_count(make: Any) -> None:
    theta = keras.Variable([1.0, -2.0])
    optimizer = make(0.1, gradient_accumulation_steps=2, weight_decay=0.1)
    optimizer.apply([ops.convert_to_tensor([6.0, 0.0])], [theta])
    np.testing.assert_array_equal(theta, [1.0, -2.0])
    optimizer.apply([ops.convert_to_tensor([0.0, -2.0])], [theta])
    np.testing.assert_allclose(theta, one_step(make(0.1, weight_decay=0.1), [3.0, -1.0]), rtol=1e-6)


def test_the_moving_average_follows_the_variables() -> None:
    theta, optimizer = keras.Variable([1.0]), INNA(0.1, use_ema=True, ema_momentum=0.5)
    seen = []
    for _ in range(2):
        optimizer.apply([ops.convert_to_tensor([1.0])], [theta])
        seen.append(float(values([theta])[0][0]))
    optimizer.finalize_variable_values([theta])
    np.testing.assert_allclose(theta, [0.5 * seen[0] + 0.5 * seen[1]], rtol=1e-6)


def test_constraints_hold_after_the_step() -> None:
    layer = keras.layers.Dense(1, kernel_constraint="non_neg", use_bias=False)
    layer.build((None, 2))
    INNA(1.0).apply([ops.convert_to_tensor([[9.0], [-9.0]])], layer.trainable_variables)
    kernel = values([layer.kernel])[0]
    assert kernel[0] == 0
    assert kernel[1] > 0


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("name", ["learning_rate", "alpha", "beta", "initial_speed", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_value_out_of_range_is_named(make: Any, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be finite and non-negative, got {value}"):
        make(**{name: value})


def test_other_wrong_values_are_named() -> None:
    with pytest.raises(TypeError, match="alpha must be a number or a callable, got 'large'"):
        INNA(alpha="large")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"sigma must be less than 1, got 1\.0"):
        INNAprop(sigma=1.0)


def falling_alpha() -> float:
    return 0.25


keras.saving.register_keras_serializable(package="tests")(falling_alpha)


CONFIGURATIONS = [
    INNA(0.3, 0.4, 0.2, 0.7, weight_decay=0.1, clipnorm=1.0, name="mine"),
    INNA(schedule(schedules.warmup(3, schedules.power(0.25)), 0.3), alpha=falling_alpha),
    INNAprop(0.3, 0.4, 0.2, 0.9, 1e-6, 0.1, 0.7, use_ema=True, gradient_accumulation_steps=3),
    INNAprop(0.3, beta=falling_alpha, weight_decay=None),
]


@pytest.mark.parametrize("optimizer", CONFIGURATIONS)
def test_the_configuration_loses_nothing(optimizer: Any) -> None:
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(json.loads(json.dumps(config)))
    assert type(again) is type(optimizer)
    assert keras.optimizers.serialize(again) == config
    expected = json.loads(json.dumps(optimizer.get_config()))
    np.testing.assert_equal(type(optimizer).from_config(expected).get_config(), optimizer.get_config())


@pytest.mark.parametrize("make", BOTH)
def test_an_optimizer_survives_pickling(make: Any) -> None:
    optimizer = make(0.3, alpha=0.4)
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_a_traced_schedule_agrees_with_numpy_and_is_saved(family: Any) -> None:
    saved = keras.saving.serialize_keras_object(schedule(family, 0.3))
    traced = loaded = keras.saving.deserialize_keras_object(json.loads(json.dumps(saved)))
    assert loaded.f == family
    if BACKEND == "jax":
        import jax

        traced = jax.jit(loaded)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        traced = tf.function(loaded)
    at = [0, 1, 4, 9, 10, 30, 50, 80]
    ours = [float(ops.convert_to_numpy(traced(ops.convert_to_tensor(k, "int32")))) for k in at]
    np.testing.assert_allclose(ours, [0.3 * family(k) for k in at], rtol=1e-6, atol=1e-7)


def test_a_function_is_no_schedule_to_be_saved() -> None:
    with pytest.raises(ValueError, match=r"only the schedules of inna\.schedules can be saved"):
        schedule(abs, 0.1).get_config()  # type: ignore[arg-type]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow's")
@pytest.mark.parametrize("make", BOTH)
def test_a_gradient_tape_loop_and_sparse_gradients_work(make: Any) -> None:
    import tensorflow as tf

    table, dense = (tf.Variable([[1.0], [2.0], [3.0]]) for _ in range(2))
    rows, whole = make(0.1), make(0.1)

    @tf.function  # type: ignore[untyped-decorator]
    def step(optimizer: Any, variable: Any, sparse: bool) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(variable, [0, 2, 2]) ** 2)
        (gradient,) = tape.gradient(loss, [variable])
        assert isinstance(gradient, tf.IndexedSlices)
        gradient = gradient if sparse else tf.convert_to_tensor(gradient)
        optimizer.apply_gradients([(gradient, variable)])

    rows.build([table])
    whole.build([dense])
    for _ in range(3):
        step(rows, table, True)
        step(whole, dense, False)
    np.testing.assert_allclose(table.numpy(), dense.numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("make", BOTH)
def test_low_precision_variables_keep_their_dtype_and_have_a_state_of_float32(make: Any, dtype: str) -> None:
    theta, optimizer = keras.Variable([1.0, -2.0], dtype=dtype), make(0.1)
    for _ in range(2):
        optimizer.apply([ops.convert_to_tensor([1.0, -1.0], dtype)], [theta])
    assert theta.dtype == dtype
    moments = [v for v in optimizer.variables[2:] if "steps" not in v.name]
    assert {v.dtype for v in moments} == {"float32"}
    assert np.isfinite(np.array(ops.convert_to_numpy(ops.cast(theta, "float32")))).all()


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch's")
@pytest.mark.parametrize("make", BOTH)
def test_on_a_gpu_nothing_waits_for_the_device(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from inna.keras import _on_torch
    from nothing_read_back import NothingReadBack

    def path(on_cpu: bool) -> list[np.ndarray]:
        monkeypatch.setattr(_on_torch, "on_cpu", lambda _: on_cpu)
        thetas = [keras.Variable([1.0, -2.0]), keras.Variable([[3.0]])]
        optimizer = make(learning_rate=0.05, beta=0.2, initial_speed=0.7)
        optimizer.build(thetas)
        for k in range(10):
            grads = [np.cos(k) * theta.value for theta in thetas]
            with nullcontext() if on_cpu else NothingReadBack():  # type: ignore[no-untyped-call]
                optimizer.apply(grads, thetas)
        return values(thetas + optimizer.variables)

    for ours, theirs in zip(path(False), path(True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-7)
