"""Time of a whole training step of the paper's NiN (batch 32), as ratios paired within each round.

Run it with `python benchmarks/train_torch.py [--rounds N] [--threads N]`: about a minute on two cores.
"""

import argparse
import statistics
from typing import Any

import torch
from step_torch import FLAGS, clock, processor
from torch import nn

from inna.lab.running.networks import nin
from inna.torch import INNA, INNAprop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = nin((3, 32, 32), 10).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(32, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (32,), device=device)
    loss = nn.CrossEntropyLoss()

    def gradients() -> None:
        model.zero_grad()
        loss(model(images), labels).backward()

    params = list(model.parameters())  # all optimizers move them, by nearly nothing
    optimizers: dict[str, Any] = {}
    for kind in ("foreach", "fused"):
        optimizers |= {
            f"SGD momentum, {kind}": torch.optim.SGD(params, lr=1e-6, momentum=0.9, **FLAGS[kind]),
            f"Adam, {kind}": torch.optim.Adam(params, lr=1e-9, **FLAGS[kind]),
            f"INNA, {kind}": INNA(params, lr=1e-6, **FLAGS[kind]),
            f"INNAprop, {kind}": INNAprop(params, lr=1e-9, **FLAGS[kind]),
        }
    whole: dict[str, list[float]] = {label: [] for label in optimizers}
    step: dict[str, list[float]] = {label: [] for label in optimizers}
    for k in range(arguments.rounds + 2):
        for label in list(optimizers)[:: 1 if k % 2 else -1]:
            before, after = clock(gradients), clock(optimizers[label].step)
            whole[label].append(before + after)
            step[label].append(after / (before + after))

    machine = torch.cuda.get_device_name() if device == "cuda" else processor()
    print(f"{machine}, {arguments.threads} threads, torch {torch.__version__}\n")
    print("| a training step of NiN | ms | / SGD momentum, fused | / Adam, fused | of it the optimizer |")
    print("|---|---|---|---|---|")
    for label in optimizers:
        ratios = [
            statistics.median(a / b for a, b in zip(whole[label][2:], whole[other][2:], strict=True))
            for other in ("SGD momentum, fused", "Adam, fused")
        ]
        cells = [f"{statistics.median(whole[label][2:]) * 1e3:.0f}", *(f"{ratio:.3f}" for ratio in ratios)]
        print(f"| {label} | {' | '.join(cells)} | {statistics.median(step[label][2:]):.1%} |")


if __name__ == "__main__":
    main()
