"""INNA for Keras, in the momentum form of the recursion."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from .. import schedules

__all__ = ["INNA", "schedule"]


def inna_update(
    theta: Any, v: Any, u: Any, *, v_again: Any, lr: Any, alpha: Any, beta: Any, push: Any
) -> tuple[Any, Any]:
    """One step: the next theta and the next u; u + push v stands for u, which is 0 before the start."""
    kept = 1 - alpha * lr
    theta = theta - lr * (u + (push + beta) * v)
    if keras.backend.backend() == "jax":
        theta, kept = _theta_first(theta, kept)
    return theta, kept * u + (kept * push + lr * (1 - alpha * beta)) * v_again


def _in_place_inna(theta: Any, v: Any, u: Any, *, lr: Any, alpha: Any, beta: Any, push: Any) -> None:
    """`inna_update` in TensorFlow's fused passes."""
    import tensorflow as tf

    kept = 1 - alpha * lr
    apply = tf.raw_ops.ResourceApplyGradientDescent
    apply(var=theta.handle, alpha=lr, delta=u)
    apply(var=theta.handle, alpha=lr * (push + beta), delta=v)
    u.assign(kept * u)
    apply(var=u.handle, alpha=-(kept * push + lr * (1 - alpha * beta)), delta=v)


def _none_at_0(learning_rate: Any, grads: Any) -> Any:
    """The gradients, or zeros where the learning rate is 0: 0 times infinity is no number."""
    import tensorflow as tf

    moves = tf.convert_to_tensor(learning_rate) != 0
    return tf.cond(moves, lambda: grads, lambda: [tf.zeros_like(grad) for grad in grads])


