"""The spaces that trials are drawn from, for optimizers whose ranges are not given.

They are this laboratory's, and wide: a report says when the best trial lies at an end. AdamW's betas are in
them because its defaults are seldom its best (arXiv 2509.01440, 2505.21829). INNA and INNAprop are drawn by
long-run step, memory and direct share (docs/relatives.md): lr means what it does for SGD and for AdamW. What
the others' own papers recommend is inside of their spaces: Lion arXiv 2302.06675 (a third to a tenth of
AdamW's lr, more decay), Muon 2502.16982 (AdamW's lr), AdEMAMix 2409.03137, schedule-free 2405.15682 (a
constant lr of 1 to 10 times AdamW's), Prodigy 2306.06101 (lr 1, d_coef .5 to 2), Adafactor 1804.04235.
"""

from collections.abc import Collection
from typing import Any

__all__ = ["SPACES", "known"]

SMALL = {"low": 1e-4, "high": 3e-2, "log": True}
LARGE = {"low": 1e-2, "high": 3.0, "log": True}
BETAS = {"choices": [[beta1, beta2] for beta1 in (0.8, 0.9, 0.95) for beta2 in (0.95, 0.99, 0.999)]}
DECAY = {"choices": [0.0, 0.01, 0.1]}
MEMORY = {"low": 3.0, "high": 100.0, "log": True}
SCHEDULE_FREE = {
    "lr": {"low": 1e-3, "high": 0.1, "log": True},
    "betas": {"choices": [[0.9, 0.999], [0.95, 0.99], [0.98, 0.999]]},
    "weight_decay": DECAY,
}
DIRECT = {"low": 0.05, "high": 0.5, "log": True}

SPACES: dict[str, dict[str, Any]] = {
    "sgd": {"lr": LARGE, "momentum": {"choices": [0.0, 0.8, 0.9, 0.95, 0.98]}},
    "adagrad": {"lr": {"low": 1e-3, "high": 0.3, "log": True}},
    "adam": {"lr": SMALL, "betas": BETAS},
    "adamw": {"lr": SMALL, "betas": BETAS, "weight_decay": DECAY},
    "nadam": {"lr": SMALL, "betas": BETAS},
    "radam": {"lr": SMALL, "betas": BETAS},
    "adafactor": {"lr": {"low": 1e-3, "high": 0.3, "log": True}, "weight_decay": DECAY},
    "muon": {"lr": SMALL, "momentum": {"choices": [0.9, 0.95, 0.98]}, "weight_decay": DECAY},
    "lion": {
        "lr": {"low": 1e-5, "high": 3e-3, "log": True},
        "betas": {"choices": [[0.9, 0.99], [0.95, 0.98]]},
        "weight_decay": {"choices": [0.0, 0.1, 1.0]},
    },
    "ademamix": {
        "lr": SMALL,
        "betas": {
            "choices": [[0.9, beta2, beta3] for beta2 in (0.99, 0.999) for beta3 in (0.99, 0.999, 0.9999)]
        },
        "alpha": {"low": 1.0, "high": 10.0, "log": True},
        "weight_decay": DECAY,
        "weight_decouple": {"choices": [True]},
    },
    "adamwschedulefree": SCHEDULE_FREE,
    "schedulefreeadamw": SCHEDULE_FREE,
    "prodigy": {
        "lr": {"low": 0.3, "high": 3.0, "log": True},
        "d_coef": {"low": 0.3, "high": 3.0, "log": True},
        "weight_decay": DECAY,
    },
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


def known(optimizer: str, given: Collection[str]) -> dict[str, Any] | None:
    """The ranges of an optimizer for what is not given; None if it is not in `SPACES`.

    Example:
        >>> list(known("torch.optim.AdamW", {"betas"}))
        ['lr', 'weight_decay']
    """
    ranges = SPACES.get(optimizer.rpartition(".")[2].lower())
    if ranges is None:
        return None
    spared = {"memory", "direct"} if {"alpha", "beta"} & {*given} else set()
    return {name: ranges[name] for name in ranges if name not in {*given, *spared}}
