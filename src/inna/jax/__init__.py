"""INNA and INNAprop for JAX, as optax gradient transformations.

Example:
    >>> import jax, optax
    >>> optimizer = inna(learning_rate=0.1)
    >>> params = {"w": jax.numpy.ones(3)}
    >>> state = optimizer.init(params)
    >>> grads = jax.grad(lambda p: (p["w"] ** 2).sum())(params)
    >>> updates, state = optimizer.update(grads, state, params)
    >>> params = optax.apply_updates(params, updates)
"""

try:
    import jax as _jax  # noqa: F401
    import optax as _optax  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("jax", "jaxlib", "optax"):
        raise
    raise ModuleNotFoundError(
        f"inna.jax needs {error.name}: pip install 'inna[jax]'", name=error.name
    ) from error

from ._hyperparameters import schedule
from ._inna import InnaState, inna, scale_by_inna
from ._innaprop import InnapropState, innaprop

__all__ = ["InnaState", "InnapropState", "inna", "innaprop", "scale_by_inna", "schedule"]
