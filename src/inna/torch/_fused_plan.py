"""Which tensors the kernel for GPUs takes together in one launch, and which do not fit together at all."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Launch", "fact", "plan"]

TOGETHER = 32  # tensors a launch: their addresses have to fit into a kernel's 4 KB of arguments
LARGE = 2**22  # values that are worth a launch of their own, in which no program looks for its tensor
PIECE = 2**30  # values: the offsets within a piece of a tensor are 32 bits wide

_CODES = {"momentum_buffer": torch.int8, "exp_avg_sq": torch.uint8}

Fact = tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device, int | None]
Piece = tuple[int, int, int]  # of a row: where it begins, and how many values


def fact(tensor: Tensor | None) -> Fact | None:
    """What a plan depends on. It seldom changes, but is asked for at each step, for memory may move."""
    if tensor is None:  # the exponents of a moment in float32
        return None
    address = tensor.data_ptr()
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, address % 16 if address else None


class Launch(NamedTuple):
    """Rows (a parameter and what belongs to it), or pieces of long ones, that one kernel takes."""

    rows: tuple[int, ...]
    begins: tuple[int, ...]
    sizes: tuple[int, ...]

    def of(self, column: list[Tensor], values: int = 1) -> tuple[Tensor, ...]:
        """The kernel needs where a piece lies, of a column that has an element for so many values."""
        return tuple(
            column[row].as_strided((1,), (1,), column[row].storage_offset() + begin // values)
            if begin
            else column[row]
            for row, begin in zip(self.rows, self.begins, strict=True)
        )


@lru_cache(maxsize=64)
def plan(facts: tuple[tuple[str, tuple[Any, ...]], ...]) -> tuple[list[int], list[Launch]]:
    """The rows that need dense copies, and the launches; `facts` are those of each column of tensors."""
    names, columns = zip(*facts, strict=True)
    copied: list[int] = []
    kinds: dict[object, list[Piece]] = {}
    for row, of_row in enumerate(zip(*columns, strict=True)):
        tensors = dict(zip(names, of_row, strict=True))
        _check_step(tensors.pop("steps"), tensors["params"])
        for name in [name for name in tensors if name.endswith("exponents")]:
            if (exponents := tensors.pop(name)) is not None:
                _check_exponents(name, exponents, tensors["params"])
        for name, tensor in tensors.items():
            _check(name.removesuffix("s"), tensor, tensors["params"])
        walks = {_walk(shape, strides) for shape, strides, *_ in tensors.values()}
        together = len(walks) == 1 and _is_dense(*walks)
        if not together:
            copied.append(row)
        # All that Triton compiles a kernel of its own for is the same in one launch.
        kind = [(dtype, not (together and address)) for *_, dtype, _, address in tensors.values()]
        for begin, size in _pieces(tensors["params"][0].numel()):
            alone = row if size >= LARGE else None
            kinds.setdefault((*kind, size % 16 == 0, size == 1, alone), []).append((row, begin, size))
    return copied, [launch for pieces in kinds.values() for launch in _launches(pieces)]


def _pieces(size: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, size, PIECE):
        yield begin, min(PIECE, size - begin)


def _launches(pieces: list[Piece]) -> Iterator[Launch]:
    for i in range(0, len(pieces), TOGETHER):
        rows, begins, sizes = zip(*pieces[i : i + TOGETHER], strict=True)
        yield Launch(rows, begins, sizes)


def _walk(shape: torch.Size, strides: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """How a tensor lies in memory: a dimension of one value may have any stride."""
    return tuple((stride, n) for stride, n in zip(strides, shape, strict=True) if n != 1)


def _is_dense(walk: tuple[tuple[int, int], ...]) -> bool:
    """Whether the values fill their memory, in whatever order of dimensions."""
    expected = 1
    for stride, n in sorted(walk):
        if stride != expected:
            return False
        expected *= n
    return True


def _check(name: str, tensor: Fact, param: Fact) -> None:
    """Refuse what the kernel would read or write past the end of, or take for other numbers."""
    shape, strides, dtype, device, address = tensor
    if shape != param[0]:
        raise RuntimeError(
            f"{name} of shape {list(shape)} does not belong to a parameter of shape {list(param[0])}: load "
            "the state of this model, or start anew with optimizer.state.clear()"
        )
    if device != param[3]:
        raise RuntimeError(f"{name} lies on {device}, its parameter on {param[3]}: move it")
    if dtype == _CODES.get(name):
        walk = _walk(param[0], param[1])
        if _is_dense(walk) and _walk(shape, strides) != walk:
            raise RuntimeError(
                f"{name}_8bit lies in another order than its parameter: load the state of this model, or "
                "start anew with optimizer.state.clear()"
            )
        if param[2] == torch.float64:
            raise RuntimeError(
                "fused=True with a state in 8 bits takes float32, bfloat16 or float16 parameters, got "
                "torch.float64: leave fused out"
            )
    elif dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        raise RuntimeError(
            f"fused=True takes float32, float64, bfloat16 or float16; got {name} in {dtype}: use foreach=True"
        )
    if address is None and shape.numel() > 0:
        raise RuntimeError(
            f"the memory of {name} of shape {list(shape)} is gone: its storage has been resized"
        )
    if name != "grad" and any(stride == 0 for stride, _ in _walk(shape, strides)):
        raise RuntimeError(
            f"unsupported operation: more than one element of {name} refers to a single memory location: "
            "clone() it before the step"
        )


def _check_exponents(name: str, exponents: Fact, param: Fact) -> None:
    shape, _, dtype, device, _ = exponents
    if shape != (-(-param[0].numel() // 64),) or dtype != torch.uint8 or device != param[3]:
        raise RuntimeError(
            f"{name} in {dtype} of shape {list(shape)} on {device} do not belong to a parameter of shape "
            f"{list(param[0])} on {param[3]}: load the state of this model, or start anew with "
            "optimizer.state.clear()"
        )


def _check_step(step: Fact, param: Fact) -> None:
    shape, _, dtype, device, _ = step
    if shape.numel() != 1 or dtype != torch.float32 or device != param[3]:
        raise RuntimeError(
            f"step must be one float32 number on {param[3]}, got {dtype} of shape {list(shape)} on {device}"
        )
