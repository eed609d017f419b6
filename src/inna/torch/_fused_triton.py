"""The fused step on a GPU: Triton kernel for up to 32 tensors at once. The truth is the loop in _inna.py."""

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from ._optimizer import Number, Tensors

try:
    import triton
    import triton.language as tl
except ModuleNotFoundError as error:
    raise RuntimeError(
        "fused=True on a GPU needs Triton, which PyTorch's builds for a GPU bring along on Linux: "
        "pip install triton, or use foreach=True"
    ) from error

__all__ = ["fused_triton_step"]

TOGETHER = 32  # tensors a launch: their addresses have to fit into a kernel's 4 KB of arguments
BLOCK = 2048  # values a program
PIECE = 2**30  # values: the offsets within a piece of a tensor are 32 bits wide


@triton.jit
def _pick(of_each, which):
    chosen = of_each[0]
    for i in tl.static_range(1, len(of_each)):
        chosen = tl.where(which >= i, of_each[i], chosen)
    return chosen


@triton.jit
def _option(value, on_device):
    if on_device is not None:
        return tl.load(on_device).to(tl.float64)
    return tl.full((), value, tl.float64)


@triton.jit
def _read(of_each, which, offsets, mask, real: tl.constexpr):
    addresses = _pick(of_each, which) + offsets
    return addresses, tl.load(addresses, mask=mask).to(real)


@triton.jit
def update(
    thetas,
    grads,
    momenta,
    squares,
    lows,
    steps,
    sizes,
    lr: tl.float64,
    alpha: tl.float64,
    beta: tl.float64,
    speed: tl.float64,
    decay: tl.float64,
    tensors,  # of the five options that are tensors, else None
    sign: tl.float64,
    coupled: tl.float64,
    sigma: tl.float64,
    log_sigma: tl.float64,  # few GPUs are quick at 64-bit logarithms
    eps: tl.float64,
    grad_scale,
    found_inf,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0)
    which = 0
    first = 0  # program of this tensor
    end = 0
    for i in tl.static_range(len(sizes) - 1):
        end += tl.cdiv(sizes[i], BLOCK)
        which += (program >= end).to(tl.int32)
        first = tl.where(program >= end, end, first)

    # theta <- keep theta - lr u - push v,  u <- damp u + gain v,  in the first step u_0 = (s - beta) v_0
    lr = _option(lr, tensors[0])
    alpha = _option(alpha, tensors[1])
    beta = _option(beta, tensors[2])
    step = tl.load(_pick(steps, which)).to(tl.float64)
    start = tl.where(step == 0, _option(speed, tensors[3]) - beta, 0.0)
    keep = 1 - lr * _option(decay, tensors[4])
    push = lr * (beta + start)
    damp = 1 - alpha * lr
    gain = lr * (1 - alpha * beta) + damp * start
    moves = lr != 0
    scale = tl.full((), sign, tl.float64)
    if grad_scale is not None:
        scale = scale / tl.load(grad_scale).to(tl.float64)
    if found_inf is not None:
        moves = moves & (tl.load(found_inf) == 0)

    offsets = (program - first) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < tl.where(moves, _pick(sizes, which), 0)
    real: tl.constexpr = tl.float64 if thetas[0].dtype.element_ty == tl.float64 else tl.float32
    to_theta, theta = _read(thetas, which, offsets, mask, real)
    to_u, u = _read(momenta, which, offsets, mask, real)
    _, v = _read(grads, which, offsets, mask, real)
    v = scale.to(real) * v + tl.full((), coupled, real) * theta
    if squares is not None:
        to_s, s = _read(squares, which, offsets, mask, real)
        sigma = tl.full((), sigma, tl.float64)
        s = sigma.to(real) * s + (1 - sigma).to(real) * v * v
        tl.store(to_s, s, mask=mask)
        correction = 1 - tl.exp((step + 1) * tl.full((), log_sigma, tl.float64))
        v = v / (tl.sqrt(s * (1 / correction).to(real)) + tl.full((), eps, real))
    if lows is not None:
        to_low, low = _read(lows, which, offsets, mask, real)
        move = keep.to(real) * low + (keep - 1).to(real) * theta - lr.to(real) * u - push.to(real) * v
        after = (theta + move).to(thetas[0].dtype.element_ty)
        tl.store(to_low, move + (theta - after.to(real)), mask=mask)
    else:
        after = keep.to(real) * theta - lr.to(real) * u - push.to(real) * v
    tl.store(to_theta, after, mask=mask)
    tl.store(to_u, damp.to(real) * u + gain.to(real) * v, mask=mask)


