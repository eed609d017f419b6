"""Step time of inna.keras.INNA against Keras's SGD with momentum and Adam, paired, on KERAS_BACKEND.

Run: KERAS_BACKEND=jax python benchmarks/step_keras.py [parameters]
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from inna.keras import INNA, INNAprop

TENSORS = 20


def stepper(optimizer: Any, size: int) -> Callable[[], None]:
    params = [keras.Variable(ops.ones((size // TENSORS,))) for _ in range(TENSORS)]
    grads = [ops.full((size // TENSORS,), 0.01) for _ in range(TENSORS)]
    optimizer.build(params)
    if keras.backend.backend() == "jax":
        import jax

        def stateless(values: Any, state: Any, grads: Any) -> Any:
            return optimizer.stateless_apply(state, grads, values)

        jitted = jax.jit(stateless, donate_argnums=(0, 1))
        now = [[p.value for p in params], [x.value for x in optimizer.variables]]

        def on_jax() -> None:
            now[:] = jax.block_until_ready(jitted(*now, grads))

        return on_jax
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        traced = tf.function(lambda: optimizer.apply(grads, params))
        return lambda: traced() and None
    return lambda: optimizer.apply(grads, params)


def main(size: int, rounds: int = 15) -> None:
    steppers = {
        "SGD": stepper(keras.optimizers.SGD(0.1, momentum=0.9), size),
        "Adam": stepper(keras.optimizers.Adam(1e-3), size),
        "INNA": stepper(INNA(0.1), size),
        "INNAprop": stepper(INNAprop(1e-3, weight_decay=None), size),
    }
    times: dict[str, list[float]] = {name: [] for name in steppers}
    repeats = max(2, int(2e7) // size)
    for warm in range(rounds + 1):
        for name, step in steppers.items():
            begin = time.perf_counter()
            for _ in range(repeats):
                step()
            if warm:
                times[name].append((time.perf_counter() - begin) / repeats)
    for name, seconds in times.items():
        sgd, adam = (
            statistics.median(t / base for t, base in zip(seconds, times[peer], strict=True))
            for peer in ("SGD", "Adam")
        )
        print(f"{name:9s} {1e3 * statistics.median(seconds):8.3f} ms  {sgd:5.2f} x SGD  {adam:5.2f} x Adam")


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000)
