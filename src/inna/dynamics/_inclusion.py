"""The differential inclusion itself, (7) and (11), for finite sums of piecewise smooth terms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from ._integrate import watched
from ._modes import Mode, mode_at

__all__ = ["follow"]

Array = NDArray[np.float64]
ADVICE = (
    "There a term is stiff, or not piecewise smooth: at the zero of a Euclidean norm the solution may stick"
)
LOOKS = 4  # at a step, for switches within it


@dataclass
class Followed:
    """The solution at the times asked for, its selections there, and the times of its switches."""

    theta: Array
    u: Array
    v: Array
    switches: Array


def follow(
    terms: Sequence[Callable[[Any], Any]],
    damping: Callable[[float], tuple[float, float]],
    theta: Array,
    u: Array,
    times: Array,
    *,
    rtol: float,
    atol: float,
    max_step: float,
    max_switches: int,
) -> Followed:
    """Follow a solution from switch to switch; between two it is smooth, in the open or along kinks.

    Raises:
        RuntimeError: more switches or shorter steps than can be followed, or no consistent way on.
    """
    d, t = theta.size, float(times[0])
    state = np.concatenate([theta, u])
    states, selections, switches = [], [], []
    waiting = list(times)
    while waiting:
        mode = mode_at(terms, state[:d], state[d:], damping(t)[1])
        state[:d] = mode.on_kinks(state[:d])
        if waiting[0] == t:
            states.append(state.copy())
            selections.append(mode.subgradient(state[:d], state[d:], damping(t)[1]))
            waiting.pop(0)
            continue
        solver = DOP853(
            watched(_field(mode, damping, d), times[-1], ADVICE),
            t,
            state,
            times[-1],
            rtol=rtol,
            atol=atol,
            max_step=max_step,
        )
        switched = False
        while solver.status == "running" and not switched:
            complaint = solver.step()
            if solver.status == "failed":
                raise RuntimeError(f"the inclusion could not be followed past t = {t:.9g}: {complaint}")
            dense = solver.dense_output()
            end, switched = _end(mode, damping, dense, float(solver.t_old), float(solver.t), d)
            while waiting and waiting[0] <= end:
                at = waiting.pop(0)
                y = dense(at)
                states.append(y)
                selections.append(mode.subgradient(y[:d], y[d:], damping(at)[1]))
            t, state = end, dense(end)
        if switched and waiting:
            switches.append(t)
            if len(switches) > max_switches:
                raise RuntimeError(
                    f"more than {max_switches} switches between smooth pieces by t = {t:.9g}, the last at "
                    f"theta = {state[:d]}: shorten the time or raise max_switches"
                )
    whole = np.array(states)
    return Followed(whole[:, :d], whole[:, d:], np.array(selections), np.array(switches))


def _field(
    mode: Mode, damping: Callable[[float], tuple[float, float]], d: int
) -> Callable[[float, Array], Array]:
    def field(t: float, state: Array) -> Array:
        alpha, beta = damping(t)
        theta, u = state[:d], state[d:]
        v = mode.subgradient(theta, u, beta)
        return np.concatenate([-u - beta * v, -alpha * u + (1 - alpha * beta) * v])

    return field


def _end(
    mode: Mode,
    damping: Callable[[float], tuple[float, float]],
    dense: Callable[[float], Array],
    start: float,
    stop: float,
    d: int,
) -> tuple[float, bool]:
    """Where in a step the mode ceases to hold: just behind its end; or the end of the step."""

    def holds(t: float) -> bool:
        state = dense(t)
        return mode.holds(state[:d], state[d:], damping(t)[1])

    good = start
    for bad in np.linspace(start, stop, LOOKS + 1)[1:].tolist():
        if holds(bad):
            good = bad
            continue
        while (middle := (good + bad) / 2) not in (good, bad):
            good, bad = (middle, bad) if holds(middle) else (good, middle)
        return bad, True
    return stop, False
