"""INNA in a loop of one's own on TensorFlow. Run: KERAS_BACKEND=tensorflow python examples/keras_tape.py."""

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

from inna.keras import INNA

images, labels = load_digits(return_X_y=True)
batches = tf.data.Dataset.from_tensor_slices((images.astype("float32") / 16, labels)).batch(64)

keras.utils.set_random_seed(0)
layers = [keras.Input((64,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)]
model = keras.Sequential(layers)
optimizer = INNA(0.3, alpha=0.5, beta=0.1)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@tf.function
def step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return loss


losses = []
for _ in range(4):
    losses.append(sum(float(step(x, y)) for x, y in batches) / len(batches))
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
