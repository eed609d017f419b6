"""Euclidean norms at their zero, among the pieces of a function."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ._expansions import Expansion
from ._sets import MinkowskiSum

__all__ = ["hull_with_norms", "sign_of_norms"]

Array = NDArray[np.float64]


def sign_of_norms(number: Expansion) -> int:
    """The sign of <g, x> + sum_k c_k |A_k x|, if it has one: where g lies well inside sum_k |c_k| A_k^T B.

    Raises:
        ValueError: it changes its sign.
    """
    for sign in (1, -1):
        if all(sign * c > 0 for c, _ in number.cones):
            room = MinkowskiSum([], 1.01 * number.gradient, [c * a for c, a in number.cones])
            if room.distance() <= 1e-12:
                return sign
    raise ValueError(
        "a term compares a Euclidean norm, at its zero, with something as large: the gradients in each piece "
        "fill part of an ellipsoid only. Give the gradient to inna.nonsmooth.Sampled"
    )


def hull_with_norms(certain: list[Expansion], possible: list[Expansion]) -> MinkowskiSum:
    r"""Clarke's set of pieces :math:`\langle g_\sigma, x\rangle + \sum_k c_k |A_k x|`, each in its own cell.

    It lies in :math:`\mathrm{conv}\{g_\sigma\} + \sum_k |c_k| A_k^T B`, and is all of it if the norms and the
    kinks are of independent functions, or if the sum is convex or concave.
    """
    pieces = certain + possible
    norms = {_key(cones): cones for cones in (piece.cones for piece in pieces)}
    balls = {(c, a.tobytes()): c * a for cones in norms.values() for c, a in cones}
    outer = MinkowskiSum(
        [np.unique([piece.gradient for piece in pieces], axis=0)], balls=list(balls.values())
    )
    if not possible and len(norms) == 1 and (_independent(certain) or _convex(certain)):
        return outer
    return MinkowskiSum([[_gradient(piece) for piece in certain]], exact=False, outer=outer)


def _key(cones: tuple[tuple[float, Array], ...]) -> frozenset[tuple[float, bytes]]:
    return frozenset((c, a.tobytes()) for c, a in cones)


def _independent(pieces: list[Expansion]) -> bool:
    """Whether the norms' linear functions are independent of each other's and of the kinks', all affine."""
    kinks = [kink for piece in pieces for kink in piece.path.kinks]
    if any(kink.rest != {} for kink in kinks):
        return False
    groups = [a for _, a in pieces[0].cones] + ([np.array([kink.normal for kink in kinks])] if kinks else [])
    ranks = [np.linalg.matrix_rank(group) for group in groups]
    return bool(np.linalg.matrix_rank(np.vstack(groups)) == sum(ranks))


def _convex(pieces: list[Expansion]) -> bool:
    """Whether the sum or its negative is convex to first order: in its own cell, each g is best."""
    signs = {np.sign(c) for c, _ in pieces[0].cones}
    if len(signs) > 1 or any(kink.rest != {} for piece in pieces for kink in piece.path.kinks):
        return False
    sign = signs.pop()
    for piece in pieces:
        if not piece.path.kinks:
            continue
        normals = np.array([kink.normal for kink in piece.path.kinks]).T
        for other in pieces:
            gap = sign * (piece.gradient - other.gradient)
            if nnls(normals, gap)[1] > 1e-10 * (1 + np.linalg.norm(gap)):
                return False
    return True


def _gradient(piece: Expansion) -> Array:
    """A limit of gradients on the piece."""
    gradient = piece.gradient
    witness = piece.path.witness or (np.random.default_rng(0).normal(size=gradient.size),)
    for c, a in piece.cones:
        for step in witness:
            if (length := np.linalg.norm(a @ step)) > 1e-9:
                gradient = gradient + c * (a.T @ (a @ step)) / length
                break
        else:
            raise ValueError("no curve leads into a piece and off the zeros of its norms: use Sampled")
    return np.asarray(gradient)
