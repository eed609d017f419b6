"""What INNA asks of PyTorch: the step of many variables at once, by its multi-tensor kernels."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from ._direction import TINY

__all__ = ["Row", "step"]


class Row(NamedTuple):
    """The tensors of one variable; INNA's has no `square`."""

    theta: torch.Tensor
    u: torch.Tensor
    g: torch.Tensor
    square: torch.Tensor | None = None


@torch.no_grad()
def step(
    rows: list[Row], counts: torch.Tensor, numbers: Callable[[int], Any], sigma: float, eps: float
) -> None:
    """One step of all rows; `numbers` gives the coefficients of a variable that has taken so many before."""
    alike: dict[tuple[int, torch.device, torch.dtype], list[Row]] = {}
    for row, k in zip(rows, counts.tolist(), strict=True):
        alike.setdefault((k, row.theta.device, row.theta.dtype), []).append(row)
    for (k, _, _), some in alike.items():
        c = numbers(k)
        for block in blocks(some):
            thetas, us, gs, squares = (list(column) for column in zip(*block, strict=True))
            vs = gs if squares[0] is None else scaled(gs, squares, 1 - sigma ** (k + 1), sigma, eps)
            torch._foreach_add_(thetas, us, alpha=-c.lr)
            torch._foreach_add_(thetas, vs, alpha=-c.push)
            torch._foreach_mul_(us, c.damp)
            torch._foreach_add_(us, vs, alpha=c.gain)


def scaled(
    gs: list[torch.Tensor], squares: list[torch.Tensor], unbiased: float, sigma: float, eps: float
) -> list[torch.Tensor]:
    """The second moments move on; the gradients over their roots."""
    torch._foreach_mul_(squares, sigma)
    torch._foreach_addcmul_(squares, gs, gs, value=1 - sigma)
    vs = list(torch._foreach_div(squares, unbiased))
    torch._foreach_sqrt_(vs)
    torch._foreach_add_(vs, max(eps, TINY))
    torch._foreach_reciprocal_(vs)
    torch._foreach_mul_(vs, gs)
    return vs


def blocks(rows: list[Row], size: int = 2**19) -> Iterator[list[Row]]:
    """On a CPU about `size` values at a time: a kernel then finds in the cache what the last one touched."""
    if rows[0].theta.device.type != "cpu":
        yield rows
        return
    block: list[Row] = []
    values = 0
    for row in rows:
        for piece in pieces(row, size):
            block.append(piece)
            values += piece.theta.numel()
            if values >= size:
                yield block
                block, values = [], 0
    if block:
        yield block


def pieces(row: Row, size: int) -> Iterator[Row]:
    """A row, cut where it is long and lies straight in memory."""
    tensors = [tensor for tensor in row if tensor is not None]
    if row.theta.numel() <= size or not all(tensor.is_contiguous() for tensor in tensors):
        yield row
        return
    for parts in zip(*(torch.split(tensor.view(-1), size) for tensor in tensors), strict=True):
        yield Row(*parts)
