"""Time of one optimizer step, as ratios paired within each round: INNA and INNAprop against torch.optim.

Run it with `python benchmarks/step_torch.py [--sizes nin ...] [--rounds N] [--threads N]`.
It prints the tables of docs/benchmarks.md and, at the end, the bounds that the project keeps: on two cores in
about three minutes. Where there is a GPU it measures that.
"""

import argparse
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from inna import reference
from inna.torch import INNA, INNAprop

NIN = [
    *[(192, 3, 5, 5), (192,), (160, 192, 1, 1), (160,), (96, 160, 1, 1), (96,)],
    *[(192, 96, 5, 5), (192,), (192, 192, 1, 1), (192,), (192, 192, 1, 1), (192,)],
    *[(192, 192, 3, 3), (192,), (192, 192, 1, 1), (192,), (10, 192, 1, 1), (10,), (10, 10), (10,)],
]


class Size(NamedTuple):
    """The shapes of the parameters, the timed rounds of each process, and what has time or room there."""

    shapes: list[tuple[int, ...]]
    rounds: int
    processes: int
    kinds: tuple[str, ...] = ("foreach", "fused")


SIZES = {
    "nin": Size(NIN, 100, 7, ("foreach", "loop", "fused")),
    "200x256x256": Size([(256, 256)] * 200, 20, 3),
    "4x4096x4096": Size([(4096, 4096)] * 4, 8, 2),
    "1e8": Size([(10**7,)] * 10, 50, 1),
    "1e9": Size([(10**8,)] * 10, 20, 1, ("fused",)),
    "rehearsal": Size([(64, 64)] * 3, 1, 1),
}
ON_A_GPU = ["nin", "200x256x256", "1e8", "1e9"]
ON_A_CPU = ["nin", "200x256x256", "4x4096x4096"]
FLAGS: dict[str, dict[str, bool]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
PAPER = "INNA, the paper's form"
BOUNDS = [  # one step relative to another, at most
    ("INNA, fused", "SGD momentum, fused", 1.05),
    ("INNA, fused", "Adam, fused", 0.75),
    ("INNA, foreach", "SGD momentum, foreach", 1.5),
    ("INNA, foreach", "Adam, foreach", 0.5),
    ("INNAprop, fused", "AdamW, fused", 1.05),
]
SPEEDUPS = [
    (PAPER, "INNA, fused", 8),
    (PAPER, "INNA, foreach", 5),
]  # at least, at the first and the last size
VALUES_MOVED = {"SGD momentum": 5, "INNA": 5, "Adagrad": 5, "Adam": 7, "AdamW": 7, "INNAprop": 7}


class PaperForm:
    """Equation (12) as printed, in temporaries: what INNA costs without the momentum form."""

    def __init__(self, params: list[Tensor]) -> None:
        self.state = {p: {"psi": p.clone()} for p in params}

    @torch.no_grad()
    def step(self) -> None:
        for param, state in self.state.items():
            new = reference.inna_step(param, state["psi"], param.grad, lr=1e-6, alpha=0.5, beta=0.1)
            param.copy_(new[0])
            state["psi"].copy_(new[1])


def optimizers(params: list[Tensor], size: Size) -> dict[str, Any]:
    """All of them move the same parameters, by nearly nothing."""
    classes: dict[str, Callable[..., Any]] = {
        "SGD momentum": lambda p, **o: torch.optim.SGD(p, lr=1e-6, momentum=0.9, **o),
        "Adam": lambda p, **o: torch.optim.Adam(p, lr=1e-9, **o),
        "AdamW": lambda p, **o: torch.optim.AdamW(p, lr=1e-9, **o),
        "Adagrad": lambda p, **o: torch.optim.Adagrad(p, lr=1e-9, **o),
        "INNA": lambda p, **o: INNA(p, lr=1e-6, **o),
        "INNAprop": lambda p, **o: INNAprop(p, lr=1e-9, **o),
    }
    made = {
        f"{name}, {kind}": make(params, **FLAGS[kind])
        for kind in size.kinds
        for name, make in classes.items()
        if not (name == "Adagrad" and kind == "fused" and params[0].is_cuda)  # torch has none
    }
    return made if size is SIZES["1e9"] else {**made, PAPER: PaperForm(params)}


def clock(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def extra_memory(step: Callable[[], object]) -> int:
    """Bytes that a step holds at most beyond what was there before."""
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    level = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            peak = max(peak, level)
    return peak


class Times(dict[str, list[float]]):
    """Seconds of each optimizer and of a copy, one entry a round."""

    def ratio(self, a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(self[a], self[b], strict=True))

    def share_of_copy(self, label: str) -> float:
        """The bandwidth of a step relative to that of a copy, which moves two values for each one."""
        return VALUES_MOVED[label.split(", ")[0]] / 2 * self.ratio("copy", label)


class Measured(NamedTuple):
    """What one process saw: the times, and of each optimizer its memory in bytes."""

    times: Times
    extra_memory: dict[str, int]
    state: dict[str, int]


def in_one_process(name: str, rounds: int, threads: int) -> Measured:
    torch.set_num_threads(threads)
    size = SIZES[name]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    params = [torch.randn(shape, device=device) for shape in size.shapes]
    for p in params:
        p.grad = torch.randn_like(p) * 1e-3
    those = optimizers(params, size)
    source, target = (torch.ones(sum(p.numel() for p in params), device=device) for _ in range(2))
    work = {label: optimizer.step for label, optimizer in those.items()}
    work["copy"] = lambda: target.copy_(source)
    times = Times({label: [] for label in work})
    for k in range(rounds + 2):
        for label in list(work)[:: 1 if k % 2 else -1]:  # nobody always comes after the same other
            times[label].append(clock(work[label]))
    for label in times:
        del times[label][:2]  # these created the state
    state = {
        label: sum(t.nbytes for s in optimizer.state.values() for t in s.values() if t.numel() > 1)
        for label, optimizer in those.items()
    }
    return Measured(times, {label: extra_memory(o.step) for label, o in those.items()}, state)


def measure(name: str, rounds: int | None, threads: int) -> Times:
    """In several processes, one after the other: where the memory lies changes a ratio by a tenth."""
    size = SIZES[name]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        work = [
            pool.submit(in_one_process, name, rounds or size.rounds, threads) for _ in range(size.processes)
        ]
        measured = [future.result() for future in work]
    times = Times({label: [t for m in measured for t in m.times[label]] for label in measured[0].times})

    values = sum(map(math.prod, size.shapes))
    bandwidth = 8 * values / statistics.median(times["copy"]) / 1e9
    print(f"\n### {name}: {len(size.shapes)} tensors, {values:,} float32 values, ", end="")
    print(f"a copy does {bandwidth:.0f} GB/s\n")
    heads = "ms | / SGD momentum | / Adam | / AdamW | extra memory | state bytes a value | of copy bandwidth"
    print(f"| | {heads} |")
    print("|---|---|---|---|---|---|---|---|")
    for label, state in measured[0].state.items():
        kind = label.split(", ")[1]
        same = kind if kind in size.kinds else "foreach"
        against = [f"{times.ratio(label, f'{o}, {same}'):.2f}" for o in ("SGD momentum", "Adam", "AdamW")]
        memory = measured[0].extra_memory[label] / (4 * values)
        cells = [f"{statistics.median(times[label]) * 1e3:.2f}", *against]
        cells += [f"{memory:.1%}", f"{state / values:.0f}", f"{times.share_of_copy(label):.0%}"]
        print(f"| {label} | {' | '.join(cells)} |", flush=True)
    return times


def first_step() -> tuple[float, float]:
    """Seconds of the first fused step of 200 tensors: on a new machine, and in a later process."""
    code = """
import time, torch
from inna.torch import INNA
device = "cuda" if torch.cuda.is_available() else "cpu"
params = [torch.ones(256, 256, device=device) for _ in range(200)]
for p in params: p.grad = p.clone()
optimizer = INNA(params, fused=True)
begin = time.perf_counter()
optimizer.step()
params[0].sum().item()
print(time.perf_counter() - begin)
"""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "INNA_CACHE_DIR": cache, "TRITON_CACHE_DIR": cache}
        done = [
            subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True)
            for _ in range(2)
        ]
    return float(done[0].stdout), float(done[1].stdout)


