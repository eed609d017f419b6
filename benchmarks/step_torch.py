"""Time of one optimizer step, as ratios paired within each round: INNA and INNAprop against torch.optim.

Run it with `python benchmarks/step_torch.py [--sizes nin ...] [--rounds N] [--threads N]`.
It prints the tables of docs/benchmarks.md. A GPU is used where there is one.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

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
SIZES: dict[str, tuple[list[tuple[int, ...]], int]] = {  # shapes, rounds
    "nin": (NIN, 200),
    "200x256x256": ([(256, 256)] * 200, 30),
    "4x4096x4096": ([(4096, 4096)] * 4, 10),
    "gpu": ([(10_000, 10_000)] * 10, 20),
}
LOOP, FOREACH, FUSED = ({"foreach": False}, {"foreach": True}, {"fused": True})


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


def optimizers(params: list[Tensor], loops: bool) -> dict[str, Any]:
    """All of them move the same parameters, by nearly nothing."""
    classes: dict[str, Callable[..., Any]] = {
        "SGD momentum": lambda p, **o: torch.optim.SGD(p, lr=1e-6, momentum=0.9, **o),
        "Adam": lambda p, **o: torch.optim.Adam(p, lr=1e-9, **o),
        "AdamW": lambda p, **o: torch.optim.AdamW(p, lr=1e-9, **o),
        "Adagrad": lambda p, **o: torch.optim.Adagrad(p, lr=1e-9, **o),
        "INNA": lambda p, **o: INNA(p, lr=1e-6, **o),
        "INNAprop": lambda p, **o: INNAprop(p, lr=1e-9, **o),
    }
    kinds = {"foreach": FOREACH} | ({"loop": LOOP} if loops else {})
    if params[0].device.type == "cpu":
        kinds["fused"] = FUSED
    made = {
        f"{name}, {kind}": make(params, **flags)
        for kind, flags in kinds.items()
        for name, make in classes.items()
    }
    return {**made, "INNA, the paper's form": PaperForm(params)}


def clock(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def extra_memory(step: Callable[[], object]) -> int:
    """Bytes that a step holds at most beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    level = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            peak = max(peak, level)
    return peak


def measure(name: str, rounds: int | None) -> None:
    shapes, default_rounds = SIZES[name]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    params = [torch.randn(shape, device=device) for shape in shapes]
    for p in params:
        p.grad = torch.randn_like(p) * 1e-3
    values = sum(p.numel() for p in params)
    those = optimizers(params, loops=values < 10**7)
    source, target = (torch.ones(values, device=device) for _ in range(2))
    times: dict[str, list[float]] = {label: [] for label in [*those, "copy"]}
    for _ in range((rounds or default_rounds) + 2):
        for label, optimizer in those.items():
            times[label].append(clock(optimizer.step))
        times["copy"].append(clock(lambda: target.copy_(source)))
    times = {label: ts[2:] for label, ts in times.items()}  # the first rounds create state

    def ratio(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))

    traffic = {
        "SGD momentum": 5,
        "INNA": 5,
        "Adagrad": 5,
        "Adam": 7,
        "AdamW": 7,
        "INNAprop": 7,
    }  # values moved
    print(f"\n### {name}: {len(params)} tensors, {values:,} float32 values\n")
    heads = "ms | / SGD momentum | / Adam | / AdamW | extra memory | state bytes a value | of copy bandwidth"
    print(f"| | {heads} |")
    print("|---|---|---|---|---|---|---|---|")
    for label, optimizer in those.items():
        algorithm, kind = label.split(", ")
        same = kind if f"Adam, {kind}" in those else "foreach"
        against = [f"{ratio(label, f'{other}, {same}'):.2f}" for other in ("SGD momentum", "Adam", "AdamW")]
        state = sum(t.nbytes for s in optimizer.state.values() for t in s.values() if t.numel() > 1)
        share = traffic[algorithm] / 2 * ratio("copy", label)
        memory = extra_memory(optimizer.step) / (4 * values)
        cells = [f"{statistics.median(times[label]) * 1e3:.2f}", *against]
        cells += [f"{memory:.0%}", f"{state / values:.0f}", f"{share:.0%}"]
        print(f"| {label} | {' | '.join(cells)} |")
    speedups = [k for k in ("foreach", "fused") if f"INNA, {k}" in those]
    for kind in speedups:
        factor = ratio("INNA, the paper's form", f"INNA, {kind}")
        print(f"\nINNA {kind} is {factor:.1f} times as fast as the paper's form.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = ["gpu"] if torch.cuda.is_available() else ["nin", "200x256x256", "4x4096x4096"]
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=default)
    parser.add_argument("--rounds", type=int, help="timed rounds a size; default: 200, 30 and 10")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    print(f"{machine}, {arguments.threads} threads, torch {torch.__version__}")
    for name in arguments.sizes:
        measure(name, arguments.rounds)


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
