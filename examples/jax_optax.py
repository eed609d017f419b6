"""INNA in a plain optax loop: logistic regression on 8x8 digits. Run: python examples/jax_optax.py."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

from inna import schedules
from inna.jax import inna, schedule

images, labels = load_digits(return_X_y=True)
images, labels = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)
params = {"weights": jnp.zeros((64, 10)), "bias": jnp.zeros(10)}
optimizer = inna(schedule(schedules.power(0.25), lr=0.5), alpha=0.5, beta=0.1, weight_decay=1e-4)


def loss(params):
    logits = images @ params["weights"] + params["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@partial(jax.jit, donate_argnums=(0, 1))  # parameters and state are updated in place
def step(params, state):
    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state


before = loss(params)
state = optimizer.init(params)
for _ in range(200):
    params, state = step(params, state)
print(f"loss {before:.4f} -> {loss(params):.4f}")
