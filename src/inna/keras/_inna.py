"""INNA for Keras, in the momentum form of the recursion."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeAlias, TypeVar

import keras
import numpy as np
from keras import ops

from ._direction import Scaling, direction, second_moment

BACKEND = keras.backend.backend()
if BACKEND == "jax":
    from . import _on_jax
elif BACKEND == "tensorflow":
    from . import _on_tensorflow
elif BACKEND == "torch":
    from . import _on_torch

__all__ = ["INNA", "Number", "Rate", "check"]


class Coefficients(NamedTuple):
    """Of the two lines; `lr` is gamma."""

    lr: Any
    push: Any
    damp: Any
    gain: Any


def inna_step(theta: Any, u: Any, v: Any, c: Coefficients) -> tuple[Any, Any]:
    """The next theta, but for its decay, which is Keras's, and the next u."""
    return theta - c.lr * u - c.push * v, c.damp * u + c.gain * v


def coefficients(*, lr: Any, alpha: Any, beta: Any, start: Any) -> Coefficients:
    """`start` is speed - beta in a variable's first step, as u_0 = start v_0; then 0."""
    damp = 1 - alpha * lr
    return Coefficients(lr, lr * (beta + start), damp, lr * (1 - alpha * beta) + damp * start)


T = TypeVar("T")
Tensor: TypeAlias = Any  # of the back end
Number: TypeAlias = float | Callable[[], float]
Rate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule | Callable[[], float]


class Hyperparameters(NamedTuple):
    """What one step reads, once for all variables."""

    lr: Any
    alpha: Any
    beta: Any
    speed: Any


