"""INNA in a pure JAX step of a Keras model. Run: KERAS_BACKEND=jax python examples/keras_stateless.py."""

from functools import partial

import jax
import keras
from sklearn.datasets import load_digits

from inna.keras import INNA

images, labels = load_digits(return_X_y=True)
images = images.astype("float32") / 16

keras.utils.set_random_seed(0)
layers = [keras.Input((64,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)]
model = keras.Sequential(layers)
optimizer = INNA(0.3, alpha=0.5, beta=0.1)
optimizer.build(model.trainable_variables)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def loss(weights, rest):
    logits, rest = model.stateless_call(weights, rest, images, training=True)
    return loss_of(labels, logits), rest


@partial(jax.jit, donate_argnums=(0, 2))  # weights and the optimizer's state are updated in place
def step(weights, rest, state):
    (value, rest), gradients = jax.value_and_grad(loss, has_aux=True)(weights, rest)
    weights, state = optimizer.stateless_apply(state, gradients, weights)
    return value, weights, rest, state


weights = [variable.value for variable in model.trainable_variables]
rest = [variable.value for variable in model.non_trainable_variables]
state = [variable.value for variable in optimizer.variables]
losses = []
for _ in range(200):
    value, weights, rest, state = step(weights, rest, state)
    losses.append(float(value))
for variable, value in zip(model.trainable_variables, weights, strict=True):
    variable.assign(value)
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
