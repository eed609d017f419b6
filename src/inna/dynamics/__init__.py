"""The continuous system that INNA discretises, its energies and its rates: Sections 2 to 4 of the paper.

Example:
    >>> import numpy as np
    >>> din = DIN(gradient=lambda x: x, objective=lambda x: (x * x).sum(-1) / 2, alpha=0.5, beta=0.1)
    >>> path = din.solve(np.array([1.0]), times=np.linspace(0, 40, 401))
    >>> bool((np.diff(path.energy()) <= 1e-12).all())
    True
"""

try:
    import scipy as _scipy  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "inna.dynamics needs SciPy: pip install 'inna[theory]'", name=error.name
    ) from error

from ._ball import Ball
from ._energies import energy, energy_rate, lambda_range, proof_constants
from ._rates import linear_rate, power_law
from ._shadow import shadow_distance
from ._system import DIN, Trajectory, on_quadratic

__all__ = [
    "DIN",
    "Ball",
    "Trajectory",
    "energy",
    "energy_rate",
    "lambda_range",
    "linear_rate",
    "on_quadratic",
    "power_law",
    "proof_constants",
    "shadow_distance",
]
