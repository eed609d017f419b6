"""Step time of inna.jax.inna against optax.sgd with momentum and optax.adamw, paired, all buffers donated.

Run: python benchmarks/step_jax.py [parameters]
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from inna import schedules
from inna.jax import inna, innaprop, schedule

TENSORS = 20


def stepper(optimizer: Any, size: int) -> Callable[[], None]:
    params = [jnp.ones(size // TENSORS) for _ in range(TENSORS)]
    grads = [jnp.full(size // TENSORS, 0.01) for _ in range(TENSORS)]

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    jitted = jax.jit(step, donate_argnums=(0, 1))
    now = [params, optimizer.init(params)]

    def run() -> None:
        now[:] = jax.block_until_ready(jitted(*now, grads))

    return run


def main(size: int, rounds: int = 15) -> None:
    steppers = {
        "sgd": stepper(optax.sgd(0.1, momentum=0.9), size),
        "adam": stepper(optax.adam(1e-3), size),
        "adamw": stepper(optax.adamw(1e-3), size),
        "inna": stepper(inna(0.1), size),
        "inna, inna.jax.schedule": stepper(inna(schedule(schedules.power(0.5), 0.1)), size),
        "inna, optax schedule": stepper(inna(optax.cosine_decay_schedule(0.1, 10_000)), size),
        "innaprop": stepper(innaprop(1e-3), size),
        "innaprop, optax schedule": stepper(innaprop(optax.cosine_decay_schedule(1e-3, 10_000)), size),
    }
    times: dict[str, list[float]] = {name: [] for name in steppers}
    repeats = max(2, int(2e7) // size)
    for warm in range(rounds + 1):
        for name, run in steppers.items():
            begin = time.perf_counter()
            for _ in range(repeats):
                run()
            if warm:
                times[name].append((time.perf_counter() - begin) / repeats)
    for name, seconds in times.items():
        sgd, adamw = (
            statistics.median(t / base for t, base in zip(seconds, times[peer], strict=True))
            for peer in ("sgd", "adamw")
        )
        print(
            f"{name:25s} {1e3 * statistics.median(seconds):8.3f} ms  {sgd:5.2f} x sgd  {adamw:5.2f} x adamw"
        )


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000)
