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
from ._check import Check
from ._descent import Descent, descent
from ._energies import (
    energy,
    energy_bounds,
    energy_gradient,
    energy_rate,
    lambda_range,
    proof_constants,
)
from ._flows import gradient_flow, newton_flow
from ._gradient_system import linearisation, potential, potential_weights
from ._kurdyka import Kurdyka, energy_descent, energy_slope, kl_inequality
from ._quadratic import on_quadratic
from ._rates import Law, kl_exponent, kl_rates, linear_rate, measured_law, measured_rate, power_law
from ._refinement import Refinement, refine
from ._shadow import shadow_distance
from ._studies import Escapes, Limits, saddle_escapes, stochastic_limits
from ._system import DIN, Solution, Trajectory

__all__ = [
    "DIN",
    "Ball",
    "Check",
    "Descent",
    "Escapes",
    "Kurdyka",
    "Law",
    "Limits",
    "Refinement",
    "Solution",
    "Trajectory",
    "descent",
    "energy",
    "energy_bounds",
    "energy_descent",
    "energy_gradient",
    "energy_rate",
    "energy_slope",
    "gradient_flow",
    "kl_exponent",
    "kl_inequality",
    "kl_rates",
    "lambda_range",
    "linear_rate",
    "linearisation",
    "measured_law",
    "measured_rate",
    "newton_flow",
    "on_quadratic",
    "potential",
    "potential_weights",
    "power_law",
    "proof_constants",
    "refine",
    "saddle_escapes",
    "shadow_distance",
    "stochastic_limits",
]