def judge(measured: dict[str, Times], first: tuple[float, float]) -> None:
    print(f"\n### Bounds\n\n| | bound | {' | '.join(measured)} | |")
    print("|---" * (len(measured) + 3) + "|")

    def row(what: str, bound: str, found: list[float], kept: bool) -> None:
        figures = " | ".join(f"{x:.2f}" for x in found)
        print(f"| {what} | {bound} | {figures} | {'kept' if kept else 'NOT KEPT'} |")

    for a, b, limit in BOUNDS:
        there = [times.ratio(a, b) if a in times else float("nan") for times in measured.values()]
        row(f"{a} / {b}", f"<= {limit}", there, not any(x > limit for x in there))
    for a, b, limit in SPEEDUPS:
        there = [
            times.ratio(a, b) if a in times and b in times else float("nan") for times in measured.values()
        ]
        binding = [x for name, x in zip(measured, there, strict=True) if name in ("nin", "4x4096x4096")]
        row(f"{a} / {b}", f">= {limit} (not 200x256x256)", there, not any(x < limit for x in binding))
    if torch.cuda.is_available():
        shares = [times.share_of_copy("INNA, fused") for times in measured.values()]
        large = [x for name, x in zip(measured, shares, strict=True) if name in ("1e8", "1e9")]
        row(
            "INNA, fused, of the copy bandwidth",
            ">= 0.85 from 1e8 on",
            shares,
            not any(x < 0.85 for x in large),
        )
    print(f"\nThe first fused step took {first[0]:.1f} s (bound: 60), later {first[1]:.2f} s (bound: 1).")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = ON_A_GPU if torch.cuda.is_available() else ON_A_CPU
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=default)
    parser.add_argument("--rounds", type=int, help="timed rounds a process")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    print(f"{machine}, {arguments.threads} threads, torch {torch.__version__}")
    first = first_step()
    judge({name: measure(name, arguments.rounds, arguments.threads) for name in arguments.sizes}, first)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
