"""INNAprop for Keras: INNA on gradients that RMSprop has scaled."""

from collections.abc import Sequence

import keras

from ._direction import Scaling
from ._inna import INNA, Number, Rate, check

__all__ = ["INNAprop"]


@keras.saving.register_keras_serializable(package="inna")
class INNAprop(INNA):
    r"""INNAprop: INNA with the gradient v replaced by its RMSprop scaling.

    .. math::
        s_{k+1} &= \sigma s_k + (1 - \sigma)\, v_k^2, \qquad
        \hat v_k = v_k \big/ \left(\sqrt{s_{k+1} / (1 - \sigma^{k+1})} + \epsilon\right) \\
        \theta_{k+1} &= \theta_k - \gamma_k (u_k + \beta \hat v_k + \lambda \theta_k) \\
        u_{k+1} &= (1 - \alpha \gamma_k)\, u_k + \gamma_k (1 - \alpha \beta)\, \hat v_k

    The decay is decoupled; the paper's also enters the momentum, so the two agree at weight decay 0 only.

    Args:
        learning_rate: step size gamma, >= 0: a float, a schedule or a callable, as in `INNA`.
        alpha: viscous damping, >= 0, or a callable.
        beta: Newtonian damping, >= 0, or a callable.
        sigma: decay rate of the second moment, in [0, 1).
        eps: added to the root, >= 0.
        weight_decay: lambda >= 0, decoupled.
        initial_speed: s >= 0: starts with u_0 = (s - beta) v_0, v_0 scaled. None: beta, so u_0 = 0.
        **keras_options: as in `INNA`.

    Raises:
        ValueError: an option is out of its range; the message names it.
        TypeError: an option is no number.

    Example:
        >>> import keras
        >>> theta = keras.Variable([1.0, -2.0])
        >>> optimizer = INNAprop(learning_rate=0.01)
        >>> optimizer.apply([2 * theta.value], [theta])

    Reference: Bolte, Boustany, Pauwels, Purica, *A second-order-like optimizer with adaptive gradient scaling
    for deep learning* (2024), arXiv 2410.05871, Algorithm 1.
    """

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        alpha: Number = 0.1,
        beta: Number = 0.9,
        sigma: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float | None = 0.01,
        initial_speed: Number | None = None,
        **keras_options: object,
    ) -> None:
        super().__init__(
            learning_rate,
            alpha,
            beta,
            beta if initial_speed is None else initial_speed,
            weight_decay=weight_decay,
            **keras_options,
        )
        self.sigma = check("sigma", sigma)
        self.eps = check("eps", eps)
        if self.sigma >= 1:
            raise ValueError(f"sigma must be less than 1, got {sigma}")

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the momentum, the step counter and the second moment of each variable."""
        if self.built:
            return
        super().build(variables)
        self._second_moments = self._moments(variables, "exp_avg_sq")

    def _scaling(self, i: int) -> Scaling:
        return Scaling(self._second_moments[i], self.sigma, self.eps)

    def get_config(self) -> dict[str, object]:
        """All that the constructor takes; callables as Keras serializes them."""
        return super().get_config() | {"sigma": self.sigma, "eps": self.eps}
