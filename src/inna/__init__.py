"""INNA, the Inertial Newton Algorithm for deep learning.

Importing this package needs NumPy alone. The rest loads on first use:

- `inna.torch`: the optimizers for PyTorch (extra ``torch``),
- `inna.keras`: the optimizers for Keras 3 on its three backends (extra ``keras``),
- `inna.jax`: the optimizers for JAX, as optax gradient transformations (extra ``jax``),
- `inna.dynamics`: the continuous system, its energies and rates (extra ``theory``),
- `inna.nonsmooth`: Clarke's subdifferential, D, and their critical points (extra ``theory``),
- `inna.lab`: the paper's experiments (extra ``lab``).

Reference: C. Castera, J. Bolte, C. Févotte, E. Pauwels, *An Inertial Newton Algorithm for Deep Learning*,
JMLR 22 (2021).
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from . import hyperparameters, reference, schedules

__version__ = "0.1.0"
__all__ = ["hyperparameters", "reference", "schedules"]

_ON_FIRST_USE = ("dynamics", "jax", "keras", "lab", "nonsmooth", "torch")

if TYPE_CHECKING:
    from . import dynamics as dynamics
    from . import jax as jax
    from . import keras as keras
    from . import lab as lab
    from . import nonsmooth as nonsmooth
    from . import torch as torch
else:

    def __getattr__(name: str) -> ModuleType:
        if name in _ON_FIRST_USE:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
