"""INNA in Keras's fit, on any backend. Run: KERAS_BACKEND=jax python examples/keras_fit.py."""

import keras
from sklearn.datasets import load_digits

from inna import schedules
from inna.keras import INNA, schedule

images, labels = load_digits(return_X_y=True)
images = images.astype("float32") / 16

keras.utils.set_random_seed(0)
layers = [keras.Input((64,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)]
model = keras.Sequential(layers)
optimizer = INNA(schedule(schedules.power(0.25), lr=0.3), alpha=0.5, beta=0.1, weight_decay=1e-4)
model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

before = model.evaluate(images, labels, verbose=0)
model.fit(images, labels, epochs=4, batch_size=64, verbose=0)
print(f"{keras.backend.backend()}: loss {before:.4f} -> {model.evaluate(images, labels, verbose=0):.4f}")
