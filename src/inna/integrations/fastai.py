"""INNA as a fastai `opt_func`, with which `fit_one_cycle` works."""

from functools import partial
from typing import Any

from fastai.optimizer import OptimWrapper

from ..torch import INNA, INNAprop

__all__ = ["opt_func"]


class _Wrapper(OptimWrapper):  # type: ignore[misc]
    """fastai's wrapper with INNA's momentum 1 - alpha lr, which can be read and not be set."""

    @property
    def hypers(self) -> list[dict[str, Any]]:
        return [{**group, "mom": 1 - group["alpha"] * group["lr"]} for group in super().hypers]

    def _set_hyper(self, name: str, values: Any) -> None:
        if name != "mom":
            super()._set_hyper(name, values)


def opt_func(optimizer: type[INNA | INNAprop] = INNAprop, **settings: Any) -> Any:
    """An `opt_func` for a fastai `Learner`.

    Args:
        optimizer: the class.
        settings: its keyword arguments but lr, which fastai sets.

    Example:
        >>> Learner(data, model, loss, opt_func=opt_func(INNA, alpha=0.5, beta=1.0), lr=0.1)  # doctest: +SKIP
    """
    return partial(_Wrapper, opt=optimizer, hp_map={"weight_decay": "wd"}, **settings)
