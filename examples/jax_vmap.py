"""A grid of alpha, beta and seeds trained as one program. Run: python examples/jax_vmap.py."""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

from inna.jax import inna

images, labels = load_digits(return_X_y=True)
images, labels = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)
STEPS, BATCH = 300, 32


def loss(params, x, y):
    hidden = jax.nn.relu(x @ params["in"])
    return optax.softmax_cross_entropy_with_integer_labels(hidden @ params["out"], y).mean()


def train(alpha, beta, seed):
    """The training loss before and after STEPS mini-batches."""
    optimizer = inna(0.3, alpha, beta)
    keys = jax.random.split(jax.random.key(seed), 3)
    glorot = jax.nn.initializers.glorot_normal()
    params = {"in": glorot(keys[0], (64, 32)), "out": glorot(keys[1], (32, 10))}

    def step(carry, batch):
        params, state = carry
        grads = jax.grad(loss)(params, images[batch], labels[batch])
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    batches = jax.random.randint(keys[2], (STEPS, BATCH), 0, len(images))
    (trained, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), batches)
    return loss(params, images, labels), loss(trained, images, labels)


alphas, betas = jnp.array([0.1, 0.5, 0.5]), jnp.array([0.1, 0.1, 1.0])
over_seeds = jax.vmap(train, in_axes=(None, None, 0))
over_all = jax.jit(jax.vmap(over_seeds, in_axes=(0, 0, None)))
before, after = over_all(alphas, betas, jnp.arange(3))
for alpha, beta, row in zip(alphas, betas, after, strict=True):
    print(f"alpha {alpha:.1f}, beta {beta:.1f}: {row.mean():.4f} +- {row.std():.4f} over {row.size} seeds")
print(f"loss {before.mean():.4f} -> {after.mean():.4f}")
