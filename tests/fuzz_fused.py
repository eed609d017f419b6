"""Random states of many shapes, dtypes and strides: a fused step on a CPU is the loop's, or is refused whole.

`python tests/fuzz_fused.py CASES` runs it by hand, `make asan` under AddressSanitizer.
"""

import random
import sys
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inna.torch import INNA, INNAprop

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"kahan_sum": True},
    {"state_dtype": torch.float32},
    {"kahan_sum": True, "state_dtype": torch.float32},
    {"maximize": True, "initial_speed": 0.3},
    {"stochastic_rounding": True, "state_dtype": torch.float32},
    {"state_dtype": "8bit"},
    {"stochastic_rounding": True, "state_dtype": "8bit"},
]
WALL = 24  # values on either side of a tensor that nobody may write to


class Drawn(NamedTuple):
    """A tensor, and the memory around it."""

    tensor: Tensor
    memory: Tensor

    def twin(self) -> "Drawn":
        if self.memory.numel() == 0:
            return self
        memory = self.memory.clone()
        t = self.tensor
        return Drawn(memory.as_strided(t.size(), t.stride(), t.storage_offset()), memory)


def draw(r: random.Random, shape: list[int], dtype: torch.dtype, low: float = -1.0) -> Drawn:
    """A tensor of some layout; without walls AddressSanitizer sees its ends."""
    wall, step = r.choice([0, WALL]), r.choice([1, 1, 1, 2])
    order = r.sample(range(len(shape)), len(shape)) if r.random() < 0.4 else list(range(len(shape)))
    strides, stride = [0] * len(shape), step
    for dim in order:
        strides[dim] = stride
        stride *= max(shape[dim], 1)
    generator = torch.Generator().manual_seed(r.getrandbits(32))
    memory = torch.rand(stride + 2 * wall, generator=generator, dtype=torch.float64) * (2 - low) + low
    memory = memory.to(dtype)
    return Drawn(memory.as_strided(shape, strides, wall), memory)


def damaged(r: random.Random, good: Drawn, kind: str) -> Drawn:
    """What a tensor of the state, a gradient or a parameter must not be, and sometimes may."""
    t = good.tensor
    shape = list(t.shape)
    if kind == "shape" and shape:
        shape[r.randrange(len(shape))] += r.choice([1, 40])
    if kind == "longer":
        shape = [*shape, r.choice([2, 9])]
    if kind == "rank":
        shape = [t.numel()] if len(shape) != 1 else [1, *shape]
    if kind in ("shape", "longer", "rank"):
        return draw(r, shape, t.dtype, 0.1)
    if kind == "dtype":
        return draw(r, shape, r.choice(DTYPES), 0.1)
    if kind == "meta":
        return Drawn(torch.empty(shape, dtype=t.dtype, device="meta"), torch.empty(0))
    if kind == "expanded":
        memory = torch.rand(()).to(t.dtype)
        return Drawn(memory.expand(shape), memory)
    freed = torch.rand(shape).to(t.dtype)
    freed.untyped_storage().resize_(0)
    return Drawn(freed, torch.empty(0))


