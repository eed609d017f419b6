"""INNA and INNAprop for Keras 3, on its PyTorch, JAX and TensorFlow backends.

Example:
    >>> import keras, numpy
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile(optimizer=INNA(learning_rate=0.1), loss="mse")
    >>> history = model.fit(numpy.ones((8, 3)), numpy.ones((8, 1)), verbose=0)
"""

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "keras":
        raise
    raise ModuleNotFoundError("inna.keras needs Keras: pip install 'inna[keras]'", name="keras") from error

from ._inna import INNA
from ._innaprop import INNAprop
from ._names import register
from ._schedule import schedule

__all__ = ["INNA", "INNAprop", "schedule"]

register(INNA, INNAprop)