@keras.saving.register_keras_serializable(package="inna")
class INNA(keras.optimizers.Optimizer):  # type: ignore[misc]
    r"""The Inertial Newton Algorithm.

    With a mini-batch (sub)gradient v_k and the momentum u_k, one step is

    .. math::
        \theta_{k+1} &= \theta_k - \gamma_k (u_k + \beta v_k) \\
        u_{k+1} &= (1 - \alpha \gamma_k)\, u_k + \gamma_k (1 - \alpha \beta)\, v_k

    which is, exactly, the paper's recursion in (theta, psi) for
    :math:`\psi = \beta u + (1 - \alpha\beta)\theta`.

    Args:
        learning_rate: step size gamma, >= 0: a float, a `LearningRateSchedule` (see `schedule`) or a callable
            without arguments, which Keras reads once where it compiles. A step with learning rate 0 changes
            neither variables nor state.
        alpha: viscous damping, >= 0, or a callable without arguments that is read at every step, in compiled
            code too: it returns a number, a variable or what the code computes. Lower it when convergence is
            slow.
        beta: Newtonian damping, >= 0 (0: heavy ball), or a callable. Raise it when the loss oscillates.
        initial_speed: s >= 0: a variable's first step starts with velocity -s v_0, that is with
            u_0 = (s - beta) v_0. 1 is the paper's start, `beta` starts without momentum.
        **keras_options: as for every Keras optimizer: name, weight_decay (decoupled: the momentum does not
            see it), clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps.

    Raises:
        ValueError: an option is negative, NaN or infinite; the message names it.
        TypeError: an option is no number.

    Example:
        >>> import keras
        >>> theta = keras.Variable([1.0, -2.0])
        >>> optimizer = INNA(learning_rate=0.1, alpha=0.5, beta=0.1)
        >>> for _ in range(500):
        ...     optimizer.apply([2 * theta.value], [theta])
        >>> bool(keras.ops.norm(theta) < 1e-3)
        True

    Reference: Castera, Bolte, Févotte, Pauwels, *An Inertial Newton Algorithm for Deep Learning*, JMLR 22
    (2021), equation (12), Table 1 and, for the start, Section 5.2.
    """

    def __init__(
        self,
        learning_rate: Rate = 0.1,
        alpha: Number = 0.5,
        beta: Number = 0.1,
        initial_speed: Number = 1.0,
        **keras_options: object,
    ) -> None:
        if not isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            check("learning_rate", learning_rate)
        super().__init__(learning_rate=learning_rate, **keras_options)
        if self.weight_decay is not None:
            check("weight_decay", self.weight_decay)
        self.alpha = check("alpha", alpha)
        self.beta = check("beta", beta)
        self.initial_speed = check("initial_speed", initial_speed)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the momentum of each variable, and count the steps that each has taken."""
        if self.built:
            return
        super().build(variables)
        self._momentum_buffers = self._moments(variables, "momentum_buffer")
        self._steps = self.add_variable(
            (len(variables),), dtype="int32", aggregation="only_first_replica", name="steps"
        )

    def _moments(self, variables: Sequence[keras.Variable], name: str) -> list[keras.Variable]:
        """Zeros for each variable, in at least float32: 16 bits lose a long memory and overflow at 256^2."""
        moments: list[keras.Variable] = []
        for variable in variables:
            if keras.backend.standardize_dtype(variable.dtype) == wide(variable):
                moments += self.add_optimizer_variables([variable], name)
                continue
            beside = _on_tensorflow.beside(variable) if BACKEND == "tensorflow" else nullcontext()
            layout = getattr(variable, "_layout", None)
            path = getattr(variable, "path", variable.name).replace("/", "_").replace(":", "_")
            with beside:
                moment = self.add_variable(
                    variable.shape, dtype="float32", layout=layout, name=f"{path}_{name}"
                )
            moments.append(moment)
        return moments

    def _scaling(self, i: int) -> Scaling | None:
        """What INNAprop makes of the gradient of the i-th variable."""
        return None

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        """Update one variable."""
        i, dtype = self._get_variable_index(variable), wide(variable)
        g, buffer, scaling, k = (
            ops.cast(gradient, dtype),
            self._momentum_buffers[i],
            self._scaling(i),
            self._steps[i],
        )
        now = self._read(learning_rate, g)
        lr, alpha, beta, speed = (ops.convert_to_tensor(x, dtype) for x in now)
        moves = ops.not_equal(lr, 0)
        first = ops.cast(ops.logical_and(moves, ops.equal(k, 0)), dtype)
        c = coefficients(lr=lr, alpha=alpha, beta=beta, start=first * (speed - beta))
        if BACKEND == "tensorflow" and self._takes_passes(variable):
            theta, momentum = (_on_tensorflow.native(x) for x in (variable, buffer))
            along = _on_tensorflow.Direction(g, scaling, k)
            _on_tensorflow.subtract(theta, c.lr, momentum)
            if scaling is not None:
                kept = ops.where(moves, ops.convert_to_tensor(scaling.sigma, dtype), 1)
                self.assign(scaling.square, kept * _on_tensorflow.native(scaling.square))
            along.subtract_from(theta, c.push, first=True)
            self.assign(buffer, c.damp * momentum)
            along.subtract_from(momentum, -c.gain)
            return
        if scaling is not None:
            square = ops.cast(scaling.square, dtype)
            self.assign(scaling.square, ops.where(moves, second_moment(g, scaling), square))

        def v(moves: Tensor, k: Tensor) -> Tensor:
            return ops.where(moves, direction(g, scaling, k), 0)  # 0 times infinity is no number

        theta, u = ops.cast(variable, dtype), ops.cast(buffer, dtype)
        theta, next_u = inna_step(theta, u, v(moves, k), c)
        if BACKEND == "jax":
            c, moves, k = _on_jax.after(theta, (c, moves, k))
            _, next_u = inna_step(theta, u, v(moves, k), c)
        self.assign(variable, ops.cast(theta, variable.dtype))
        self.assign(buffer, ops.cast(next_u, buffer.dtype))

    def _takes_passes(self, variable: keras.Variable) -> bool:
        """Whether TensorFlow's kernels may update it: they take no 16 bits, nor a subclass's `assign`."""
        base = keras.optimizers.Optimizer
        own = all(
            getattr(getattr(self, name), "__func__", None) is getattr(base, name)
            for name in ("assign", "assign_sub")
        )
        return own and keras.backend.standardize_dtype(variable.dtype) == wide(variable)

    def _backend_update_step(
        self, grads: list[Tensor], trainable_variables: list[keras.Variable], learning_rate: Tensor
    ) -> None:
        """All variables; Keras calls it once a step."""
        now = self._read(learning_rate, grads[0])
        indices = [self._get_variable_index(variable) for variable in trainable_variables]
        if BACKEND == "torch":
            self._update_on_torch(grads, trainable_variables, indices, now)
        elif BACKEND == "tensorflow":
            grads = _on_tensorflow.none_at_0(now.lr, [_on_tensorflow.dense(g) for g in grads])
            super()._backend_update_step(grads, trainable_variables, now)
        else:
            grads = [ops.convert_to_tensor(g, sparse=False) for g in grads]
            super()._backend_update_step(grads, trainable_variables, now)
        moved = ops.cast(ops.not_equal(now.lr, 0), "int32")
        if len(indices) < len(self._momentum_buffers):
            mask = np.zeros(len(self._momentum_buffers), "int32")
            mask[indices] = 1
            moved = ops.multiply(mask, moved)
        else:
            moved = ops.broadcast_to(moved, self._steps.shape)
        self.assign_add(self._steps, moved)

    def _update_on_torch(
        self,
        grads: list[Tensor],
        variables: list[keras.Variable],
        indices: list[int],
        now: Hyperparameters,
    ) -> None:
        rows, counts, steps = [], [], self._steps.value.unbind()
        for g, variable, i in zip(grads, variables, indices, strict=True):
            if keras.backend.standardize_dtype(variable.dtype) == wide(variable):
                u = self._momentum_buffers[i].value
                rows.append(_on_torch.Row(variable.value, g, u, self._scaling(i)))
                counts.append(steps[i])
            else:
                self.update_step(g, variable, now)
        _on_torch.step(rows, counts, **now._asdict())

    def _read(self, learning_rate: Tensor, example: Tensor) -> Hyperparameters:
        """The hyperparameters of this step; those of all variables come as the learning rate of each."""
        if isinstance(learning_rate, Hyperparameters):
            return learning_rate
        return Hyperparameters(
            learning_rate, *(read(x, example) for x in (self.alpha, self.beta, self.initial_speed))
        )

    def get_config(self) -> dict[str, object]:
        """All that the constructor takes; callables as Keras serializes them."""
        own = {name: getattr(self, name) for name in ("alpha", "beta", "initial_speed")}
        serialize = keras.saving.serialize_keras_object
        config: dict[str, object] = super().get_config()
        return config | {name: serialize(x) if callable(x) else x for name, x in own.items()}

    @classmethod
    def from_config(
        cls, config: dict[str, object], custom_objects: dict[str, object] | None = None
    ) -> "INNA":
        """The optimizer with this configuration."""
        config = dict(config)
        for name in ("alpha", "beta", "initial_speed"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        optimizer: INNA = super().from_config(config, custom_objects)
        return optimizer


def wide(variable: keras.Variable) -> str:
    """The dtype in which it is computed: in 16 bits 1 - alpha lr is 1."""
    return "float64" if keras.backend.standardize_dtype(variable.dtype) == "float64" else "float32"


def read(value: Number, example: Tensor) -> Tensor:
    """The value now, of a number or of a callable without arguments."""
    if not callable(value):
        return value
    if BACKEND == "jax":
        return _on_jax.now(value, example)
    return _on_tensorflow.now(value) if BACKEND == "tensorflow" else value()


def check(name: str, value: T) -> T:
    """The value, which must be in [0, inf) if it is a number; callables are passed through."""
    if not callable(value):
        try:
            in_range = 0 <= float(value) < float("inf")  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise TypeError(f"{name} must be a number or a callable, got {value!r}") from None
        if not in_range:
            raise ValueError(f"{name} must be finite and non-negative, got {value}")
    return value
