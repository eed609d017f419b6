"""Twins of Keras's own optimizer tests, under their names; docs/keras_parity.md lists them all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from inna.keras import INNA, INNAprop

BACKEND = keras.backend.backend()
START = [[1.0, 2.0], [3.0, 4.0]]
each_optimizer = pytest.mark.parametrize("make", [INNA, INNAprop])
of_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow's")


def ones() -> Any:
    return ops.ones((2, 2))


def stepped(optimizer: Any, steps: int = 1, gradient: Any = None) -> Any:
    theta = keras.Variable(START)
    for _ in range(steps):
        optimizer.apply([ones() if gradient is None else gradient], [theta])
    return theta


def assert_close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(
        ops.convert_to_numpy(actual), ops.convert_to_numpy(expected), rtol=1e-5, atol=1e-6
    )


@each_optimizer
def test_iterations_counter(make: Any) -> None:
    optimizer = make(0.1)
    for count in range(3):
        assert int(optimizer.iterations) == count
        stepped(optimizer) if count == 0 else optimizer.apply([ones()])


@each_optimizer
def test_empty_gradients(make: Any) -> None:
    still, moving, optimizer = keras.Variable(START), keras.Variable(START), make(0.1)
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        optimizer.apply_gradients([(None, still)])
    optimizer = make(0.1, weight_decay=None)
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        optimizer.apply_gradients([(None, still), (ones(), moving)])
    assert_close(still, START)
    assert_close(moving, stepped(make(0.1, weight_decay=None)))


@each_optimizer
def test_clip_args(make: Any) -> None:
    for name in ("clipnorm", "clipvalue", "global_clipnorm"):
        assert getattr(make(**{name: 0.1}), name) == 0.1
        other = "clipvalue" if name == "clipnorm" else "clipnorm"
        with pytest.raises(ValueError, match="Only one of `clipnorm`, `clipvalue` and `global_clipnorm`"):
            make(**{name: 0.1, other: 0.1})


@each_optimizer
def test_ema_overwrite_frequency(make: Any) -> None:
    averaged = make(0.1, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2)
    theta = keras.Variable(START)
    averaged.apply([ones()], [theta])
    first = stepped(make(0.1))
    assert_close(theta, first)
    averaged.apply([ones()], [theta])
    average = 0.9 * ops.convert_to_numpy(first) + 0.1 * ops.convert_to_numpy(stepped(make(0.1), 2))
    assert_close(theta, average)
    assert_close(averaged._model_variables_moving_average[0], average)


@each_optimizer
def test_ema_with_model_fit(make: Any) -> None:
    model = keras.Sequential([keras.layers.Dense(2, kernel_initializer="ones", use_bias=False)])
    model.compile(loss="mse", optimizer=make(0.1, use_ema=True, ema_momentum=0.9), run_eagerly=True)
    model.fit(np.ones((1, 1)), np.zeros((1, 1)), batch_size=1, epochs=2, verbose=0)
    (kernel,) = model.trainable_variables
    assert_close(kernel, model.optimizer._model_variables_moving_average[0])
    assert (ops.convert_to_numpy(kernel) < 1).all()


@each_optimizer
def test_get_method(make: Any) -> None:
    named = {"class_name": f"inna>{make.__name__}", "config": {"alpha": 0.25}}
    optimizer = keras.optimizers.get(named)
    assert type(optimizer) is make
    assert optimizer.alpha == 0.25
    assert keras.optimizers.get(optimizer) is optimizer


@each_optimizer
def test_set_weights(make: Any) -> None:
    first, second = make(0.1), make(0.1)
    stepped(first)
    with pytest.raises(ValueError, match="You are calling"):
        second.set_weights(first.variables)
    second.build([keras.Variable(START)])
    second.set_weights(first.variables)
    for ours, theirs in zip(first.variables, second.variables, strict=True):
        assert_close(ours, theirs)


@of_tensorflow
@each_optimizer
def test_tf_checkpointing(make: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    x, y = np.random.default_rng(0).random((2, 1, 2), dtype=np.float32)
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile(make(0.1), "mse")
    model.train_on_batch(x, y)
    saved = tf.train.Checkpoint(model, optimizer=model.optimizer).save(str(tmp_path / "checkpoint"))
    model.train_on_batch(x, y)
    after = model.get_weights()
    tf.train.Checkpoint(model, optimizer=model.optimizer).restore(saved)
    model.train_on_batch(x, y)
    for again, weight in zip(model.get_weights(), after, strict=True):
        np.testing.assert_array_equal(again, weight)


@each_optimizer
@pytest.mark.parametrize("accumulated", [None, 2])
def test_overwrite_with_gradient(make: Any, accumulated: int | None) -> None:
    replaced, updated = keras.Variable(START), keras.Variable(START)
    replaced.overwrite_with_gradient = True
    optimizer = make(0.1, gradient_accumulation_steps=accumulated)
    for _ in range(accumulated or 1):
        optimizer.apply_gradients([(ones(), replaced), (ones(), updated)])
    assert_close(replaced, ones())
    assert_close(updated, stepped(make(0.1)))


@each_optimizer
def test_gradient_accumulation_with_weigth_decay(make: Any) -> None:
    whole, parts = make(0.1, weight_decay=0.05), make(0.1, weight_decay=0.05, gradient_accumulation_steps=3)
    theta, same = keras.Variable([[0.9], [0.5]]), keras.Variable([[0.9], [0.5]])
    for gradients in np.random.default_rng(0).random((3, 3, 2, 1), dtype=np.float32):
        whole.apply([ops.convert_to_tensor(gradients.mean(axis=0))], [theta])
        for gradient in gradients:
            parts.apply([ops.convert_to_tensor(gradient)], [same])
    assert_close(theta, same)


@each_optimizer
def test_setting_lr_to_callable_untracks_lr_var(make: Any) -> None:
    optimizer = make(0.1)
    assert len(optimizer.variables) == 2
    optimizer.learning_rate = keras.optimizers.schedules.PolynomialDecay(0.1, 4)
    assert len(optimizer.variables) == 1


@of_tensorflow
@each_optimizer
def test_mixed_with_tf_variables(make: Any) -> None:
    import tensorflow as tf

    ours, theirs, optimizer = keras.Variable(START), tf.Variable(START), make(0.1)
    for count in (1, 2):
        optimizer.apply_gradients([(ones(), ours), (ones(), theirs)])
        assert int(optimizer.iterations) == count
    assert_close(ours, theirs)
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        optimizer.apply_gradients([(ones(), ours), (None, theirs)])


@each_optimizer
def test_optimizer_auto_naming(make: Any) -> None:
    first, second = make(), make()
    assert first.name != second.name
    assert keras.optimizers.deserialize(keras.optimizers.serialize(second)).name == second.name
    assert make(name="mine").name == "mine"


@each_optimizer
def test_build_with_empty_var_list(make: Any) -> None:
    optimizer = make()
    optimizer.build([])
    assert [v.name for v in optimizer.variables] == ["iteration", "learning_rate", "steps"]


@of_tensorflow
@each_optimizer
def test_clipnorm_indexed_slices(make: Any) -> None:
    layers = [keras.layers.Embedding(10, 4), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile(optimizer=make(0.1, clipnorm=100), loss="mse")
    history = model.fit(np.ones((8, 5)), np.ones((8, 2)), epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no sparse gradients on PyTorch")
@each_optimizer
def test_sparse_correctness(make: Any) -> None:
    if BACKEND == "tensorflow":
        import tensorflow as tf

        sparse = tf.IndexedSlices(ops.ones((2, 2)), (0, 2), (3, 2))
    else:
        from jax.experimental.sparse import BCOO

        sparse = BCOO((ops.ones((2, 2)), np.array([[0], [2]])), shape=(3, 2))
    dense = ops.convert_to_tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    ends = []
    for gradient in (sparse, dense):
        theta, optimizer = keras.Variable(ops.ones((3, 2))), make(0.1)
        for _ in range(3):
            optimizer.apply([gradient], [theta])
        ends.append(theta)
    assert_close(*ends)


@each_optimizer
@pytest.mark.parametrize(("gradient", "scale"), [(8.0, 8.0), (np.inf, 4.0)])
def test_finite_step(make: Any, gradient: float, scale: float) -> None:
    inner = make(0.1, loss_scale_factor=100)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(json.loads(json.dumps(config)))
    assert keras.optimizers.serialize(again) == config
    theta = keras.Variable(START)
    optimizer.build([theta])
    state = [variable.value for variable in optimizer.variables]
    if BACKEND == "tensorflow":
        optimizer.apply([gradient * ones()], [theta])  # without it 3.10 moves nothing, be it SGD or Adam
        value = theta
    else:
        (value,), state = optimizer.stateless_apply(state, [gradient * ones()], [theta.value])
        for variable, new in zip(optimizer.variables, state, strict=True):
            variable.assign(new)
    assert_close(value, stepped(make(0.1)) if np.isfinite(gradient) else START)
    assert float(optimizer.scale_loss(1.0)) == scale


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has it since 3.14")
@each_optimizer
def test_multi_optimizer_with_model_fit(make: Any) -> None:
    ours, rest = make(0.1, weight_decay=None), keras.optimizers.SGD(0.0)
    optimizer = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(default_optimizer=rest, optimizer_map={".*ours/.*": ours})
    )
    model = keras.Sequential(
        [keras.layers.Dense(2, name="ours", kernel_initializer="ones"), keras.layers.Dense(1, name="rest")]
    )
    model.compile(loss="mse", optimizer=optimizer)
    model.build((None, 1))
    before = model.get_weights()
    model.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert moved == [True, True, False, False]


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow refuses it: see the next test")
@each_optimizer
def test_stateless_apply(make: Any) -> None:
    theta, optimizer = keras.Variable(START), make(0.1)
    optimizer.build([theta])
    state = [variable.value for variable in optimizer.variables]
    (value,), state = optimizer.stateless_apply(state, [ones()], [theta.value])
    (value,), _ = optimizer.stateless_apply(state, [ones()], [value])
    assert_close(value, stepped(make(0.1), 2))


@of_tensorflow
@each_optimizer
def test_stateless_not_supported(make: Any) -> None:
    theta, optimizer = keras.Variable(START), make(0.1)
    optimizer.build([theta])
    with pytest.raises(ValueError, match="not supported"):
        optimizer.stateless_apply(optimizer.variables, [ones()], [theta])


ON_2_DEVICES = """
import keras, numpy as np, tensorflow as tf
from inna.keras import INNA, INNAprop
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
gradient = tf.constant([1.0, -6.0, 7.0])
for make in (INNA, INNAprop):
    alone, single = keras.Variable([1.0, 2.0, 3.0]), make(0.1, weight_decay=0.1, clipvalue=100.0)
    with strategy.scope():
        mirrored, optimizer = keras.Variable([1.0, 2.0, 3.0]), make(0.1, weight_decay=0.1, clipvalue=100.0)
        optimizer.build([mirrored])

    @tf.function
    def replica():
        optimizer.apply_gradients([(gradient, mirrored)])

    for _ in range(3):
        strategy.run(replica)
        single.apply([2 * gradient], [alone])  # the gradients of the replicas are summed
    np.testing.assert_allclose(mirrored.numpy(), alone.numpy(), rtol=1e-5)
    print("mirrored")
"""


@of_tensorflow
def test_mirrored_strategy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_2_DEVICES], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split() == ["mirrored", "mirrored"], done.stderr
