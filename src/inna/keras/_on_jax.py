"""What INNA asks of JAX: a callable's value in compiled code, and an order for XLA on CPUs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax.experimental import io_callback

__all__ = ["after", "now"]


def now(function: Callable[[], Any], example: Any) -> Any:
    """The function's value; in compiled code, which traces `example`, asked for again at every step."""
    value = function()
    if isinstance(value, jax.core.Tracer) or not isinstance(example, jax.core.Tracer):
        return value
    dtype = jnp.result_type(float)
    shape = jax.ShapeDtypeStruct((), dtype)
    return io_callback(lambda: keras.ops.convert_to_numpy(function()).astype(dtype).reshape(()), shape)


def after(theta: Any, scalars: Any) -> Any:
    """The scalars, which on a CPU wait until theta is there.

    Theta and the next u both read u. XLA on a CPU computes one after the other and, if it cannot tell which
    is first, copies u; elsewhere one kernel computes both.
    """
    if theta.size == 0:
        return scalars

    def waiting(theta: Any, scalars: Any) -> Any:
        never = jax.lax.optimization_barrier(theta)[(0,) * theta.ndim] > jnp.inf
        return jax.tree.map(lambda x: jnp.where(never, jnp.zeros_like(x), x), scalars)

    return jax.lax.platform_dependent(theta, scalars, cpu=waiting, default=lambda _, x: x)
