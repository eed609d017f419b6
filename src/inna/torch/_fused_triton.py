"""The fused step on a GPU: Triton kernel for up to 32 tensors at once. The truth is the loop in _inna.py."""

import math
from contextlib import nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ._eight_bit import BLOCK as TOGETHER
from ._eight_bit import apart, laid_out
from ._fused_plan import Launch, fact, plan
from ._optimizer import Number, Tensors

try:
    import triton

    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 4):  # it would round lr to float32, or fail
        raise RuntimeError(
            f"fused=True on a GPU needs Triton 3.4 or newer and found {triton.__version__}: install a newer "
            "PyTorch or Triton, or use foreach=True"
        )
    import triton.language as tl
except ModuleNotFoundError as error:
    raise RuntimeError(
        "fused=True on a GPU needs Triton, which PyTorch's builds for a GPU bring along on Linux: "
        "pip install triton, or use foreach=True"
    ) from error

__all__ = ["fused_triton_step"]

BLOCK = 2048  # values a program


@triton.jit
def _inna_step(theta, u, v, keep, lr, push, damp, gain):
    return keep * theta - lr * u - push * v, damp * u + gain * v


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
def _mixed(x):
    """_rounding.py says what these two do."""
    x = (x ^ (x >> 16)) * 0x21F0AAAD
    x = (x ^ (x >> 15)) * 0x735A2D97
    return x ^ (x >> 15)


@triton.jit
def _rounded(exact, noise, lost_bits: tl.constexpr):
    bits = exact.to(tl.uint32, bitcast=True)
    finite = (bits & 0x7F800000) != 0x7F800000
    up = (bits + (noise & ((1 << lost_bits) - 1))) >> lost_bits << lost_bits
    return tl.where(finite, up, bits).to(tl.float32, bitcast=True)


@triton.jit
def _decoded(codes, exponents, lost: tl.constexpr):
    """_eight_bit.py says what a code means, and why it is rounded so."""
    code = codes.to(tl.int32)
    unit = (exponents.to(tl.uint32) << 23).to(tl.float32, bitcast=True)
    size = (((tl.abs(code) << lost) + 0x3F800000).to(tl.float32, bitcast=True) - 1) * unit
    return tl.where(code < 0, -size, size)


