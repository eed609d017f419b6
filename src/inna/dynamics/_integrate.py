"""SciPy's integrator for smooth systems, which gives up where it would go on for ever."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

__all__ = ["integrate", "watched"]

Array = NDArray[np.float64]
Field = Callable[[float, Array], Array]
PATIENCE = 20_000  # evaluations of the field between two looks at the time
ADVICE = (
    "Where the gradient jumps follow the inclusion instead, DIN.of(FiniteSum(...)).solve_inclusion; "
    "where it is stiff try method='Radau'"
)
LEAST_PROGRESS = 1e-6  # of the whole time in between: at this pace 2e10 evaluations would be needed


def integrate(field: Field, start: Array, times: Array, method: str, rtol: float, atol: float) -> Array:
    """The solution at the times, shape (n, d).

    Raises:
        RuntimeError: the integrator gave up, or its steps became so short that it will not arrive.
    """
    span = (times[0], times[-1])
    done = solve_ivp(watched(field, times[-1], ADVICE), span, start, method, times, rtol=rtol, atol=atol)
    if not done.success:
        raise RuntimeError(f"the system could not be integrated: {done.message}")
    return np.asarray(done.y.T)


def watched(field: Field, duration: float, advice: str) -> Field:
    """The same field, which raises RuntimeError once it is evaluated ever again and the time stands still."""
    evaluations, looked = 0, -np.inf

    def watching(t: float, state: Array) -> Array:
        nonlocal evaluations, looked
        evaluations += 1
        if evaluations % PATIENCE == 0:
            if t - looked < LEAST_PROGRESS * duration:
                raise RuntimeError(
                    f"the system could not be integrated: {PATIENCE} evaluations end at t = {t:.6g}. {advice}"
                )
            looked = t
        return field(t, state)

    return watching
