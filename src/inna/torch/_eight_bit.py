"""Moments in 8 bits a value: codes whose blocks share a power of two, rounded up or down at random.

In a block of 64 values with the unit 2^e a code is the top of the bits of 1 + |x| / 2^e as a float: of the
momentum a sign, two bits of exponent and five of mantissa, of the second moment four and four. So the steps
are equal near 0 and grow with the value, by 2^3 in the momentum and by 2^15 in the second moment. Three
things let a long memory survive in so few of them:

- rounding is right on average, so that changes far below a step add up;
- 2^e stays until the block's largest value leaves about (1/4, 1] of what it can hold: on a grid that moved
  with that value each step would round all values anew, and 10,000 such errors would drown the momentum;
- the second moment is rounded up at its lower end: a step too small is harmless, one too large is not.

What is left is the noise that any estimate of a mean with so few states has: Leighton and Rivest, *Estimating
a probability using finite memory* (1986).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._coefficients import Number
from ._rounding import hashed

__all__ = [
    "BLOCK",
    "EIGHT_BIT",
    "PARTS",
    "Coded",
    "add",
    "apart",
    "complete",
    "encode",
    "is_coded",
    "read",
    "release",
    "values",
]

EIGHT_BIT = "8bit"  # the state_dtype
PARTS = "8bit", "exponent"  # of a moment in the state, after its name
BLOCK = 64
SMALLEST = 1024  # values of a parameter; below, its moments stay float32


class Code(NamedTuple):
    """How many of a float's bits are lost; the largest code, and a little more than it stands for."""

    dtype: torch.dtype
    lost: int
    last: int
    top: float


CODES = {
    "momentum_buffer": Code(torch.int8, lost=18, last=127, top=14.7501),
    "exp_avg_sq": Code(torch.uint8, lost=19, last=255, top=63487.5),
}
ONE = 0x3F800000  # the bits of 1.0


class Coded(NamedTuple):
    """A moment: its codes, laid out as the parameter, and the exponent of each 64 of them in memory."""

    name: str
    codes: Tensor
    exponents: Tensor
    """Of float32, with its bias of 127, in uint8; 0 is a block of zeros, 255 one that is not finite."""


def decoded(moment: Coded) -> Tensor:
    """The values, in float32."""
    result, blocks = torch.empty_like(moment.codes, dtype=torch.float32), _blocks(moment.codes)
    size = ((blocks.abs().int() << CODES[moment.name].lost) + ONE).view(torch.float32) - 1
    exact = size.copysign(blocks) * _power_of_two(moment.exponents)
    _flat(result).copy_(exact.view(-1)[: result.numel()])
    return result


def encode(moment: Coded, exact: Tensor, step: Number, keep: Tensor | None = None) -> None:
    """Round exact values to codes, with the random bits of this step; if `keep` is true nothing changes."""
    dtype, lost, last, top = CODES[moment.name]
    blocks, random = _blocks(exact), hashed(moment.codes, step, stream=1)
    random = random & (1 << lost) - 1 if dtype is torch.uint8 else random >> 32 - lost  # other bits for each
    size = blocks.abs()

    largest = size.amax(1) * (1 / top)
    fits = ((largest.view(torch.int32) >> 23 & 255) + 1).clamp(max=255)
    old = moment.exponents.int()
    exponents = torch.where((fits <= old) & (old <= fits + 1), old, fits)

    size = size * _power_of_two(254 - exponents)
    code = (1 + size).view(torch.int32) - ONE + _blocks(random, torch.int32) >> lost
    if dtype is torch.uint8:
        code = torch.maximum(code, (size > 0).int())
    code = torch.where(size >= 0, code.clamp(max=last), 0)  # 0 for what is no number
    code = torch.where(blocks < 0, -code, code).to(dtype)

    codes, exponents = code.view(-1)[: exact.numel()], exponents.to(torch.uint8)
    if keep is not None:
        keep = keep.to(codes.device)
        codes = torch.where(keep, _flat(moment.codes), codes)
        exponents = torch.where(keep, moment.exponents, exponents)
    _flat(moment.codes).copy_(codes)
    moment.exponents.copy_(exponents)


def _power_of_two(exponents: Tensor) -> Tensor:
    """2^(e - 127) for each block: 0 for 0, and infinite for 255."""
    return (exponents.int() << 23).view(torch.float32)[:, None]


