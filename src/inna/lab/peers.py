"""Peers that no library has as one optimizer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon"]


class Muon:
    """Muon for matrices, AdamW for all else, as one optimizer with one step size.

    `torch.optim.Muon` takes matrices alone. Its updates are scaled to the root mean square of AdamW's, so
    that lr means the same for both. Of two groups, as a plan's ``weight_decay_on = "matrices"`` gives them,
    those of the second (biases, gains, embeddings) are AdamW's whatever their shape.

    Args:
        params: tensors, or groups of them.
        lr: the step size, >= 0.
        momentum: Muon's, in [0, 1).
        betas: AdamW's.
        weight_decay: decoupled, of both; a group may have its own.

    Example:
        >>> layer = torch.nn.Linear(2, 3)
        >>> [len(group["params"]) for group in Muon(layer.parameters(), lr=1e-3).param_groups]
        [1, 1]

    Reference:
        Jordan et al., Muon (2024); Liu et al., Muon is Scalable for LLM Training, arXiv 2502.16982, 2.2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.1,
    ) -> None:
        params = list(params)
        groups = params if params and isinstance(params[0], dict) else [{"params": params}]
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for number, group in enumerate(groups):
            for param in group["params"]:
                kept = matrices if number == 0 and param.ndim == 2 else others
                kept.append({"params": [param], "weight_decay": group.get("weight_decay", weight_decay)})
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            self._parts.append(
                torch.optim.Muon(matrices, lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")
            )
        if others:
            self._parts.append(torch.optim.AdamW(others, lr, betas=betas))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both."""
        return [group for part in self._parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """A step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """That of each, by its name."""
        return {type(part).__name__: part.state_dict() for part in self._parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        for part in self._parts:
            part.load_state_dict(state[type(part).__name__])
