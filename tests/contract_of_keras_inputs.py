"""What users hand in: callables in compiled code, 16 bits, names; test_keras.py runs it on each backend."""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from contract_of_keras import BACKEND, BOTH, one_step, values
from inna.keras import INNA, INNAprop

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def fitted(optimizer: Any, callbacks: Any = None, **compiled: Any) -> np.ndarray:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer, "mse", **compiled)
    model.fit(X, Y + 1, batch_size=2, shuffle=False, verbose=0, callbacks=callbacks)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def path_by_hand(make: Any, alphas: Any, betas: Any) -> np.ndarray:
    """The same fit, eagerly, with alpha and beta set before each step."""
    kernel, bias, optimizer = keras.Variable(np.ones((3, 1))), keras.Variable(np.zeros(1)), make()
    for alpha, beta, x, y in zip(alphas, betas, X.reshape(6, 2, 3), Y.reshape(6, 2, 1) + 1, strict=False):
        optimizer.alpha, optimizer.beta = alpha, beta
        error = 2 * (x @ values([kernel])[0] + values([bias])[0] - y) / 2
        optimizer.apply(
            [ops.convert_to_tensor(x.T @ error), ops.convert_to_tensor(error.sum(0))], [kernel, bias]
        )
    return np.concatenate([value.ravel() for value in values([kernel, bias])])


ALPHAS, BETAS = [0.5, 4.0, 0.1, 2.0, 1.0, 3.0], [0.1, 0.4, 0.2, 0.05, 0.3, 0.15]
COMPILED = [{}, {"run_eagerly": True}]
if BACKEND != "torch":  # there Keras leaves compilation to experiments
    COMPILED += [{"jit_compile": True}]


@pytest.mark.parametrize(
    "make",
    [lambda **o: INNA(0.1, **o), lambda **o: INNAprop(0.1, initial_speed=1.0, **o)],
    ids=["INNA", "INNAprop"],
)
@pytest.mark.parametrize("compiled", COMPILED, ids=str)
def test_alpha_and_beta_given_as_callables_are_read_at_every_step_of_a_fit(make: Any, compiled: Any) -> None:
    now = {"alpha": ALPHAS[0], "beta": BETAS[0]}

    class Change(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            now.update(alpha=ALPHAS[batch], beta=BETAS[batch])

    optimizer = make(alpha=lambda: now["alpha"], beta=lambda: now["beta"])
    ours = fitted(optimizer, callbacks=[Change()], **compiled)
    np.testing.assert_allclose(ours, path_by_hand(make, ALPHAS, BETAS), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution on PyTorch")
def test_they_are_read_at_every_step_of_several_in_one_call() -> None:
    read = itertools.count(1)
    fitted(INNA(0.1, alpha=lambda: float(next(read))), steps_per_execution=3)
    assert next(read) > 6


def test_a_callable_may_return_a_variable_or_what_the_step_knows() -> None:
    variable = keras.Variable(0.5)
    np.testing.assert_allclose(fitted(INNA(0.1, lambda: variable)), fitted(INNA(0.1, 0.5)), rtol=1e-6)
    falling = INNA(0.1, alpha=lambda: 0.5 / (ops.cast(falling.iterations, "float32") + 1.0))
    expected = path_by_hand(lambda: INNA(0.1), [0.5 / (k + 1) for k in range(6)], [0.1] * 6)
    np.testing.assert_allclose(fitted(falling), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    BACKEND == "torch", reason="there Keras's own call no assign either: multi-tensor kernels"
)
@pytest.mark.parametrize("make", BOTH)
def test_every_value_goes_through_an_assign_that_a_subclass_has_changed(make: Any) -> None:
    assigned = []

    class Watched(make):  # type: ignore[misc]
        def assign(self, variable: Any, value: Any) -> None:
            assigned.append(variable)
            super().assign(variable, value)

    np.testing.assert_allclose(
        one_step(Watched(0.1), [3.0, -1.0]), one_step(make(0.1), [3.0, -1.0]), rtol=1e-6
    )
    assert len(assigned) == (2 if make is INNA else 3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("make", BOTH)
def test_16_bits_take_the_step_of_32_rounded(make: Any, dtype: str) -> None:
    small = keras.Variable([1.0, -2.0, 0.5], dtype=dtype)
    exact = keras.Variable([1.0, -2.0, 0.5])
    optimizers = make(0.1), make(0.1)
    for v in ([1.0, -1.0, 0.5], [2.0, 0.25, -4.0]):
        for optimizer, theta in zip(optimizers, (small, exact), strict=True):
            optimizer.apply([ops.convert_to_tensor(v, theta.dtype)], [theta])
            tolerance = 2e-2 if dtype == "bfloat16" else 2e-3
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(small, "float32")), exact, rtol=tolerance)


def test_a_float16_gradient_of_256_has_a_finite_square() -> None:
    theta, optimizer = keras.Variable([0.0, 0.0], dtype="float16"), INNAprop(0.01, weight_decay=None)
    optimizer.apply([ops.convert_to_tensor([256.0, 0.005], "float16")], [theta])
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(theta, "float32")), -0.009, rtol=2e-3)
    assert all(np.isfinite(value).all() for value in values(optimizer.variables))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("make", BOTH)
def test_a_long_memory_survives_16_bits(make: Any, dtype: str) -> None:
    momenta = []
    for kind in (dtype, "float32"):
        theta, optimizer = keras.Variable([0.0], dtype=kind), make(1e-3, alpha=0.1, beta=0.9)
        optimizer.build([theta])
        optimizer._momentum_buffers[0].assign([1.0])
        optimizer._steps.assign([1])
        for _ in range(100):
            optimizer.apply([ops.convert_to_tensor([0.0], kind)], [theta])
        momenta.append(values([optimizer._momentum_buffers[0]])[0])
    np.testing.assert_allclose(momenta[0], momenta[1], rtol=1e-3)
    np.testing.assert_allclose(momenta[0], 0.9999**100, rtol=1e-3)


def test_the_counter_of_steps_is_an_integer_whatever_the_default_dtype() -> None:
    keras.config.set_floatx("bfloat16")
    try:
        optimizer = INNAprop(0.01)
        optimizer.build([keras.Variable([1.0])])
        optimizer._steps.assign([256])
        optimizer.apply([ops.convert_to_tensor([1.0], "bfloat16")])
    finally:
        keras.config.set_floatx("float32")
    assert values([optimizer._steps])[0] == 257


@pytest.mark.parametrize("make", BOTH)
def test_keras_knows_the_optimizers_by_name(make: Any, tmp_path: Path) -> None:
    for name in (make.__name__, make.__name__.lower()):
        assert type(keras.optimizers.get(name)) is make
        named = keras.optimizers.get({"class_name": name, "config": {"alpha": 0.25}})
        assert (type(named), named.alpha) == (make, 0.25)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name=name)], name=name)
        model.compile(name, "mse")
        model.fit(X, Y, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert (type(again.optimizer), again.name, again.layers[-1].name) == (make, name, name)
        for ours, theirs in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
            assert (values([ours])[0] == values([theirs])[0]).all()
