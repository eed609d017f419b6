"""Which parameters a weight decay is for."""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["param_groups"]

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


def param_groups(model: nn.Module, weight_decay: float, *, embeddings: bool = False) -> list[dict[str, Any]]:
    """The parameters of a model in two groups: those that decay, and those that do not.

    Biases, all other vectors and scalars, and whatever belongs to a normalisation layer do not decay, nor do
    embeddings. A weight that an embedding shares with another layer counts as an embedding's.

    Args:
        model: whose parameters, those that require a gradient.
        weight_decay: of the first group, >= 0.
        embeddings: whether embeddings decay.

    Raises:
        ValueError: the weight decay is negative or not finite.

    Example:
        >>> import torch
        >>> from inna.torch import INNAprop
        >>> model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.LayerNorm(4))
        >>> decayed, others = param_groups(model, weight_decay=0.1)
        >>> len(decayed["params"]), len(others["params"])
        (1, 4)
        >>> optimizer = INNAprop([decayed, others], lr=1e-3)
    """
    if not 0 <= weight_decay < float("inf"):
        raise ValueError(f"weight_decay must be finite and non-negative, got {weight_decay}")
    kept = (*NORMS, *(() if embeddings else (nn.Embedding, nn.EmbeddingBag)))
    spared = {
        id(p)
        for module in model.modules()
        if isinstance(module, kept) or type(module).__name__.endswith("Norm")
        for p in module.parameters(recurse=False)
    }
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for p in model.parameters():
        if p.requires_grad:
            groups[p.ndim > 1 and id(p) not in spared].append(p)
    return [
        {"params": groups[True], "weight_decay": weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]
