"""The pieces of a finite sum that meet at a point, and the system on one choice of them: a mode.

A term is run with its comparisons answered as told, so that a piece goes on smoothly beyond its kinks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nonsmooth import MinkowskiSum
from ..nonsmooth._numbers import Number, value_of

__all__ = ["Mode", "Undecided", "mode_at", "selection"]

Array = NDArray[np.float64]
Term = Callable[[Any], Any]
MET = 1e-9  # a kink nearer than this is met
DEAD = 1e-12  # how far beyond a kink its crossing is seen
INSIDE = 1e-9  # how far out of DJ the sliding selection may be, relative to DJ's size
ALONG = (1e-11, 1e-9, 1e-7)  # a velocity across a kink below this is along it, relative to DJ's size
MOST_PIECES = 1000


class Undecided(RuntimeError):
    """No choice of pieces is consistent with the velocity that it gives."""


class Answers:
    """The comparisons of one run: what is compared with 0, its gradient, and the answer."""

    def __init__(self, told: Sequence[bool] = ()) -> None:
        self.told = told
        self.values: list[float] = []
        self.gradients: list[Array] = []
        self.given: list[bool] = []

    def is_positive(self, value: float, gradient: Array) -> bool:
        k = len(self.given)
        self.values.append(value)
        self.gradients.append(gradient)
        self.given.append(self.told[k] if k < len(self.told) else self.otherwise(value, gradient))
        return self.given[k]

    def otherwise(self, value: float, gradient: Array) -> bool:
        return value > 0


def run(term: Term, theta: Array, answers: Answers) -> Array:
    """The gradient of the piece of a term that belongs to these answers."""
    unit = np.eye(theta.size)
    value = value_of(term, [Number(x, e, answers) for x, e in zip(theta.tolist(), unit, strict=True)])
    return np.asarray(value.gradient if isinstance(value, Number) else np.zeros(theta.size))


def selection(terms: Sequence[Term], theta: Array) -> Array:
    """What automatic differentiation gives, relu'(0) = 0: an element of DJ almost everywhere."""
    return np.asarray(sum(run(term, theta, Answers()) for term in terms))


class Exploring(Answers):
    """A run that asks at a kink which sides there are: those towards a direction, or both."""

    def __init__(
        self, told: tuple[bool, ...], normals: list[Array], direction: Array | None, slack: float
    ) -> None:
        super().__init__(told)
        self.normals = normals  # of the kinks at which both sides were open, pointing to the side taken
        self.direction, self.slack = direction, slack
        self.others: list[tuple[tuple[bool, ...], list[Array]]] = []

    def otherwise(self, value: float, gradient: Array) -> bool:
        slope = float(np.linalg.norm(gradient))
        if slope == 0 or abs(value) > MET * slope:
            return value > 0
        normal = gradient / slope
        if self.direction is not None and abs(across := float(normal @ self.direction)) > self.slack:
            return across > 0
        open_sides = [s for s in (True, False) if _has_interior([*self.normals, normal if s else -normal])]
        side = open_sides[0] if open_sides else bool(self.normals[-1] @ normal > 0)
        for other in open_sides[1:]:
            self.others.append(((*self.given, other), [*self.normals, -normal]))
        self.normals = [*self.normals, normal if side else -normal]
        return side


def _has_interior(normals: list[Array]) -> bool:
    """Whether some direction has a positive product with all normals (Gordan)."""
    return MinkowskiSum([np.array(normals)]).distance() > 1e-9


@dataclass(frozen=True)
class Piece:
    """A smooth piece of a term: its answers, and which of its comparisons are kinks that are slid on."""

    term: Term
    answers: tuple[bool, ...]
    slid: tuple[bool, ...]

    def run(self, theta: Array) -> tuple[Array, Answers]:
        answers = Answers(self.answers)
        return run(self.term, theta, answers), answers