@triton.jit
def _encode(
    exact,
    to_codes,
    to_exponents,
    offsets,
    mask,
    random,
    lost: tl.constexpr,
    last: tl.constexpr,
    BLOCK: tl.constexpr,
):
    size = tl.abs(tl.where(mask, exact, 0.0))
    top: tl.constexpr = 14.7501 if last == 127 else 63487.5
    largest = tl.max(tl.reshape(size.to(tl.int32, bitcast=True), (BLOCK // 64, 64)), axis=1)
    ratio = largest.to(tl.float32, bitcast=True) * (1 / top)
    fits = tl.minimum((ratio.to(tl.int32, bitcast=True) >> 23 & 255) + 1, 255)
    firsts = tl.max(tl.reshape(tl.where(mask, offsets // 64, 0), (BLOCK // 64, 64)), axis=1)
    there = tl.max(tl.reshape(mask.to(tl.int32), (BLOCK // 64, 64)), axis=1) > 0
    old = tl.load(to_exponents + firsts, mask=there, other=0).to(tl.int32)
    exponents = tl.where((fits <= old) & (old <= fits + 1), old, fits)
    tl.store(to_exponents + firsts, exponents.to(tl.uint8), mask=there)
    inverse = ((254 - exponents) << 23).to(tl.float32, bitcast=True)
    inverse = tl.reshape(tl.broadcast_to(inverse[:, None], (BLOCK // 64, 64)), (BLOCK,))
    size = size * inverse
    code = ((1 + size).to(tl.int32, bitcast=True) - 0x3F800000 + random.to(tl.int32)) >> lost
    code = tl.minimum(code, last)
    at_least_1 = tl.maximum(code, (size > 0).to(tl.int32))
    code = at_least_1 if last == 255 else tl.where(exact < 0, -code, code)
    code = tl.where(size >= 0, code, 0)
    tl.store(to_codes, code.to(to_codes.dtype.element_ty), mask=mask)


@triton.jit
def update(
    thetas,
    grads,
    momentum_buffers,
    exp_avg_sqs,
    compensations,
    momentum_exponents,
    exp_avg_sq_exponents,
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
    STOCHASTIC: tl.constexpr,
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

    lr = _option(lr, tensors[0])
    alpha = _option(alpha, tensors[1])
    beta = _option(beta, tensors[2])
    step = tl.load(_pick(steps, which)).to(tl.float64)
    start = tl.where(step == 0, _option(speed, tensors[3]) - beta, 0.0)  # u_0 = (s - beta) v_0
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
    if momentum_exponents is not None:
        to_u, u = _read(momentum_buffers, which, offsets, mask, tl.int32)
        u_exponents = _pick(momentum_exponents, which)
        u = _decoded(u, tl.load(u_exponents + offsets // 64, mask=mask, other=0), 18)
        random = _mixed(offsets.to(tl.uint32) ^ _mixed((step.to(tl.uint32) + 1) ^ 0x40000000))
    else:
        to_u, u = _read(momentum_buffers, which, offsets, mask, real)
    _, v = _read(grads, which, offsets, mask, real)
    v = scale.to(real) * v + tl.full((), coupled, real) * theta
    if exp_avg_sqs is not None:
        if momentum_exponents is not None:
            to_s, s = _read(exp_avg_sqs, which, offsets, mask, tl.int32)
            s_exponents = _pick(exp_avg_sq_exponents, which)
            s = _decoded(s, tl.load(s_exponents + offsets // 64, mask=mask, other=0), 19)
        else:
            to_s, s = _read(exp_avg_sqs, which, offsets, mask, real)
        sigma = tl.full((), sigma, tl.float64)
        s = sigma.to(real) * s + (1 - sigma).to(real) * v * v
        if momentum_exponents is not None:
            _encode(s, to_s, s_exponents, offsets, mask, random & 0x7FFFF, 19, 255, BLOCK)
        else:
            tl.store(to_s, s, mask=mask)
        correction = 1 - tl.exp((step + 1) * tl.full((), log_sigma, tl.float64))
        v = v / (tl.sqrt(s * (1 / correction).to(real)) + tl.full((), eps, real))

    summed = theta  # with kahan_sum the step is summed up in the compensation
    if compensations is not None:
        to_compensation, summed = _read(compensations, which, offsets, mask, real)
    after, u = _inna_step(
        summed, u, v, keep.to(real), lr.to(real), push.to(real), damp.to(real), gain.to(real)
    )
    if compensations is not None:
        move = after + (keep - 1).to(real) * theta
        after = (theta + move).to(thetas[0].dtype.element_ty)
        tl.store(to_compensation, move + (theta - after.to(real)), mask=mask)
    elif STOCHASTIC and thetas[0].dtype.element_ty.primitive_bitwidth == 16:
        noise = _mixed(offsets.to(tl.uint32) ^ _mixed(step.to(tl.uint32) + 1))
        after = _rounded(after, noise, 16 if thetas[0].dtype.element_ty == tl.bfloat16 else 13)
    tl.store(to_theta, after, mask=mask)
    if momentum_exponents is not None:
        _encode(u, to_u, u_exponents, offsets, mask, random >> 14, 18, 127, BLOCK)
    else:
        tl.store(to_u, u, mask=mask)


_EXPONENTS = {"momentum_buffers": "momentum_exponents", "exp_avg_sqs": "exp_avg_sq_exponents"}
_OPTIONS = ("lr", "alpha", "beta", "speed", "decay")
_TINY = 2.0**-126  # the least eps: so a gradient of 0 moves nothing


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
            eps=max(float(group.get("eps", 0)), _TINY),
            STOCHASTIC=bool(group["stochastic_rounding"]),
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
    columns: dict[str, Any] = {
        name: list(column) for name, column in these._asdict().items() if column[0] is not None
    }
    exponents: dict[str, list[Tensor | None]] = {}
    for name, of_it in _EXPONENTS.items():
        columns[name], exponents[of_it] = apart(columns.get(name, []), None)
    columns, exponents = ({name: c for name, c in of.items() if c} for of in (columns, exponents))
    try:
        facts = tuple((name, tuple(map(fact, column))) for name, column in (columns | exponents).items())
    except RuntimeError as error:
        raise RuntimeError(f"fused=True on a GPU needs dense tensors: use foreach=True. {error}") from error
    copied, launches = plan(facts)
    written = [column for name, column in columns.items() if name != "grads"]
    torch.autograd.graph.increment_version(
        tensor for tensor in chain(*written, *exponents.values()) if tensor is not None
    )
    originals = [
        (column[row], column, row) for column in written if column is not columns["steps"] for row in copied
    ]
    params = list(columns["params"])
    for column in (column for name, column in columns.items() if name != "steps"):
        for row in copied:
            column[row] = laid_out(params[row], column[row].dtype).copy_(column[row])
    for name in (*these._fields, *_EXPONENTS.values()):
        if name not in columns:
            arguments[name] = None
    for launch in launches:
        _launch(launch, columns, exponents, **arguments)
    for original, column, row in originals:
        original.copy_(column[row])


def _launch(
    launch: Launch, columns: dict[str, list[Tensor]], exponents: dict[str, list[Any]], **arguments: Any
) -> None:
    number = len(launch.sizes)
    full = 1 << (number - 1).bit_length()  # few lengths, few kernels

    def filled(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return values + values[-1:] * (full - number)

    steps = columns["steps"]
    tensors = {name: filled(launch.of(column)) for name, column in columns.items() if column is not steps}
    coded = {name: column for name, column in exponents.items() if column[launch.rows[0]] is not None}
    arguments |= {name: filled(launch.of(column, TOGETHER)) for name, column in coded.items()}
    update[(sum(-(-size // BLOCK) for size in launch.sizes),)](
        thetas=tensors.pop("params"),  # Triton has a variable of that name
        **tensors,
        **arguments,
        steps=filled(tuple(steps[row] for row in launch.rows)),
        sizes=filled(launch.sizes),
        BLOCK=BLOCK,
        num_warps=8,
    )
