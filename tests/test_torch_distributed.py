"""Two gloo processes on one CPU: DDP, FSDP2, ZeRO and distributed checkpoints end where one process ends."""

import copy
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from torch_settings import BOTH, IMPLEMENTATIONS, Case

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo")
each_optimizer = pytest.mark.parametrize("case", BOTH, ids=str)


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    """Each process takes its part of the batch; alone, one takes it all."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    dtype = next(model.parameters()).dtype
    for k in range(first, last):
        x = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(k)).to(dtype)
        optimizer.zero_grad()
        model(x[rank::world]).square().mean().backward()
        optimizer.step()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.full_tensor() if isinstance(p, DTensor) else p.detach() for p in model.parameters()]


def alone(case: Case, steps: int) -> list[torch.Tensor]:
    model = network()
    train(model, case(model.parameters()), 0, steps)
    return weights(model)


def _process(rank: int, work: Callable[..., None], port: int, world: int, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    try:
        work(*arguments)
    finally:
        dist.destroy_process_group()


def on_processes(work: Callable[..., None], *arguments: Any, world: int = 2) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (work, port, world, arguments), nprocs=world)  # type: ignore[no-untyped-call]


def data_parallel(case: Case, flags: dict[str, Any], expected: list[torch.Tensor]) -> None:
    model = DistributedDataParallel(network())
    train(model, case(model.parameters(), **flags), 0, 10)
    torch.testing.assert_close(weights(model), expected, rtol=1e-10, atol=1e-12)


@each_optimizer
def test_ddp_ends_where_one_process_ends(case):
    on_processes(data_parallel, case, {"fused": True}, alone(case, 10))


def sharded(dtype: torch.dtype = torch.float64) -> nn.Module:
    model = network(dtype)
    fully_shard(model[0])
    fully_shard(model)
    return model


def fully_sharded(case: Case, expected: list[torch.Tensor]) -> None:
    for flags in IMPLEMENTATIONS.values():
        model = sharded()
        optimizer = case(model.parameters(), **flags)
        train(model, optimizer, 0, 10)
        torch.testing.assert_close(weights(model), expected, rtol=1e-10, atol=1e-12)
        momentum = optimizer.state[model[0].weight]["momentum_buffer"]  # type: ignore[index]
        assert momentum.to_local().numel() < momentum.numel()  # each process keeps its shard only


@each_optimizer
def test_fsdp2_ends_where_one_process_ends_with_every_implementation(case):
    on_processes(fully_sharded, case, alone(case, 10))


def resumed(case: Case, build: Callable[[], nn.Module], folder: Path) -> None:
    straight = build()
    train(straight, case(straight.parameters(), fused=True), 0, 10)
    broken = build()
    optimizer = case(broken.parameters(), fused=True)
    train(broken, optimizer, 0, 5)
    model_state, optimizer_state = get_state_dict(broken, optimizer)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=folder)
    again = build()
    optimizer = case(again.parameters(), fused=True)
    load(again, optimizer, folder)
    train(again, optimizer, 5, 10)
    for a, b in zip(weights(straight), weights(again), strict=True):
        assert torch.equal(a, b)


def load(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    model_state, optimizer_state = get_state_dict(model, optimizer)
    state = {"model": model_state, "optimizer": optimizer_state}
    dcp.load(state, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


def replicated() -> nn.Module:
    return DistributedDataParallel(network(torch.float32))


@each_optimizer
@pytest.mark.parametrize("build", [replicated, sharded], ids=["DDP", "FSDP2"])
def test_a_resumed_run_ends_with_the_same_bits(case, build, tmp_path):
    on_processes(resumed, case, build, tmp_path)


def save_half_way(case: Case, folder: Path) -> None:
    model = sharded(torch.bfloat16)
    optimizer = case(model.parameters(), state_dtype=torch.float32)
    train(model, optimizer, 0, 5)
    model_state, optimizer_state = get_state_dict(model, optimizer)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=folder)
    full = {k: v["momentum_buffer"].full_tensor() for k, v in optimizer_state["state"].items()}
    if dist.get_rank() == 0:
        torch.save(full, folder / "full.pt")


def load_alone(case: Case, folder: Path) -> None:
    model = network(torch.bfloat16)
    optimizer = case(model.parameters(), state_dtype=torch.float32)
    load(model, optimizer, folder)
    for name, expected in torch.load(folder / "full.pt").items():
        momentum = optimizer.state[model.get_parameter(name)]["momentum_buffer"]
        assert torch.equal(momentum, expected)
        assert not torch.equal(momentum, momentum.bfloat16().float())  # nothing was rounded
    train(model, optimizer, 5, 6)


@each_optimizer
def test_a_checkpoint_of_two_processes_loads_in_one_with_its_float32_state(case, tmp_path):
    on_processes(save_half_way, case, tmp_path)
    on_processes(load_alone, case, tmp_path, world=1)


def zero_redundancy(case: Case, expected: list[torch.Tensor]) -> None:
    model = DistributedDataParallel(network())
    optimizer = ZeroRedundancyOptimizer(
        model.parameters(), optimizer_class=case.cls, **copy.deepcopy(case.options)
    )
    train(model, optimizer, 0, 10)
    torch.testing.assert_close(weights(model), expected, rtol=1e-10, atol=1e-12)


@each_optimizer
def test_zero_redundancy_optimizer_ends_where_one_process_ends(case):
    on_processes(zero_redundancy, case, alone(case, 10))