def _theta_first(theta: Any, kept: Any) -> tuple[Any, Any]:
    """Make `kept` wait for theta: both outputs read u, and without an order XLA copies it on a CPU."""
    import jax

    if jax.default_backend() != "cpu" or theta.size == 0:
        return theta, kept
    theta = jax.lax.optimization_barrier(theta)
    never = theta[(0,) * theta.ndim] > float("inf")
    return theta, jax.numpy.where(never, 0, kept)


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
            without arguments. A step with learning rate 0 changes neither variables nor state.
        alpha: viscous damping, >= 0, or a callable without arguments that is read at every step. Lower it
            when convergence is slow.
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
        learning_rate: Any = 0.1,
        alpha: Any = 0.5,
        beta: Any = 0.1,
        initial_speed: Any = 1.0,
        **keras_options: Any,
    ) -> None:
        if not isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            check("learning_rate", learning_rate)
        super().__init__(learning_rate=learning_rate, **keras_options)
        if self.weight_decay is not None:
            check("weight_decay", self.weight_decay)
        self.alpha = check("alpha", alpha)
        self.beta = check("beta", beta)
        self.initial_speed = check("initial_speed", initial_speed)

    def build(self, variables: Any) -> None:
        """Create the momentum of each variable, and count the steps that each has taken."""
        if self.built:
            return
        super().build(variables)
        self._momentum_buffers = self.add_optimizer_variables(variables, "momentum_buffer")
        self._steps = self.add_variable(
            (len(variables),), dtype="int32", aggregation="only_first_replica", name="steps"
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        i = self._get_variable_index(variable)
        buffer = self._momentum_buffers[i]
        kind = keras.backend.standardize_dtype(variable.dtype)
        exact = kind if kind == "float64" else "float32"  # 1 - alpha lr is 1 in bfloat16
        lr, alpha, beta, speed = (
            ops.convert_to_tensor(read(x), exact)
            for x in (learning_rate, self.alpha, self.beta, self.initial_speed)
        )
        moves = ops.not_equal(lr, 0)
        v, v_again = self._direction(i, ops.cast(gradient, exact), moves)
        push = ops.cast(ops.logical_and(moves, ops.equal(self._steps[i], 0)), exact) * (speed - beta)
        if keras.backend.backend() == "tensorflow" and kind == exact:
            theta = variable.value if isinstance(variable, keras.Variable) else variable
            _in_place_inna(theta, v, buffer.value, lr=lr, alpha=alpha, beta=beta, push=push)
        else:
            v, v_again = ops.where(moves, v, 0), ops.where(moves, v_again, 0)
            theta, u = ops.cast(variable, exact), ops.cast(buffer, exact)
            theta, u = inna_update(theta, v, u, v_again=v_again, lr=lr, alpha=alpha, beta=beta, push=push)
            self.assign(variable, ops.cast(theta, variable.dtype))
            self.assign(buffer, ops.cast(u, buffer.dtype))

    def _direction(self, i: int, gradient: Any, moves: Any) -> tuple[Any, Any]:
        """What the recursion takes for v, given the i-th variable's gradient; for theta and for u."""
        return gradient, gradient

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        if keras.backend.backend() != "torch":
            grads = [_dense(grad) for grad in grads]
            if keras.backend.backend() == "tensorflow":
                grads = _none_at_0(learning_rate, grads)
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            moved = np.zeros(len(self._momentum_buffers), "int32")
            moved[[self._get_variable_index(variable) for variable in trainable_variables]] = 1
            self.assign_add(self._steps, moved * ops.cast(ops.not_equal(learning_rate, 0), "int32"))
            return
        from ..torch import foreach_step

        indices = [self._get_variable_index(variable) for variable in trainable_variables]
        steps = self._steps.value
        counts = steps.cpu().unbind()  # on a CPU these are views
        lr, alpha, beta, speed = (
            float(read(x)) for x in (learning_rate, self.alpha, self.beta, self.initial_speed)
        )
        foreach_step(
            [variable.value for variable in trainable_variables],
            grads,
            [self._momentum_buffers[i].value for i in indices],
            [counts[i] for i in indices],
            **self._second_moments_of(indices),
            lr=lr,
            alpha=alpha,
            beta=beta,
            initial_speed=speed,
        )
        if lr != 0 and not steps.is_cpu:
            steps[indices] += 1

    def _second_moments_of(self, indices: list[int]) -> dict[str, Any]:
        """On PyTorch what `inna.torch.foreach_step` takes besides, for INNAprop."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """All that the constructor takes; callables as Keras serializes them."""
        own = {name: getattr(self, name) for name in ("alpha", "beta", "initial_speed")}
        serialize = keras.saving.serialize_keras_object
        config: dict[str, Any] = super().get_config()
        return config | {name: serialize(x) if callable(x) else x for name, x in own.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "INNA":
        """The optimizer with this configuration."""
        config = dict(config)
        for name in ("alpha", "beta", "initial_speed"):
            if isinstance(config.get(name), dict):
                config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        optimizer: INNA = super().from_config(config, custom_objects)
        return optimizer


@keras.saving.register_keras_serializable(package="inna")
class schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    r"""A Keras schedule from one of `inna.schedules`: :math:`\gamma_k = \gamma_0 f(k)`.

    Args:
        f: a schedule of `inna.schedules`.
        lr: gamma_0.

    Example:
        >>> from inna import schedules
        >>> optimizer = INNA(schedule(schedules.power(0.5), lr=0.1))

    Reference: Castera et al. (2021), Section 5.2 and Figure 4.
    """

    def __init__(self, f: schedules.Schedule, lr: float) -> None:
        self.f, self.lr = f, lr

    def __call__(self, step: Any) -> Any:
        k = ops.cast(step, keras.config.floatx())
        return self.lr * ops.cast(self.f(k, ops), k.dtype)

    def get_config(self) -> dict[str, Any]:
        """The family's name and fields, and lr."""
        return {"f": _family_to_config(self.f), "lr": self.lr}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "schedule":
        """The schedule with this configuration."""
        return cls(_family_from_config(config["f"]), config["lr"])


def _family_to_config(f: Any) -> dict[str, Any]:
    if type(f).__name__ not in schedules.__all__:
        raise ValueError(f"only the schedules of inna.schedules can be saved, got {f!r}")
    values = {field.name: getattr(f, field.name) for field in dataclasses.fields(f)}
    return {
        "family": type(f).__name__,
        **{k: _family_to_config(x) if isinstance(x, schedules.Schedule) else x for k, x in values.items()},
    }


def _family_from_config(config: dict[str, Any]) -> Any:
    family, values = config["family"], {k: x for k, x in config.items() if k != "family"}
    if family not in schedules.__all__:
        raise ValueError(f"inna.schedules has no schedule {family!r}")
    values = {k: _family_from_config(x) if isinstance(x, dict) else x for k, x in values.items()}
    return getattr(schedules, family)(**values)


def _dense(gradient: Any) -> Any:
    """Gradients of embeddings may be sparse; the momentum moves every row all the same."""
    if keras.backend.backend() != "tensorflow":
        return ops.convert_to_tensor(gradient, sparse=False)
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


def read(value: Any) -> Any:
    """The value now, of a number or of a callable without arguments."""
    return value() if callable(value) else value


def check(name: str, value: Any) -> Any:
    """The value, which must be in [0, inf) if it is a number; callables are passed through."""
    if not callable(value):
        try:
            in_range = 0 <= float(value) < float("inf")
        except (TypeError, ValueError):
            raise TypeError(f"{name} must be a number or a callable, got {value!r}") from None
        if not in_range:
            raise ValueError(f"{name} must be finite and non-negative, got {value}")
    return value
