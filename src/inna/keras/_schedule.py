"""A Keras schedule from one of `inna.schedules`, saved and loaded with its optimizer."""

import dataclasses
from typing import Any

import keras
from keras import ops

from .. import schedules

__all__ = ["schedule"]


@keras.saving.register_keras_serializable(package="inna")
class schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    r"""A Keras schedule from one of `inna.schedules`: :math:`\gamma_k = \gamma_0 f(k)`.

    Args:
        f: a schedule of `inna.schedules`.
        lr: gamma_0.

    Example:
        >>> import inna
        >>> optimizer = inna.keras.INNA(schedule(inna.schedules.power(0.5), lr=0.1))

    Reference: Castera et al. (2021), Section 5.2 and Figure 4.
    """

    def __init__(self, f: schedules.Schedule, lr: float) -> None:
        self.f, self.lr = f, lr

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        k = ops.cast(step, keras.config.floatx())
        return self.lr * ops.cast(self.f(k, ops), k.dtype)

    def get_config(self) -> dict[str, object]:
        """The family's name and fields, and lr."""
        return {"f": _family_to_config(self.f), "lr": self.lr}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "schedule":
        """The schedule with this configuration."""
        return cls(_family_from_config(config["f"]), config["lr"])


def _family_to_config(f: Any) -> dict[str, Any]:
    if type(f).__name__ not in schedules.__all__:
        raise ValueError(f"only the schedules of inna.schedules can be saved, got {f!r}")
    values = {field.name: getattr(f, field.name) for field in dataclasses.fields(f)}
    return {
        "family": type(f).__name__,
        **{k: _family_to_config(x) if isinstance(x, schedules.Schedule) else x for k, x in values.items()},
    }


def _family_from_config(config: dict[str, Any]) -> Any:
    family, values = config["family"], {k: x for k, x in config.items() if k != "family"}
    if family not in schedules.__all__:
        raise ValueError(f"inna.schedules has no schedule {family!r}")
    values = {k: _family_from_config(x) if isinstance(x, dict) else x for k, x in values.items()}
    return getattr(schedules, family)(**values)