def _flat(tensor: Tensor) -> Tensor:
    """The values in the order in which they lie in memory."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _blocks(tensor: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    flat = _flat(tensor).to(dtype)
    return torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)


def apart(moments: list[Any], none: Tensor | None) -> tuple[list[Tensor], list[Any]]:
    """The codes and their exponents; a moment in float32 as it is, and `none` for it: [] if that is all."""
    codes = [moment.codes if isinstance(moment, Coded) else moment for moment in moments]
    exponents = [moment.exponents if isinstance(moment, Coded) else none for moment in moments]
    return codes, [] if all(each is none for each in exponents) else exponents


# In the state of a parameter.


def is_coded(state: dict[str, Any], name: str) -> bool:
    """Whether this moment is there in 8 bits."""
    return f"{name}_8bit" in state


def read(state: dict[str, Any], name: str) -> Any:
    """The moment as it is stored, `Coded` if in 8 bits."""
    if is_coded(state, name):
        return Coded(name, state[f"{name}_8bit"], state[f"{name}_exponent"])
    return state[name]


def values(moment: Any) -> Tensor:
    """The values of a moment, in whatever form it is stored."""
    return decoded(moment) if isinstance(moment, Coded) else moment


def add(moment: Any, x: Tensor, step: Number) -> None:
    """Add x to a moment, in whatever form it is stored."""
    if isinstance(moment, Coded):
        encode(moment, decoded(moment).add_(x), step)
    else:
        moment.add_(x.to(moment.dtype))


def release(state: dict[str, Any], names: tuple[str, ...]) -> None:
    """Turn codes into float32."""
    for name in filter(lambda name: is_coded(state, name), names):
        state[name] = decoded(read(state, name))
        del state[f"{name}_8bit"], state[f"{name}_exponent"]


def complete(param: Tensor, state: dict[str, Any], names: tuple[str, ...]) -> bool:
    """Make sure of codes for each moment, of 0 or of what is there; False for a small parameter."""
    if param.numel() < SMALLEST:
        release(state, names)
        return False
    if param.is_complex() or hasattr(param, "to_local"):
        kind = type(param).__name__ if hasattr(param, "to_local") else param.dtype
        raise RuntimeError(
            f"state_dtype='8bit' takes real parameters that are whole on one device, got {kind}: give those "
            "a group of their own without state_dtype"
        )
    for name in names:
        if not is_coded(state, name):
            there = state.pop(name, None)
            _create(param, state, name)
            if there is not None:
                exact = torch.empty_like(state[f"{name}_8bit"], dtype=torch.float32)
                encode(read(state, name), exact.copy_(_of_shape(there, param, name)), state["step"])
        else:
            _check(param, state, name)
    return True


def laid_out(param: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor that lies in memory as the parameter does, or contiguous if that has gaps."""
    like = torch.empty_like(param, dtype=dtype, memory_format=torch.preserve_format)
    return like if like.stride() == param.stride() else like.contiguous()


def _create(param: Tensor, state: dict[str, Any], name: str) -> None:
    number = -(-param.numel() // BLOCK)
    state[f"{name}_8bit"] = laid_out(param, CODES[name].dtype).zero_()
    state[f"{name}_exponent"] = torch.zeros(number, dtype=torch.uint8, device=param.device)


def _of_shape(moment: Tensor, param: Tensor, name: str) -> Tensor:
    if moment.shape != param.shape:
        raise RuntimeError(
            f"{name} of shape {list(moment.shape)} does not belong to a parameter of shape "
            f"{list(param.shape)}: load the state of this model, or start anew with optimizer.state.clear()"
        )
    return moment


def _check(param: Tensor, state: dict[str, Any], name: str) -> None:
    _, codes, exponents = read(state, name)
    _of_shape(codes, param, f"{name}_8bit")
    wanted = (-(-param.numel() // BLOCK),)
    if (
        exponents.shape != wanted
        or not exponents.is_contiguous()
        or exponents.dtype != torch.uint8
        or codes.dtype != CODES[name].dtype
    ):
        raise RuntimeError(
            f"a state in 8 bits needs {name}_8bit in {CODES[name].dtype} and {name}_exponent in uint8 of "
            f"shape {list(wanted)}, got {codes.dtype}, {exponents.dtype} of shape {list(exponents.shape)}: "
            "load the state of this model, or start anew with optimizer.state.clear()"
        )
    if codes.stride() != laid_out(codes, codes.dtype).stride():
        raise RuntimeError(
            f"{name}_8bit of strides {list(codes.stride())} has gaps: make it contiguous, or start anew with "
            "optimizer.state.clear()"
        )
    if codes.stride() != laid_out(param, codes.dtype).stride():
        release(state, (name,))  # the parameter has got another layout
        complete(param, state, (name,))
