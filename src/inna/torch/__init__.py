"""INNA and INNAprop for PyTorch.

Example:
    >>> import torch
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = INNA(model.parameters(), lr=0.1)
    >>> model(torch.ones(2, 3)).square().mean().backward()
    >>> optimizer.step()
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError("inna.torch needs PyTorch: pip install 'inna[torch]'", name="torch") from error

from ._ball import project_on_ball
from ._curvature import curvature
from ._energy import energy
from ._functional import foreach_step
from ._inna import INNA
from ._innaprop import INNAprop
from ._module_sum import ModuleSum
from ._oracle import Oracle, oracle
from ._param_groups import param_groups
from ._suggest import Suggestion, suggest

__all__ = [
    "INNA",
    "INNAprop",
    "ModuleSum",
    "Oracle",
    "Suggestion",
    "curvature",
    "energy",
    "foreach_step",
    "oracle",
    "param_groups",
    "project_on_ball",
    "suggest",
]
