"""In which dtype a step is computed and a state is kept."""

import jax
import jax.numpy as jnp

__all__ = ["checked_dtype", "wide"]


def wide(x: jax.typing.ArrayLike, dtype: jax.typing.DTypeLike | None = None) -> jnp.dtype:
    """The dtype if one is given, else at least float32, also for integers; complex if x is."""
    own = jnp.result_type(x)
    if jnp.issubdtype(own, jnp.complexfloating):
        dtype = jnp.promote_types(jnp.complex64, dtype or own)
    at_least_32 = own if own == jnp.float64 else jnp.float32
    final: jnp.dtype = jnp.dtype(dtype or at_least_32)
    return final


def checked_dtype(dtype: jax.typing.DTypeLike | None) -> jax.typing.DTypeLike | None:
    """The dtype of a state, which must be able to hold fractions."""
    if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"state_dtype must be None or a floating point dtype, got {dtype}")
    return dtype