@dataclass(frozen=True)
class Mode:
    """The system while the same pieces meet: one of each term in the open, several on kinks."""

    pieces: tuple[tuple[Piece, ...], ...]

    @property
    def slides(self) -> bool:
        """Whether the trajectory stays on a kink."""
        return any(any(piece.slid) for pieces in self.pieces for piece in pieces)

    def subgradient(self, theta: Array, u: Array, beta: float) -> Array:
        """The selection: the gradient, or on kinks the v for which theta' = -u - beta v stays on them."""
        v, normals = np.zeros(theta.size), []
        for first, *_ in self.pieces:
            gradient, answers = first.run(theta)
            v = v + gradient
            normals += [n for n, slid in zip(answers.gradients, first.slid, strict=True) if slid]
        if normals:
            along = np.array(normals)
            v = v - np.linalg.lstsq(along, along @ (v + u / beta), rcond=1e-9)[0]
        return v

    def set(self, theta: Array) -> MinkowskiSum:
        """The sum of the hulls of the pieces' gradients."""
        return MinkowskiSum([[piece.run(theta)[0] for piece in pieces] for pieces in self.pieces])

    def holds(self, theta: Array, u: Array, beta: float) -> bool:
        """Whether all answers are still right, and the selection is in the set."""
        hulls = []
        for pieces in self.pieces:
            hull = []
            for piece in pieces:
                gradient, answers = piece.run(theta)
                hull.append(gradient)
                rows = zip(answers.values, answers.gradients, answers.given, piece.slid, strict=True)
                for value, normal, positive, slid in rows:
                    if not slid and (value if positive else -value) < -DEAD * np.linalg.norm(normal):
                        return False
            hulls.append(hull)
        if not self.slides:
            return True
        v = self.subgradient(theta, u, beta)
        return MinkowskiSum(hulls).distance(v) <= INSIDE * _size(hulls)

    def on_kinks(self, theta: Array) -> Array:
        """The point nearest to theta on the kinks that are slid along, by a step of Newton."""
        values, normals = [], []
        for first, *_ in self.pieces:
            _, answers = first.run(theta)
            kinks = [k for k, slid in enumerate(first.slid) if slid]
            values += [answers.values[k] for k in kinks]
            normals += [answers.gradients[k] for k in kinks]
        if not values:
            return theta
        return np.asarray(theta - np.linalg.lstsq(np.array(normals), np.array(values), rcond=1e-9)[0])


def mode_at(terms: Sequence[Term], theta: Array, u: Array, beta: float) -> Mode:
    r"""The mode in which a trajectory goes on from a point.

    The velocity is the slowest that DJ allows, :math:`v = P_{DJ(\theta)}(-u/\beta)`. For convex J it is that
    of the solution, which is unique. Otherwise the pieces on which this velocity leads may not contain that
    v: then it is chosen again among these pieces, until both agree.

    Raises:
        Undecided: they never do.
    """
    for along in ALONG:  # the coarser where rounding in v has the pieces contradict each other
        direction: Array | None = None
        slack, last = 0.0, None
        for _ in range(10):
            mode = Mode(tuple(tuple(_pieces(term, theta, direction, slack)) for term in terms))
            if mode == last:
                return mode
            last = mode
            hulls = [[piece.run(theta)[0] for piece in pieces] for pieces in mode.pieces]
            direction = -beta * MinkowskiSum(hulls, u / beta).least_norm()  # -beta (v + u / beta)
            slack = along * beta * _size(hulls)
    raise Undecided(
        f"the pieces that meet at {theta} and the velocity contradict each other, whichever are taken"
    )


def _pieces(term: Term, theta: Array, direction: Array | None, slack: float) -> Iterator[Piece]:
    waiting: list[tuple[tuple[bool, ...], list[Array]]] = [((), [])]
    count = 0
    while waiting:
        answers = Exploring(*waiting.pop(), direction, slack)
        run(term, theta, answers)
        waiting += answers.others
        count += 1
        if count + len(waiting) > MOST_PIECES:
            raise Undecided(f"more than {MOST_PIECES} smooth pieces of one term meet at {theta}")
        yield Piece(term, tuple(answers.given), tuple(_slid(answers, direction, slack)))


def _slid(answers: Answers, direction: Array | None, slack: float) -> Iterator[bool]:
    for value, gradient in zip(answers.values, answers.gradients, strict=True):
        slope = float(np.linalg.norm(gradient))
        met = slope > 0 and abs(value) <= MET * slope
        yield met and (direction is None or abs(float(gradient @ direction)) <= slack * slope)


def _size(hulls: list[list[Array]]) -> float:
    """The size of a set of subgradients, by which its tolerances are measured."""
    return 1e-3 + float(sum(max(np.linalg.norm(v) for v in hull) for hull in hulls))
