"""Numbers that carry a gradient through a Python function, and NumPy's functions of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arithmetic", "Number", "Vector", "value_of"]

Array = NDArray[np.float64]

# A function and its derivative.
FUNCTIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "exp": (np.exp, np.exp),
    "exp2": (np.exp2, lambda x: np.log(2) * np.exp2(x)),
    "expm1": (np.expm1, np.exp),
    "log": (np.log, lambda x: 1 / x),
    "log2": (np.log2, lambda x: 1 / (np.log(2) * x)),
    "log10": (np.log10, lambda x: 1 / (np.log(10) * x)),
    "log1p": (np.log1p, lambda x: 1 / (1 + x)),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "cbrt": (np.cbrt, lambda x: 1 / (3 * np.cbrt(x) ** 2)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
    "tan": (np.tan, lambda x: 1 / np.cos(x) ** 2),
    "sinh": (np.sinh, np.cosh),
    "cosh": (np.cosh, np.sinh),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "arctan": (np.arctan, lambda x: 1 / (1 + x * x)),
    "arcsin": (np.arcsin, lambda x: 1 / np.sqrt(1 - x * x)),
    "arccos": (np.arccos, lambda x: -1 / np.sqrt(1 - x * x)),
    "arcsinh": (np.arcsinh, lambda x: 1 / np.sqrt(1 + x * x)),
    "arctanh": (np.arctanh, lambda x: 1 / (1 - x * x)),
}


def value_of(term: Callable[[Any], Any], numbers: "list[Number]") -> Any:
    """What a term gives for theta made of these numbers: one more number, or a constant.

    Raises:
        TypeError: the term uses what these numbers cannot do, or gives no single number.
    """
    theta = np.empty(len(numbers), object)
    theta[:] = numbers
    try:
        value = term(theta.view(Vector))
    except (TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise TypeError(
            "a term is run on NumPy arrays of numbers that carry gradients: it can use arithmetic, "
            "comparisons and NumPy's functions, not those of math, PyTorch or JAX. For these give a gradient "
            f"to inna.nonsmooth.Sampled, inna.torch.oracle(f).gradient or jax.grad(f). ({reason})"
        ) from error
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, Number) and not np.isscalar(value):
        raise TypeError(f"a term must return one number, got {type(value).__name__} {np.shape(value)}")
    return value


class Arithmetic:
    """What follows from `__add__`, `__mul__`, `__pow__` and `is_positive`, for numbers that know more."""

    dtype = np.dtype(object)  # as np.linalg.norm asks

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError

    def __mul__(self, other: Any) -> Any:
        raise NotImplementedError

    def __pow__(self, power: Any) -> Any:
        raise NotImplementedError

    def is_positive(self) -> bool:
        raise NotImplementedError

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return elementwise(ufunc, method, *inputs, **options)

    def __getattr__(self, name: str) -> Callable[[], Any]:
        """NumPy calls methods of this name for numbers that it does not know: np.exp(x) is x.exp()."""
        if name not in FUNCTIONS:
            raise AttributeError(f"no function {name} of these numbers")
        return lambda: self.function(name)

    def function(self, name: str) -> Any:
        """A function of the table above."""
        raise ValueError(f"a term is not piecewise polynomial: it takes {name}")

    def __float__(self) -> float:
        raise TypeError("math's functions take floats only: use NumPy's, np.exp for math.exp")

    def __neg__(self) -> Any:
        return self * -1

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __truediv__(self, other: Any) -> Any:
        return self * (other**-1.0)

    def __rtruediv__(self, other: Any) -> Any:
        return self**-1.0 * other

    def __gt__(self, other: Any) -> bool:
        return bool((self - other).is_positive())

    def __lt__(self, other: Any) -> bool:
        return bool((-self + other).is_positive())

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __abs__(self) -> Any:
        return self if self > 0 else -self


class Number(Arithmetic):
    """A value and its gradient on the piece being explored; the path answers its comparisons."""

    __slots__ = ("gradient", "path", "value")

    def __init__(self, value: float, gradient: Array, path: Any) -> None:
        self.value, self.gradient, self.path = value, gradient, path

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Number):
            return Number(self.value + other.value, self.gradient + other.gradient, self.path)
        if isinstance(other, np.ndarray):
            return NotImplemented
        return Number(self.value + other, self.gradient, self.path)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Number):
            slope = self.value * other.gradient + other.value * self.gradient
            return Number(self.value * other.value, slope, self.path)
        if isinstance(other, np.ndarray):
            return NotImplemented
        return Number(self.value * other, self.gradient * other, self.path)

    def __pow__(self, power: Any) -> Any:
        if isinstance(power, Number):
            return np.exp(power * np.log(self))
        with np.errstate(divide="ignore"):
            slope = power * np.float64(self.value) ** (power - 1) if power else 0.0
        if not np.isfinite(slope):
            self._refuse(f"the power {power}")
        return self._chain(self.value**power, float(slope), f"power {power}")

    def __rpow__(self, base: float) -> Any:
        return np.exp(self * np.log(base))

    def is_positive(self) -> bool:
        return bool(self.path.is_positive(self.value, self.gradient))

    def function(self, name: str) -> Any:
        f, derivative = FUNCTIONS[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            value, slope = float(f(self.value)), float(derivative(np.float64(self.value)))
        if not np.isfinite(value) or not np.isfinite(slope):
            self._refuse(name)
        return self._chain(value, slope, name)

    def _chain(self, value: float, slope: float, name: str) -> "Number":
        return Number(float(value), slope * self.gradient, self.path)

    def _refuse(self, name: str) -> None:
        raise ValueError(
            f"a term takes {name} of {self.value:g}, where its slope is not finite. If the term is locally "
            "Lipschitz all the same, as a norm is, give its gradient to inna.nonsmooth.Sampled"
        )


class Vector(np.ndarray[Any, Any]):
    """An array of numbers, of which NumPy's functions can be taken."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return elementwise(ufunc, method, *inputs, **options)


def elementwise(ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """A function of NumPy, of SciPy or of the table below, one element after the other."""
    plain = [x.view(np.ndarray) if isinstance(x, Vector) else _as_object(x) for x in inputs]
    if "out" in options:
        options["out"] = tuple(x.view(np.ndarray) if isinstance(x, Vector) else x for x in options["out"])
    if method == "__call__" and ufunc.__name__ in COMPOSED:
        result = np.frompyfunc(COMPOSED[ufunc.__name__], ufunc.nin, 1)(*plain)
    else:
        result = getattr(ufunc, method)(*plain, **options)
    return result.view(Vector) if isinstance(result, np.ndarray) and result.dtype == object else result


def _as_object(x: Any) -> Any:
    if not isinstance(x, Arithmetic):
        return x
    scalar = np.empty((), object)
    scalar[()] = x
    return scalar


def _softplus_of_difference(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)), without overflow; smooth, so either of the two may stand in front."""
    first, second = (x, y) if _float(x) >= _float(y) else (y, x)
    return first + np.log1p(np.exp(second - first))


def _float(x: Any) -> float:
    return float(x.value if isinstance(x, Number) else x)


COMPOSED: dict[str, Callable[..., Any]] = {
    "logaddexp": _softplus_of_difference,
    "hypot": lambda x, y: np.sqrt(x * x + y * y),
    "square": lambda x: x * x,
    "fabs": abs,
    "float_power": lambda x, y: x**y,
    "clip": lambda x, low, high: min(max(x, low), high),
    "expit": lambda x: 1 / (1 + np.exp(-x)) if _float(x) >= 0 else np.exp(x) / (1 + np.exp(x)),
}
