"""INNA with Flax NNX. Run: python examples/jax_flax.py."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

from inna.jax import inna

images, labels = load_digits(return_X_y=True)
images, labels = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)


class Network(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.inner = nnx.Linear(64, 32, rngs=rngs)
        self.outer = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        return self.outer(jax.nn.relu(self.inner(x)))


def loss(model):
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


@nnx.jit
def step(model, optimizer):
    optimizer.update(model, nnx.grad(loss)(model))


model = Network(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, inna(0.3), wrt=nnx.Param)
before = loss(model)
for _ in range(200):
    step(model, optimizer)
print(f"loss {before:.4f} -> {loss(model):.4f}")
