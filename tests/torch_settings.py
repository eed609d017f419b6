"""The table that drives the contract tests: both optimizers, their settings, the implementations."""

from typing import Any, NamedTuple

import torch

from inna.torch import INNA, INNAprop


class Case(NamedTuple):
    """An optimizer and options for it."""

    cls: type[INNA] | type[INNAprop]
    options: dict[str, Any]

    def __call__(self, params: Any, **more: Any) -> INNA | INNAprop:
        return self.cls(params, **{**self.options, **more})

    def __str__(self) -> str:
        words = [
            f"{k}={v}" if not isinstance(v, torch.Tensor) else f"tensor_{k}" for k, v in self.options.items()
        ]
        return "-".join([self.cls.__name__, *words])


_SHARED: list[dict[str, Any]] = [
    {},
    {"lr": 0.01, "weight_decay": 0.1},
    {"lr": 0.01, "weight_decay": 0.1, "maximize": True},
    {"alpha": 1.5, "beta": 0.3, "initial_speed": 0.0},
    {"lr": 0.01, "alpha": 0.0, "beta": 0.0},
    {"lr": 0.01, "kahan_sum": True, "weight_decay": 0.1},
    {"lr": 0.01, "capturable": True},
    {"lr": torch.tensor(0.01)},
    {"lr": torch.tensor(0.01), "capturable": True, "weight_decay": 0.1},
]
CASES = [
    *(Case(INNA, o) for o in _SHARED),
    Case(INNA, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    *(Case(INNAprop, {"lr": 0.01, **o}) for o in _SHARED),
    Case(INNAprop, {"lr": 0.01, "sigma": 0.9, "eps": 1e-3, "initial_speed": 1.0}),
]
IMPLEMENTATIONS: dict[str, dict[str, Any]] = {
    "loop": {},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
BOTH = [Case(INNA, {"lr": 0.05}), Case(INNAprop, {"lr": 0.01})]
