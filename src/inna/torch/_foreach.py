"""The update of _inna.py for lists: a few multi-tensor kernels instead of some for each parameter."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ._coefficients import Number, coefficients, pull, start_of, where_the_step_nears_0
from ._optimizer import Tensors

__all__ = ["alike", "foreach_add", "foreach_add_", "foreach_scale_", "multi_tensor_inna", "zeros_unless"]


def multi_tensor_inna(
    tensors: Tensors,
    directions: Callable[[Tensors], list[Tensor]],
    *,
    capturable: bool,
    cautious: bool = False,
    through_psi: bool = False,
    **options: Any,
) -> None:
    """One step of parameters that are `alike`, all at once; `directions` makes the v of a block of them."""
    like = tensors.params[0]
    step = torch.stack(tensors.steps) if capturable else tensors.steps[0].item()
    start = start_of(step, like, **options)
    keep, lr, push, damp, gain = coefficients(0.0 if capturable else start, like, **options)
    for block in [tensors] if capturable else blocks(tensors):
        params, momentum_buffers, compensations = block.params, block.momentum_buffers, block.compensations
        vs = list(directions(block))
        kahan = compensations[0] is not None
        thetas = compensations if kahan else params  # with kahan_sum the step is summed up there

        if capturable and options["speed"] is not options["beta"]:  # each parameter has a start of its own
            foreach_add_(momentum_buffers, vs, options["sign"] * start)
        if through_psi:
            foreach_add_(momentum_buffers, params, pull(keep, **options))
        if cautious:
            for theta, param, u, v in zip(thetas, params, momentum_buffers, vs, strict=True):
                each = where_the_step_nears_0(keep, param, lr * u + push * v)
                theta.mul_(each)
                if kahan:
                    theta.add_(param * (each - 1))
        else:
            foreach_scale_(thetas, keep)  # theta <- keep theta - lr u - push v
            if kahan:
                foreach_add_(compensations, params, keep - 1)
        foreach_add_(thetas, momentum_buffers, -lr)
        foreach_add_(thetas, vs, -push)
        foreach_scale_(momentum_buffers, damp)  # u <- damp u + gain v
        foreach_add_(momentum_buffers, vs, gain)

        del vs  # kahan_sum makes another list of their size
        if kahan:
            before = [param.clone() for param in params]
            torch._foreach_add_(params, compensations)
            torch._foreach_sub_(before, params)
            torch._foreach_add_(compensations, before)  # what the rounding of params lost
            del before
    count(tensors.steps, lr)


def count(steps: list[Tensor], lr: Number) -> None:
    """Add 1 to each step; on the device, where lr is a tensor, 0 if lr is 0."""
    if isinstance(lr, Tensor):
        one = (lr != 0).to(steps[0])
    else:  # a tensor: of a number torch would make one for each step
        one = torch.ones((), dtype=steps[0].dtype, device="cpu")
    torch._foreach_add_(steps, [one] * len(steps))


def foreach_add(ys: list[Tensor], xs: list[Tensor], a: Number) -> list[Tensor]:
    """Return y + a x for each pair; a tensor a has one element."""
    if not isinstance(a, Tensor):
        return list(torch._foreach_add(ys, xs, alpha=a))
    sums = list(torch._foreach_mul(xs, a))
    torch._foreach_add_(sums, ys)
    return sums


def foreach_add_(ys: list[Tensor], xs: list[Tensor], a: Number) -> None:
    """Compute y <- y + a x in place for each pair; a tensor a has one element, or one for each pair.

    One element takes a copy of the xs and few kernels. One for each pair takes some kernels for each.
    """
    if not isinstance(a, Tensor):
        if a != 0:
            torch._foreach_add_(ys, xs, alpha=a)
    elif a.dim() == 0:
        torch._foreach_add_(ys, torch._foreach_mul([x.to(a.dtype) for x in xs], a))
    elif ys[0].element_size() < 4:
        torch._foreach_add_(ys, torch._foreach_mul([x.to(a.dtype) for x in xs], a.unbind()))
    else:
        torch._foreach_addcmul_(ys, xs, a.unbind())


def foreach_scale_(ys: list[Tensor], a: Number) -> None:
    """Compute y <- a y in place for each."""
    if isinstance(a, Tensor) and ys[0].element_size() < 4:
        torch._foreach_copy_(ys, torch._foreach_mul([y.to(a.dtype) for y in ys], a))
    elif isinstance(a, Tensor):
        torch._foreach_mul_(ys, a.to(ys[0].dtype))
    else:  # y + (a - 1) y; a product with a number would first make tensors of it, one for each of ys
        foreach_add_(ys, ys, a - 1)


def zeros_unless(moves: Tensor, grads: list[Tensor]) -> list[Tensor]:
    """Copies of the gradients; zeros, even for NaN and infinity, if `moves` is false."""
    flat = torch.cat([grad.reshape(-1) for grad in grads]).masked_fill_(~moves.to(grads[0].device), 0)
    pieces = torch.split(flat, [grad.numel() for grad in grads])
    return [piece.view_as(grad) for piece, grad in zip(pieces, grads, strict=True)]


def alike(tensors: Tensors, capturable: bool) -> list[Tensors]:
    """Split into lists of one device, dtype and kind of step (a parameter's first or a later one) each."""
    of_each = zip(tensors.params, tensors.momentum_buffers, tensors.steps, strict=True)
    kinds = [  # with capturable the device decides which step it is
        (param.device, param.dtype, momentum_buffer.dtype, None if capturable else step.item() == 0)
        for param, momentum_buffer, step in of_each
    ]
    if kinds.count(kinds[0]) == len(kinds):
        return [tensors]
    positions = [[i for i, kind in enumerate(kinds) if kind == one] for one in dict.fromkeys(kinds)]
    return [Tensors(*([column[i] for i in of_kind] for column in tensors)) for of_kind in positions]


def blocks(tensors: Tensors, size: int = 2**19) -> Iterator[Tensors]:
    """On a CPU about `size` values at a time: a kernel then finds in the cache what the last one touched."""
    if tensors.params[0].device.type != "cpu" or sum(param.numel() for param in tensors.params) <= 2 * size:
        yield tensors
        return
    block: list[list[Any]] = []
    values = 0
    for row in zip(*tensors, strict=True):
        for piece in pieces(row, size):
            block.append(piece)
            values += piece[0].numel()
            if values >= size:
                yield Tensors(*([row[i] for row in block] for i in range(len(Tensors._fields))))
                block, values = [], 0
    if block:
        yield Tensors(*([row[i] for row in block] for i in range(len(Tensors._fields))))


def pieces(row: tuple[Any, ...], size: int) -> list[list[Any]]:
    """A parameter and what belongs to it, cut where it is long and lies straight in memory."""
    number = -(-row[0].numel() // size)
    if number <= 1 or not all(t is None or t.is_contiguous() for t in row):
        return [list(row)]
    columns = [[t] * number if t is None or t.dim() == 0 else t.view(-1).split(size) for t in row]
    return [[column[i] for column in columns] for i in range(number)]