_OPTIONS = ("lr", "alpha", "beta", "speed", "decay")
_Row = list[Tensor]  # a parameter, its gradient, its momentum and what else there is


def fused_triton_step(
    tensors: Tensors,
    group: dict[str, Any],
    options: dict[str, Any],
    amp: tuple[Tensor | None, Tensor | None],
) -> None:
    """One step of parameters on one device.

    Every decision is made there: nothing waits for the device, and a CUDA graph may record the step.
    """
    device = tensors.params[0].device
    sigma = float(group.get("sigma", 0))
    values = {name: _at(value, device) for name, value in options.items()}
    grad_scale, found_inf = (t if t is None else t.to(device) for t in amp)
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        _launch_all(
            tensors,
            grad_scale=grad_scale,
            found_inf=found_inf,
            tensors=tuple(v if isinstance(v := values[name], Tensor) else None for name in _OPTIONS),
            coupled=0.0 if group["decoupled_weight_decay"] else float(group["weight_decay"]),
            sigma=sigma,
            log_sigma=math.log(sigma) if sigma else -math.inf,
            eps=max(float(group.get("eps", 0)), 2.0**-126),  # 0 / 0 is 0
            **{name: 0.0 if isinstance(value, Tensor) else value for name, value in values.items()},
        )
        moves: Any = values["lr"] != 0
        if found_inf is not None:
            moves = (found_inf == 0) & moves
        moves = [moves.float()] * len(tensors.steps) if isinstance(moves, Tensor) else int(moves)
        torch._foreach_add_(tensors.steps, moves)


def _at(value: Number, device: torch.device) -> Any:
    """A tensor on this device, or a number: to read one from a CPU waits for nothing."""
    if not isinstance(value, Tensor):
        return value
    return value.item() if value.device.type == "cpu" != device.type else value.to(device)


def _launch_all(these: Tensors, /, **arguments: Any) -> None:
    columns = {
        "thetas": these.params,
        "grads": these.grads,
        "momenta": these.momentum_buffers,
        "squares": these.exp_avg_sqs,
        "lows": these.compensations,
    }
    arguments |= {name: None for name, column in columns.items() if column[0] is None}
    names = [name for name in columns if name not in arguments]
    kinds: dict[tuple[Any, ...], list[tuple[_Row, Tensor]]] = {}
    copies: list[tuple[Tensor, Tensor]] = []
    for step, *row in zip(these.steps, *(columns[name] for name in names), strict=True):
        for piece in _pieces(_walkable(row, copies)):
            kinds.setdefault(_kind(piece), []).append((piece, step))
    for rows in kinds.values():
        for i in range(0, len(rows), TOGETHER):
            _launch(rows[i : i + TOGETHER], names, **arguments)
    for original, copy in copies:
        original.copy_(copy)


def _walkable(row: _Row, copies: list[tuple[Tensor, Tensor]]) -> _Row:
    """The kernel walks through memory, so a row needs one dense layout; others work on copies."""
    if all(t.is_contiguous() for t in row):
        return row
    strides = torch.empty_like(row[0], device="meta").stride()  # the parameter's own if it is dense
    if all(t.stride() == strides for t in row):
        return [t.as_strided((t.numel(),), (1,)) for t in row]
    dense = [t.contiguous() for t in row]
    copies += [(t, copy) for t, copy in zip(row, dense, strict=True) if t is not copy and t is not row[1]]
    return dense


def _pieces(row: _Row) -> list[_Row]:
    if row[0].numel() <= PIECE:
        return [row] if row[0].numel() else []
    return [list(parts) for parts in zip(*(t.view(-1).split(PIECE) for t in row), strict=True)]


def _kind(row: _Row) -> tuple[Any, ...]:
    """All that Triton compiles a kernel of its own for; it is the same for the tensors of one launch."""
    size = row[0].numel()
    return size % 16 == 0, size == 1, *((t.dtype, t.data_ptr() % 16 == 0) for t in row)


def _launch(rows: list[tuple[_Row, Tensor]], names: list[str], **arguments: Any) -> None:
    programs = sum(triton.cdiv(piece[0].numel(), BLOCK) for piece, _ in rows)
    rows = rows + rows[-1:] * (triton.next_power_of_2(len(rows)) - len(rows))  # few lengths, few kernels
    columns = zip(*(piece for piece, _ in rows), strict=True)
    update[(programs,)](
        **dict(zip(names, columns, strict=True)),
        steps=tuple(step for _, step in rows),
        sizes=tuple(piece[0].numel() for piece, _ in rows),
        BLOCK=BLOCK,
        num_warps=8,
        **arguments,
    )
