r"""The roots of :math:`r^2 + (\alpha + \beta L) r + L`, the oscillator that the system is on a curvature L.

The discriminant :math:`(\alpha + \beta L)^2 - 4 L` loses its digits near critical damping, and the slow root
where the friction is large. So both are formed in rational numbers and rounded once, at the end.
"""

from fractions import Fraction
from math import isqrt, ldexp
from typing import NamedTuple

__all__ = ["Oscillator", "nearest", "oscillator"]

BITS = 160  # of a square root


class Oscillator(NamedTuple):
    """The friction alpha + beta L, whether both roots are real, and the root of the discriminant's size."""

    friction: Fraction
    real: bool
    root: Fraction
    curvature: Fraction

    @property
    def fast(self) -> Fraction:
        """The real root of larger modulus."""
        return -(self.friction + (self.root if self.friction >= 0 else -self.root)) / 2

    @property
    def slow(self) -> Fraction:
        """The real root of smaller modulus."""
        return self.curvature / self.fast if self.fast else self.fast

    def roots(self) -> tuple[complex, complex]:
        """The slow and the fast root; or, of a conjugate pair, that above the real axis and that below."""
        if self.real:
            return complex(nearest(self.slow)), complex(nearest(self.fast))
        above = complex(nearest(-self.friction / 2), nearest(self.root / 2))
        return above, above.conjugate()


def oscillator(alpha: float, beta: float, curvature: float) -> Oscillator:
    """The oscillator on a curvature, which may be negative, as at a saddle."""
    L = Fraction(curvature)
    friction = Fraction(alpha) + Fraction(beta) * L
    discriminant = friction**2 - 4 * L
    return Oscillator(friction, discriminant >= 0, _sqrt(abs(discriminant)), L)


def nearest(number: Fraction) -> float:
    """The float nearest to a rational number, infinite if there is none."""
    try:
        return float(number)
    except OverflowError:
        return ldexp(number.numerator // abs(number.numerator), 1023) * 2


def _sqrt(number: Fraction) -> Fraction:
    square = number.numerator * number.denominator
    shift = max(0, BITS - square.bit_length() // 2)
    return Fraction(isqrt(square << (2 * shift)), number.denominator << shift)
