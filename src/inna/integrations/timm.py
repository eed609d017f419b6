"""INNA by name in timm: its training script and its factory with layer decay and parameter groups."""

from timm.optim import OptimInfo
from timm.optim._optim_factory import default_registry

from ..torch import INNA, INNAprop

__all__ = ["register"]


def register() -> None:
    """Register `inna` and `innaprop` with timm's factory.

    timm passes lr and weight decay; alpha, beta and the rest are further keyword arguments of its factory, or
    `--opt-kwargs` of its training script.

    Example:
        >>> import timm, torch  # doctest: +SKIP
        >>> register()
        >>> model = torch.nn.Linear(3, 1)
        >>> timm.optim.create_optimizer_v2(model, "innaprop", lr=0.01, weight_decay=0.1, layer_decay=0.75)
    """
    for optimizer, description, has_eps in (
        (INNA, "Inertial Newton Algorithm", False),
        (INNAprop, "Inertial Newton Algorithm on gradients divided by their root mean square", True),
    ):
        name = optimizer.__name__.lower()
        default_registry.register(OptimInfo(name, optimizer, description, has_eps=has_eps))
