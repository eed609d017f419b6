"""For XLA on CPUs alone: an order of computation in which nothing is copied and nothing stored twice.

One step reads the momentum and the direction twice, for theta and for the next u. On a CPU XLA makes a loop
of each, copies the momentum if it cannot tell which loop runs first, and stores a direction that both read.
On other devices one kernel writes both, so there these functions change nothing.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
import optax

__all__ = ["after", "apart"]

T = TypeVar("T")


def after(params: optax.Params | None, deltas: optax.Updates, scalars: T) -> optax.Updates:
    """For each delta the scalars, which on a CPU wait until theta + delta is there."""
    leaves, treedef = jax.tree.flatten(deltas)
    if params is None or jax.tree.structure(params) != treedef:
        return treedef.unflatten([scalars] * len(leaves))

    def waiting(theta: jax.Array, scalars: T) -> optax.Updates:
        theta = jax.lax.optimization_barrier(jax.lax.stop_gradient(theta))
        never = theta[(0,) * theta.ndim].real.astype(jnp.float32) > jnp.inf
        return jax.tree.map(lambda x: jnp.where(never, 0, x), scalars)

    def ordered(theta: jax.Array, delta: jax.Array) -> optax.Updates:
        if jnp.result_type(theta) != delta.dtype or delta.size == 0 or is_split(delta):
            return scalars
        # The same sum as in optax.apply_updates: it is computed once.
        return jax.lax.platform_dependent(theta + delta, scalars, cpu=waiting, default=lambda _, x: x)

    return treedef.unflatten(map(ordered, jax.tree.leaves(params), leaves))


def is_split(x: jax.Array) -> bool:
    """Whether its type says that it is split over devices, so that no one of them has its first value."""
    return hasattr(jax, "typeof") and any(axis is not None for axis in jax.typeof(x).sharding.spec)


def apart(scalars: T) -> T:
    """The scalars; what is computed from them on a CPU is not taken from what was computed before."""
    barrier = jax.lax.optimization_barrier
    same: T = jax.lax.platform_dependent(scalars, cpu=barrier, default=lambda x: x)
    return same
