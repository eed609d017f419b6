"""PyTorch's own TestOptimRenewed with INNA and INNAprop registered in the table that drives it.

The suite is no part of PyTorch's wheels: take `test/test_optim.py` with the folder `test/optim` from its
sources, and install `expecttest`. Then

    python tests/pytorch_suite.py .../pytorch/test/test_optim.py [options of pytest]

docs/torch_parity.md says which of its expectations do not apply, and why.
"""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing._internal import common_optimizers
from torch.testing._internal.common_device_type import tol, toleranceOverride
from torch.testing._internal.common_optimizers import (
    ErrorOptimizerInput,
    OptimizerInfo,
    OptimizerInput,
    get_error_inputs_for_all_optims,
)
from torch.testing._internal.opinfo.core import DecorateInfo

from inna.torch import INNA, INNAprop


def inputs(more: list[dict[str, Any]]) -> Any:
    """Settings for a suite that steps small problems with large gradients."""
    settings: list[dict[str, Any]] = [
        {},
        {"alpha": 1.5, "beta": 0.3},
        {"initial_speed": None},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "maximize": True},
        {"lr": torch.tensor(0.001)},
        {"capturable": True},
        {"lr": torch.tensor(0.001), "capturable": True},
        *more,
    ]
    common = {"lr": 0.002, "weight_decay": 0.0}  # the suite's problems have curvatures of some hundred

    def make(device: Any, dtype: Any = None) -> list[OptimizerInput]:
        return [OptimizerInput(params=None, kwargs=common | each, desc=str(each)) for each in settings]

    return make


def errors(name: str) -> Any:
    def make(device: Any, dtype: Any) -> list[ErrorOptimizerInput]:
        wrong = OptimizerInput(params=None, kwargs={name: -0.5}, desc=f"{name} below 0")
        common = get_error_inputs_for_all_optims(device, dtype)
        if "cpu" not in str(device):
            return list(common)
        regex = f"{name} must be .*, got -0.5"
        return [*common, ErrorOptimizerInput(wrong, error_type=ValueError, error_regex=regex)]

    return make


FLAGS: dict[str, Any] = {
    "supported_impls": ("foreach", "differentiable", "fused"),
    "supports_fused_on": ("cpu", "cuda"),
    "has_capturable_arg": True,
    "not_og_supported_flags": (),
    "decorators": [
        DecorateInfo(
            toleranceOverride(
                {dtype: tol(atol=0.02, rtol=0.05) for dtype in (torch.bfloat16, torch.float16)}
            ),
            "TestOptimRenewed",
            "test_fused_matches_forloop",
        )
    ],
}
OURS = [
    OptimizerInfo(
        INNA,
        optim_inputs_func=inputs([{"weight_decay": 0.1, "decoupled_weight_decay": True}]),
        optim_error_inputs_func=errors("beta"),
        **FLAGS,
    ),
    OptimizerInfo(
        INNAprop,
        optim_inputs_func=inputs([{"sigma": 0.9, "eps": 1e-3}]),
        optim_error_inputs_func=errors("sigma"),
        **FLAGS,
    ),
]


if __name__ == "__main__":
    common_optimizers.optim_db[:] = OURS  # before the suite is imported
    options = ["--noconftest", "-p", "no:cacheprovider", "-c", os.devnull, "-k", "TestOptimRenewed"]
    sys.exit(pytest.main([*options, str(Path(sys.argv[1]).resolve()), *sys.argv[2:]]))
