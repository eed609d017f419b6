"""A ReLU network of one hidden layer, large, and with its D and Clarke sets in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._pieces import cells, finite_point
from ._sets import MinkowskiSum

__all__ = ["ReluNetwork"]

Array = NDArray[np.float64]


def half_squares(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """The loss ``|output - target|^2 / 2`` of each sample, and its gradient in the output."""
    residual = outputs - targets
    return np.square(residual).sum(-1) / 2, residual


@dataclass(frozen=True, eq=False)
class ReluNetwork:
    r"""The finite sum :math:`J(W, C) = \sum_n l(C\,\mathrm{relu}(W x_n), y_n)` of a network's losses.

    A pair (sample n, unit j) is kinked where :math:`\langle w_j, x_n\rangle = 0`. Crossing it adds to the
    gradient :math:`s_{nj} = \langle c_j, \nabla l_n\rangle x_n`, in the block of w_j. Hence

    .. math:: DJ = g + \sum_j \sum_n [0, 1]\, s_{nj}, \qquad
              \partial J = g + \sum_j \mathrm{conv} \Big\{\sum_n \sigma_n s_{nj} : \sigma \in \Sigma_j \Big\}

    with the sums over the kinked pairs, g the gradient for relu'(0) = 0, and Sigma_j the patterns of signs
    of the :math:`\langle x_n, d\rangle` that occur for directions d. The two sets are equal where, unit by
    unit, the kinked inputs are linearly independent.

    Args:
        inputs: the x_n, shape (N, M). For biases append a 1 to each.
        targets: the y_n, shape (N, K), or (N,) for K = 1.
        hidden: number H of units.
        loss: (outputs, targets) -> the loss of each sample, shape (N,), and its gradients in the outputs,
            shape (N, K); smooth. The default is half the squared distance.

    theta holds W, shape (H, M), then C, shape (K, H), in one vector.

    Example:
        >>> J = ReluNetwork([[1.0], [-1.0]], [1.0, -1.0], hidden=1)
        >>> theta = np.array([0.0, 1.0])
        >>> J.D(theta).bounds(), J.clarke(theta).bounds()
        ((array([-2.,  0.]), array([0., 0.])), (array([-1.,  0.]), array([-1.,  0.])))

    Reference: Castera et al. (2021), (10).
    """

    inputs: Any
    targets: Any
    hidden: int
    loss: Callable[[Array, Array], tuple[Array, Array]] = half_squares

    def __post_init__(self) -> None:
        inputs, targets = np.asarray(self.inputs, float), np.asarray(self.targets, float)
        targets = targets[:, None] if targets.ndim == 1 else targets
        if inputs.ndim != 2 or targets.ndim != 2 or len(inputs) != len(targets) or self.hidden < 1:
            raise ValueError(
                "expected inputs (N, M), targets (N, K) or (N,) and hidden >= 1, "
                f"got {inputs.shape}, {np.shape(self.targets)} and {self.hidden}"
            )
        if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
            raise ValueError("inputs and targets must be finite, got NaN or infinity")
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return int(self.hidden * (self.inputs.shape[1] + self.targets.shape[1]))

    def __call__(self, theta: ArrayLike) -> float:
        """J(theta)."""
        w, c = self._weights(theta)
        return float(self.loss(np.maximum(self.inputs @ w.T, 0) @ c.T, self.targets)[0].sum())

    def gradient(self, theta: ArrayLike, batch: Any = slice(None)) -> Array:
        """What backpropagation gives for a mini-batch of samples, with relu'(0) = 0: an element of DJ_B."""
        w, c = self._weights(theta)
        x = self.inputs[batch]
        before = x @ w.T
        return self._backpropagate(x, self.targets[batch], before, before > 0, c)[0]

    def D(self, theta: ArrayLike, tolerance: float = 1e-12) -> MinkowskiSum:
        """DJ(theta), a zonotope.

        Args:
            theta: the point.
            tolerance: a kink nearer than this counts as met.
        """
        gradient, jumps = self._jumps(theta, tolerance)
        return MinkowskiSum([h for j, _, s in jumps for h in self._segments(j, s)], gradient)

    def clarke(self, theta: ArrayLike, tolerance: float = 1e-12) -> MinkowskiSum:
        """Clarke's subdifferential of the whole sum.

        Raises:
            ValueError: a unit is kinked for so many inputs that they cut out more than 10,000 cells.
        """
        gradient, jumps = self._jumps(theta, tolerance)
        hulls: list[Array] = []
        for j, x, s in jumps:
            if np.linalg.matrix_rank(x) == len(x):  # then all patterns of signs occur
                hulls += self._segments(j, s)
            else:
                hulls.append(self._in_block(j, cells(x) @ s))
        return MinkowskiSum(hulls, gradient)

    def _jumps(self, theta: ArrayLike, tolerance: float) -> tuple[Array, list[tuple[int, Array, Array]]]:
        """The gradient with no kinked pair active, and the x_n and s_nj of each unit's kinked samples."""
        w, c = self._weights(finite_point(theta))
        before = self.inputs @ w.T
        kinked = np.abs(before) <= tolerance * np.linalg.norm(self.inputs, axis=1, keepdims=True)
        active = (before > 0) & ~kinked
        gradient, arriving = self._backpropagate(self.inputs, self.targets, before, active, c)
        units = np.flatnonzero(kinked.any(0))
        x = self.inputs
        samples = ((int(j), np.flatnonzero(kinked[:, j])) for j in units)
        return gradient, [(j, x[n], arriving[n, j, None] * x[n]) for j, n in samples]

    def _backpropagate(
        self, x: Array, y: Array, before: Array, active: NDArray[np.bool_], c: Array
    ) -> tuple[Array, Array]:
        after = np.maximum(before, 0)
        slopes = self.loss(after @ c.T, y)[1]
        arriving = slopes @ c  # at the outputs of the units
        return np.concatenate([((arriving * active).T @ x).ravel(), (slopes.T @ after).ravel()]), arriving

    def _segments(self, unit: int, jumps: Array) -> list[Array]:
        return [self._in_block(unit, np.stack([0 * jump, jump])) for jump in jumps]

    def _in_block(self, unit: int, rows: Array) -> Array:
        """Rows of theta's size that hold the given ones in the place of a unit's weights."""
        whole = np.zeros((len(rows), self.size))
        whole[:, unit * rows.shape[1] : (unit + 1) * rows.shape[1]] = rows
        return whole

    def _weights(self, theta: ArrayLike) -> tuple[Array, Array]:
        theta = np.asarray(theta, float)
        if theta.shape != (self.size,):
            raise ValueError(f"theta must have shape ({self.size},), got {theta.shape}")
        split = self.hidden * self.inputs.shape[1]
        return theta[:split].reshape(self.hidden, -1), theta[split:].reshape(-1, self.hidden)
