"""The spaces that `inna compare --trials` draws from, for optimizers whose ranges are not given.

They are this laboratory's, and wide: a report says when the best trial lies at an end. AdamW's betas are in
them because its defaults are seldom its best (arXiv 2509.01440, 2505.21829). INNA and INNAprop are drawn by
long-run step, memory and direct share (docs/relatives.md): lr means what it does for SGD and for AdamW.
"""

from typing import Any

__all__ = ["SPACES"]

SMALL = {"low": 1e-4, "high": 3e-2, "log": True}
LARGE = {"low": 1e-2, "high": 3.0, "log": True}
BETAS = {"choices": [[beta1, beta2] for beta1 in (0.8, 0.9, 0.95) for beta2 in (0.95, 0.99, 0.999)]}
DECAY = {"choices": [0.0, 0.01, 0.1]}
MEMORY = {"low": 3.0, "high": 100.0, "log": True}
DIRECT = {"low": 0.05, "high": 0.5, "log": True}

SPACES: dict[str, dict[str, Any]] = {
    "sgd": {"lr": LARGE, "momentum": {"choices": [0.0, 0.8, 0.9, 0.95, 0.98]}},
    "adagrad": {"lr": {"low": 1e-3, "high": 0.3, "log": True}},
    "adam": {"lr": SMALL, "betas": BETAS},
    "adamw": {"lr": SMALL, "betas": BETAS, "weight_decay": DECAY},
    "nadam": {"lr": SMALL, "betas": BETAS},
    "radam": {"lr": SMALL, "betas": BETAS},
    "inna": {"lr": LARGE, "memory": MEMORY, "direct": DIRECT},
    "innaprop": {
        "lr": SMALL,
        "memory": MEMORY,
        "direct": DIRECT,
        "sigma": {"choices": [0.95, 0.99, 0.999]},
        "weight_decay": DECAY,
    },
}
"""By the last part of the optimizer's name, in small letters."""
