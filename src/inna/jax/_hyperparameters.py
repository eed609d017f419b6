"""What a hyperparameter may be: a number, or an optax schedule."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from .. import schedules
from ._dtypes import wide

__all__ = ["at", "checked", "schedule"]


@dataclass(frozen=True)
class schedule:
    r"""An optax schedule from one of `inna.schedules`: :math:`\gamma_k = \gamma_0 f(k)`.

    Args:
        f: a schedule of `inna.schedules`.
        lr: gamma_0, >= 0.

    Example:
        >>> import inna
        >>> optimizer = inna.jax.inna(schedule(inna.schedules.power(0.5), lr=0.1))

    Reference: Castera et al. (2021), Section 5.2 and Figure 4.
    """

    f: schedules.Schedule
    lr: float | jax.Array

    def __post_init__(self) -> None:
        checked("lr", self.lr)

    def __call__(self, count: jax.typing.ArrayLike) -> jax.Array:
        """gamma_k for the k of `count`."""
        value: jax.Array = self.lr * self.f(count, jnp)
        return value


def at(name: str, value: optax.ScalarOrSchedule, count: jax.Array) -> jax.Array:
    """The value at this count, in at least 32 bits: in 16, 1 - alpha lr is 1."""
    value = jnp.asarray(value(count) if callable(value) else value)
    if value.size != 1:
        raise ValueError(f"{name} must be a scalar, got shape {value.shape}")
    return value.reshape(()).astype(wide(value))


def checked(
    name: str, value: optax.ScalarOrSchedule, *, may_be_schedule: bool = False, below_1: bool = False
) -> optax.ScalarOrSchedule:
    """A float in [0, inf) or [0, 1); tracers and, where allowed, schedules pass as they are."""
    if may_be_schedule and callable(value):
        return value
    if below_1 and jnp.result_type(value).itemsize < 4 and hasattr(value, "dtype"):
        raise ValueError(
            f"{name} must have 32 bits or more, got {value.dtype}, in which .999 is 1; "
            "with optax.inject_hyperparams pass hyperparam_dtype=jax.numpy.float32"
        )
    if isinstance(value, jax.core.Tracer):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        expected = "a number or a schedule" if may_be_schedule else "a number"
        raise TypeError(f"{name} must be {expected}, got {value!r}") from None
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} must be finite and non-negative, got {value}")
    if below_1 and number >= 1:
        raise ValueError(f"{name} must be less than 1, got {number}")
    return number
