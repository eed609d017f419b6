"""What INNA asks of TensorFlow: its kernels of one pass, dense gradients, a callable's value in a graph."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from ._direction import TINY, Scaling, unbiased

__all__ = ["Direction", "beside", "dense", "native", "none_at_0", "now", "subtract"]


def subtract(variable: Any, a: Any, v: Any) -> None:
    """Take a v from the variable, in one pass."""
    tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=a, delta=v)


class Direction:
    """The v of `_direction.direction`, taken from a variable in one pass without a copy of its own."""

    def __init__(self, g: Any, scaling: Scaling | None, k: Any) -> None:
        self._g, self._scaling = g, scaling
        if scaling is not None:
            self._part = (1 - scaling.sigma) ** 0.5
            self._g = self._part * g
            self._root = tf.sqrt(unbiased(tf.cast(k, g.dtype), scaling.sigma))
            self._eps = tf.maximum(scaling.eps * self._root, TINY)

    def subtract_from(self, variable: Any, a: Any, *, first: bool = False) -> None:
        """Take a v from it; the first time (1 - sigma) g^2 is added to the second moment before."""
        if self._scaling is None:
            subtract(variable, a, self._g)
            return
        tf.raw_ops.ResourceApplyAdagradV2(
            var=variable.handle,
            accum=native(self._scaling.square).handle,
            lr=a * self._root / self._part,
            epsilon=self._eps,
            grad=self._g,
            update_slots=first,
        )


def native(variable: Any) -> Any:
    """TensorFlow's variable of Keras's."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def beside(variable: Any) -> AbstractContextManager[Any]:
    """A scope whose variables lie where this one does."""
    scope: AbstractContextManager[Any] = tf.distribute.get_strategy().extended.colocate_vars_with(
        native(variable)
    )
    return scope


def dense(gradient: Any) -> Any:
    """Gradients of embeddings may be sparse; the momentum moves every row all the same."""
    return tf.convert_to_tensor(gradient)


def none_at_0(learning_rate: Any, gradients: list[Any]) -> Any:
    """The gradients, or zeros where the learning rate is 0: 0 times infinity is no number."""
    moves = tf.convert_to_tensor(learning_rate) != 0
    return tf.cond(moves, lambda: gradients, lambda: [tf.zeros_like(g) for g in gradients])


def now(function: Callable[[], Any]) -> Any:
    """The function's value; in a graph, unless that holds it, asked for again at every step."""
    value = function()
    if tf.executing_eagerly() or tf.is_tensor(value) or isinstance(value, keras.Variable):
        return value
    graph = tf.compat.v1.get_default_graph()
    while type(graph).__name__ == "CondBranchFuncGraph":
        graph = graph.outer_graph
    outer = getattr(graph, "outer_graph", None)
    if hasattr(outer, "outer_graph") and type(graph).__name__ == "FuncGraph":
        graph = outer  # XLA may compile this function, but no call of Python
    with graph.as_default():
        number = tf.numpy_function(lambda: float(function()), [], tf.float64)
    number.set_shape(())
    return number
