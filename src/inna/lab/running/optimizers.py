"""The optimizers and the decays of the step that a plan names."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ... import schedules
from ..imports import imported

__all__ = ["build", "decay", "resolve"]

FAMILIES = [name for name in schedules.__all__ if name not in ("Admissibility", "Schedule", "admissible")]
FASTEST_ON_CPU = {
    "INNA": "foreach",
    "INNAprop": "foreach",
    "Adam": "fused",
    "AdamW": "fused",
    "Adagrad": "fused",
}
"""Of the implementations that need no compiler; on a GPU the optimizers choose well themselves."""


def build(name: str, params: Iterable[Tensor], lr: float, options: dict[str, Any]) -> torch.optim.Optimizer:
    """Make an optimizer; on a CPU the fastest of its implementations, unless the options name one.

    Raises:
        ValueError: there is no such optimizer, or it refuses its options.
    """
    cls = resolve(name)
    params = list(params)
    known = cls.__module__.startswith(("inna.torch.", "torch.optim."))
    flag = FASTEST_ON_CPU.get(cls.__name__) if known and params[0].device.type == "cpu" else None
    flags = (
        {flag: True}
        if flag and not {"foreach", "fused", "capturable", "differentiable"} & set(options)
        else {}
    )
    try:
        optimizer: torch.optim.Optimizer = cls(params, lr=lr, **flags, **options)
    except ValueError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's class does
        kind = "" if type(error) is TypeError else f"{type(error).__name__}: "
        raise ValueError(f"{name} does not take these options: {kind}{error}") from None
    return optimizer


def resolve(name: str) -> Any:
    """The class behind a dotted path, or behind a bare name in `inna.torch` or `torch.optim` in any case.

    Raises:
        ValueError: there is no such optimizer.

    Example:
        >>> resolve("inna").__name__, resolve("torch.optim.Adam").__name__
        ('INNA', 'Adam')
    """
    module, _, attribute = name.rpartition(".")
    if not module:
        for place in ("inna.torch", "torch.optim"):
            for key, value in vars(__import__(place, fromlist=["_"])).items():
                if key.lower() == attribute.lower() and _is_optimizer(value):
                    return value
    else:
        try:
            value = imported(name)
        except ValueError as error:
            raise ValueError(f"unknown optimizer {name!r}: {error}") from None
        if _is_optimizer(value):
            return value
    raise ValueError(
        f"unknown optimizer {name!r}: give a class with a step, such as torch.optim.Adam or inna.torch.INNA"
    )


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, type) and hasattr(value, "step")


def decay(q: float, schedule: str | dict[str, Any] | None) -> Callable[[int], float]:
    """The factor of gamma_0 at iteration k = 0, 1, ...: (k + 1)^-q, unless a schedule is named.

    Args:
        q: exponent, >= 0.
        schedule: a family of `inna.schedules` with its arguments, ``{"family": "cosine", "steps": 1000}``
            (its name alone if it has none), or the import path of a function of k.

    Raises:
        ValueError: there is no such schedule, or it refuses its arguments, or gives no number at k = 0.

    Example:
        >>> decay(0.5, None)(3), decay(0.0, {"family": "linear", "steps": 4})(1)
        (0.5, 0.75)
    """
    factor = schedules.power(q) if schedule is None else _schedule(schedule)
    try:
        sound = math.isfinite(factor(0)) and factor(0) >= 0
    except (Exception, SystemExit) as error:  # whatever the user's function does
        raise ValueError(f"schedule {schedule!r} fails at k = 0 ({type(error).__name__}: {error})") from None
    if not sound:
        raise ValueError(f"schedule {schedule!r} must give a factor >= 0 at k = 0, got {factor(0)}")
    return factor


def _schedule(spec: Any) -> Callable[[int], float]:
    if isinstance(spec, str) and "." in spec:
        function: Callable[[int], float] = imported(spec)
        if not callable(function):
            raise ValueError(f"schedule {spec!r} is no function of k: {function!r}")
        return function
    arguments = dict(spec) if isinstance(spec, dict) else {"family": spec}
    family = arguments.pop("family", None)
    if family not in FAMILIES:
        raise ValueError(
            f"unknown schedule {family!r}: give a family, one of {', '.join(FAMILIES)}, or the import path "
            "of a function of k"
        )
    cls = getattr(schedules, family)
    wanted = list(inspect.signature(cls).parameters)
    if "then" in arguments:
        arguments["then"] = _schedule(arguments["then"])
    try:
        made: Callable[[int], float] = cls(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"schedule {family}({', '.join(wanted)}): {error}") from None
    return made
