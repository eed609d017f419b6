"""Keras's own tests of what all optimizers share, with INNA and INNAprop in place of SGD, Adam and AdamW.

Keras's wheel brings the tests. With `KERAS_BACKEND` torch, jax or tensorflow,

    python tests/keras_suite.py [options of pytest]

docs/keras_parity.md says which of their expectations do not apply, and why.
"""

import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import pytest
from keras.src import optimizers

from inna.hyperparameters import from_sgd
from inna.keras import INNA, INNAprop

SUITE = (
    "optimizers/optimizer_test.py",
    "optimizers/optimizer_sparse_test.py",
    "optimizers/loss_scale_optimizer_test.py",
    "optimizers/multi_optimizer_test.py",
    "backend/tensorflow/optimizer_distribute_test.py",
)
OF_OTHERS = re.compile(  # adam, sgd and adamw are 0 to 2
    r"test_(gradient_accumulation_with_weigth_decay|pickleable_optimizers)([3-9]|10)$"
    r"|test_sparse_\w+_(ada(delta|factor|grad|max)|ftrl|lion|nadam|rmsprop\w*|scatter_update)$"
)
NOT_OURS = re.compile(
    r"test_sparse_\w+_amsgrad$"  # INNAprop has none
    r"|test_sparse_gradients_(sgd|loss_scale_optimizer_sgd)$"  # the momentum moves every row
)


@keras.saving.register_keras_serializable(package="suite")
class SGD(INNA):
    """INNA with the coefficients that make it gradient descent, with heavy-ball or Nesterov momentum."""

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any
    ) -> None:
        settings: dict[str, Any] = {"lr": learning_rate, "alpha": 1.0, "beta": 1.0, "initial_speed": 1.0}
        if momentum:
            settings = dict(from_sgd(learning_rate, momentum, nesterov))
        super().__init__(settings.pop("lr"), **(settings | options))


@keras.saving.register_keras_serializable(package="suite")
class Adam(INNAprop):
    """INNAprop without weight decay."""

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float | None = None, **options: Any) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **options)


@keras.saving.register_keras_serializable(package="suite")
class AdamW(INNAprop):
    """INNAprop."""


class Selection:
    """Leaves out the cases of other optimizers, and what does not apply."""

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if OF_OTHERS.match(item.name) or NOT_OURS.match(item.name)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


if __name__ == "__main__":
    for ours in (SGD, Adam, AdamW):  # before the suite is imported
        name = ours.__name__
        modules = [keras.optimizers, optimizers, import_module(f"keras.src.optimizers.{name.lower()}")]
        if keras.backend.backend() == "torch":  # where Keras builds a subclass of its own instead
            modules.append(import_module(f"keras.src.backend.torch.optimizers.torch_{name.lower()}"))
        for module in modules:
            setattr(module, name, ours)
        optimizers.ALL_OBJECTS_DICT[name.lower()] = ours
    options = ["--noconftest", "-p", "no:cacheprovider", "-c", os.devnull]
    files = [str(Path(keras.__file__).parent / "src" / file) for file in SUITE]
    sys.exit(pytest.main([*options, *files, *sys.argv[1:]], plugins=[Selection()]))
