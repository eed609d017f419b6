"""The v of the recursion: the gradient, or for INNAprop the gradient over its root mean square."""

from typing import Any, NamedTuple

from keras import ops

__all__ = ["TINY", "Scaling", "direction", "second_moment", "unbiased"]

TINY = 2.0**-126  # what a root is at least: 0 over 0 is 0


class Scaling(NamedTuple):
    """INNAprop's of one variable: its second moment and two numbers."""

    square: Any
    sigma: float
    eps: float


def second_moment(g: Any, scaling: Scaling) -> Any:
    """The running mean of the squared gradient, in at least float32."""
    s = ops.cast(scaling.square, g.dtype)
    return scaling.sigma * s + (1 - scaling.sigma) * ops.square(g)


def unbiased(k: Any, sigma: float) -> Any:
    """1 - sigma^(k + 1), after k steps, without the cancellation."""
    return -ops.expm1((k + 1) * ops.log1p(ops.convert_to_tensor(sigma - 1, k.dtype)))


def direction(g: Any, scaling: Scaling | None, k: Any) -> Any:
    """The v of a gradient and, with a scaling, its second moment after k + 1 steps."""
    if scaling is None:
        return g
    inverse = 1 / unbiased(ops.cast(k, g.dtype), scaling.sigma)
    return g / (ops.sqrt(ops.cast(scaling.square, g.dtype) * inverse) + max(scaling.eps, TINY))