def coded(r: random.Random, name: str, param: Drawn) -> dict[str, Drawn]:
    """A moment in 8 bits: codes, mostly laid out as their parameter, and exponents."""
    signed, t = name == "momentum_buffer", param.tensor
    generator = torch.Generator().manual_seed(r.getrandbits(32))
    codes = torch.randint(-127 * signed, 128, param.memory.shape, generator=generator)
    codes = codes.to(torch.int8 if signed else torch.uint8)
    exponents = torch.randint(119, 124, (-(-t.numel() // 64),), generator=generator).to(torch.uint8)
    laid_out = Drawn(codes.as_strided(t.size(), t.stride(), t.storage_offset()), codes)
    if r.random() < 0.2:
        laid_out = draw(r, list(t.shape), codes.dtype)
    return {f"{name}_8bit": laid_out, f"{name}_exponent": Drawn(exponents, exponents)}


Row = dict[str, Drawn]  # a parameter, its gradient and its state


def rows_of(r: random.Random, adaptive: bool, options: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for _ in range(r.randint(1, 4)):
        shape = r.sample([0, 1, 1, 2, 3, 5, 17, 130], r.randint(0, 3))
        if (
            options.get("state_dtype") == "8bit" and r.random() < 0.7
        ):  # what is small has its moments in float32
            shape = r.sample([1, 8, 9, 17, 130], 3)
        dtype = r.choice(DTYPES)
        if dtype == torch.float64 and "state_dtype" in options:
            dtype = torch.float32
        state = options.get("state_dtype", dtype)
        step = torch.tensor(float(r.choice([0, 0, 1, 7])))
        row = {
            "param": draw(r, shape, dtype),
            "grad": draw(r, shape, dtype, 0.5),
            "step": Drawn(step, step),
        }
        for name, low in [("momentum_buffer", -1.0), ("exp_avg_sq", 0.1)][: 1 + adaptive]:
            row |= coded(r, name, row["param"]) if state == "8bit" else {name: draw(r, shape, state, low)}
        if options.get("kahan_sum"):
            zeros = draw(r, shape, dtype)
            zeros.memory.zero_()
            row["compensation"] = zeros
        rows.append(row)
    if r.random() < 0.6:
        row = r.choice(rows)
        name = r.choice(list(row))
        kinds = ["shape", "longer", "rank", "dtype", "expanded", "meta"]
        if name in ("param", "grad") or options.get("state_dtype") != "8bit":
            kinds.append("freed")  # else operations of PyTorch read it first, and end the process
        row[name] = damaged(r, row[name], r.choice(kinds))
        if name == "step":
            row[name].memory.round_()
    return rows


def step(cls: type[INNA], rows: list[Row], options: dict[str, Any], **flags: Any) -> None:
    params = []
    for row in rows:
        grad = row["grad"].tensor
        param = torch.empty_like(grad)
        param.grad = torch.empty_like(grad)
        param.grad.data = grad
        param.data = row["param"].tensor
        params.append(param)
    optimizer = cls(params, lr=0.05, **options, **flags)
    for param, row in zip(params, rows, strict=True):
        state = {name: drawn.tensor for name, drawn in row.items() if name not in ("param", "grad")}
        optimizer.state[param] = state
    optimizer.step()
    for param, row in zip(params, rows, strict=True):  # a fused step may have taken a float32 copy
        row["step"].tensor.copy_(optimizer.state[param]["step"])


def fuzz(seed: int) -> bool:
    """One case; tells whether the step was taken."""
    r = random.Random(seed)
    cls, options = r.choice([INNA, INNAprop]), r.choice(OPTIONS)
    rows = rows_of(r, cls is INNAprop, options)
    before, loop = ([{k: d.twin() for k, d in row.items()} for row in rows] for _ in range(2))
    try:
        step(cls, rows, options, fused=True)
    except (RuntimeError, ValueError):
        same(rows, before, exactly=True)
        return False
    step(cls, loop, options, foreach=False)
    same(rows, loop, exactly=False)
    return True


def same(ours: list[Row], theirs: list[Row], exactly: bool) -> None:
    for row, other in zip(ours, theirs, strict=True):
        for name, drawn in row.items():
            a, b = drawn.memory, other[name].memory
            if exactly or name == "grad":
                assert torch.equal(a, b), name
            elif name.endswith("_8bit"):  # what lies at the edge of two codes becomes either
                assert not ((a.int() - b.int()).abs() > 1).any(), name
            elif name != "compensation":  # the loop rounds more often
                eps = torch.finfo(row["param"].tensor.dtype).eps
                torch.testing.assert_close({name: a}, {name: b}, rtol=20 * eps, atol=20 * eps)


if __name__ == "__main__":
    cases = int(sys.argv[1])
    taken = 0
    for seed in range(cases):
        try:
            taken += fuzz(seed)
        except BaseException:
            print(f"case {seed} fails", file=sys.stderr)
            raise
    print(f"{cases} cases: {taken} steps taken, all as the loop takes them, {cases - taken} refused whole")
