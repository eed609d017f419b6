"""A run that is checkpointed, killed by SIGKILL and resumed ends with the same bits as one that was not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.nn.parallel import DistributedDataParallel

from test_torch_distributed import network, sharded, train, weights
from torch_settings import BOTH

Run = tuple[nn.Module, torch.optim.Optimizer]


def plain() -> nn.Module:
    return network(torch.float32)


def replicated() -> nn.Module:
    return DistributedDataParallel(plain())


def fully_sharded() -> nn.Module:
    return sharded(torch.float32)


def runs(world: int) -> dict[str, Run]:
    """Both optimizers on every kind of model, side by side in the same processes."""
    kinds = [plain] if world == 1 else [replicated, fully_sharded]
    models = [(f"{kind.__name__} {case}", kind(), case) for kind in kinds for case in BOTH]
    return {name: (model, case(model.parameters(), fused=True)) for name, model, case in models}


def checkpoint(all_runs: dict[str, Run]) -> dict[str, Any]:
    states = {name: get_state_dict(*run) for name, run in all_runs.items()}
    return {name: {"model": model, "optimizer": optimizer} for name, (model, optimizer) in states.items()}


def work(rank: int, world: int, folder: Path, rendezvous: str) -> None:
    """Train and save for ever; or, where a checkpoint lies, go on for five steps and compare the bits."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    latest, these = folder / "latest", runs(world)
    first = int(latest.read_text()) if latest.exists() else 0
    if first:
        state = checkpoint(these)
        dcp.load(state, checkpoint_id=folder / str(first))
        for name, run in these.items():
            loaded = state[name]
            set_state_dict(*run, model_state_dict=loaded["model"], optim_state_dict=loaded["optimizer"])
    for k in range(first, first + 5) if first else count():
        for run in these.values():
            train(*run, k, k + 1)
        if not first:
            dcp.save(checkpoint(these), checkpoint_id=folder / str(k + 1))
            if rank == 0:
                latest.with_suffix(".new").write_text(str(k + 1))
                latest.with_suffix(".new").replace(latest)
    for name, straight in runs(world).items():
        train(*straight, 0, first + 5)
        for a, b in zip(weights(straight[0]), weights(these[name][0]), strict=True):
            assert torch.equal(a, b), name
    dist.destroy_process_group()
    os._exit(0)  # a thread of gloo's that is still there would abort the interpreter's end


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL does not exist on Windows")
@pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo")
@pytest.mark.parametrize("world", [1, 2], ids=["alone", "DDP and FSDP2"])
def test_a_killed_and_resumed_run_ends_with_the_same_bits(world, tmp_path):
    def start(attempt: str) -> Iterator[subprocess.Popen[str]]:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        for rank in range(world):
            call = f"{rank}, {world}, Path({str(tmp_path)!r}), {(tmp_path / attempt).as_uri()!r}"
            code = f"from test_torch_killed import Path, work; work({call})"
            yield subprocess.Popen(
                [sys.executable, "-c", code],
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )

    latest, processes = tmp_path / "latest", list(start("killed"))
    while not (latest.exists() and int(latest.read_text()) >= 3):
        assert all(p.poll() is None for p in processes), [p.communicate()[1] for p in processes]
        time.sleep(0.02)
    for p in processes:
        p.send_signal(signal.SIGKILL)
    assert [p.wait() for p in processes] == [-signal.SIGKILL] * world
    for p in (processes := list(start("resumed"))):
        assert p.wait() == 0, p.communicate()[1]
