"""Keras's fit on real digits, and going on after a break; test_keras.py runs it for each backend."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from inna import schedules
from inna.keras import INNA, INNAprop, schedule

BACKEND = keras.backend.backend()
FIT = {"batch_size": 32, "shuffle": False, "verbose": 0}


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn")
    images, labels = datasets.load_digits(return_X_y=True)
    return images[:count].astype("float32") / 16, labels[:count]


def network(optimizer: Any, dropout: float = 0.0) -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((64,)), keras.layers.Dense(32, activation="relu")]
    layers += [keras.layers.Dropout(dropout, seed=0)] if dropout else []
    model = keras.Sequential([*layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize("make", [lambda: INNA(schedule(schedules.power(0.25), 0.3)), lambda: INNAprop(0.01)])
def test_real_digits_are_learned(make: Callable[[], Any]) -> None:
    history = network(make()).fit(*digits(640), epochs=8, batch_size=64, verbose=0)
    assert history.history["accuracy"][-1] > 0.9


INTERRUPTED: dict[str, Callable[[], Any]] = {
    "INNA": lambda: network(
        INNA(schedule(schedules.power(0.25), 0.3), weight_decay=0.01, gradient_accumulation_steps=3), 0.3
    ),
    "INNAprop": lambda: network(INNAprop(0.01, weight_decay=0.1, gradient_accumulation_steps=3), 0.3),
    "averages": lambda: network(
        INNA(0.3, weight_decay=0.01, gradient_accumulation_steps=3, use_ema=True, ema_momentum=0.9)
    ),
}
if BACKEND == "jax":
    del INTERRUPTED["averages"]  # see the last test

GO_ON = """
import sys
from pathlib import Path
import keras, numpy as np, inna.keras
folder = Path(sys.argv[1])
with np.load(folder / "digits.npz") as data:
    x, y = data["x"], data["y"]
for saved in folder.glob("*.keras"):
    model = keras.saving.load_model(saved)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):  # Keras does not save its random state
            layer.seed_generator.state.assign(np.load(saved.with_suffix(".npy")))
    model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    np.savez(saved.with_suffix(".npz"), *model.get_weights())
"""


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """For each case the weights without a break, and those with one, in the same number of steps."""
    folder: Path = tmp_path_factory.mktemp("resumed")
    x, y = digits(320)
    np.savez(folder / "digits.npz", x=x, y=y)
    unbroken = {}
    for name, make in INTERRUPTED.items():
        model = make()
        model.fit(x, y, **FIT)  # 10 micro-steps: the break is amid an accumulation
        model.save(folder / f"{name}.keras")
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                np.save(folder / f"{name}.npy", ops.convert_to_numpy(layer.seed_generator.state))
        model.fit(x, y, **FIT)
        unbroken[name] = model.get_weights()
    done = subprocess.run([sys.executable, "-c", GO_ON, folder], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    broken = {}
    for name in INTERRUPTED:
        with np.load(folder / f"{name}.npz") as weights:
            broken[name] = [weights[file] for file in weights.files]
    return {name: (unbroken[name], broken[name]) for name in INTERRUPTED}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_training_goes_on_bit_identically_in_a_new_process(name: str, resumed: Any) -> None:
    for whole, with_break in zip(*resumed[name], strict=True):
        np.testing.assert_array_equal(with_break, whole)


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX's")
@pytest.mark.skipif(not keras.__version__.startswith("3.15."), reason="a fault of Keras 3.15")
def test_with_averages_keras_own_sgd_cannot_go_on_either() -> None:
    model = network(keras.optimizers.SGD(0.1, use_ema=True))
    model.fit(*digits(64), **FIT)
    with pytest.raises(Exception, match=r"donate the same buffer twice|'NoneType' object is not callable"):
        model.fit(*digits(64), **FIT)
