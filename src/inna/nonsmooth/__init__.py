"""Clarke's subdifferential, the operator D of finite sums, and their critical points: Sections 2.3 and 3.3.

Example:
    >>> J = FiniteSum([lambda x: abs(x[0]), lambda x: -abs(x[0])])  # J = 0, written as a sum
    >>> J.D([0.0]).bounds(), J.clarke([0.0]).bounds()
    ((array([-2.]), array([2.])), (array([0.]), array([0.])))
"""

try:
    import scipy as _scipy  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "inna.nonsmooth needs SciPy: pip install 'inna[theory]'", name=error.name
    ) from error

from ._critical import Criticality, is_clarke_critical, is_d_critical
from ._network import ReluNetwork
from ._sampling import Sampled, goldstein
from ._sets import MinkowskiSum
from ._sum import FiniteSum
from ._values import CriticalValue, d_critical_values

__all__ = [
    "CriticalValue",
    "Criticality",
    "FiniteSum",
    "MinkowskiSum",
    "ReluNetwork",
    "Sampled",
    "d_critical_values",
    "goldstein",
    "is_clarke_critical",
    "is_d_critical",
]
