"""DDP, FSDP2, ZeRO and distributed checkpoints end where one process ends, on a CPU and on two GPUs."""

import copy
import itertools
import os
import tempfile
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
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from torch_settings import BOTH, IMPLEMENTATIONS, Case

two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
each_backend = pytest.mark.parametrize(
    "backend",
    [
        pytest.param("gloo", marks=pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo")),
        pytest.param("nccl", marks=[pytest.mark.gpu, two_gpus]),
    ],
)


def on_gpus() -> bool:
    return dist.is_initialized() and dist.get_backend() == "nccl"


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).to(
        "cuda" if on_gpus() else "cpu", dtype
    )


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    """Each process takes its part of the batch; alone, one takes it all."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    some = next(model.parameters())
    for k in range(first, last):
        x = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
        x = x.to(some.device, some.dtype)
        optimizer.zero_grad()
        model(x[rank::world]).square().mean().backward()
        optimizer.step()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [(p.full_tensor() if isinstance(p, DTensor) else p).detach().cpu() for p in model.parameters()]


def alone(case: Case, steps: int) -> list[torch.Tensor]:
    model = network()
    train(model, case(model.parameters()), 0, steps)
    return weights(model)


def _process(
    rank: int, work: Callable[..., None], backend: str, meeting: str, world: int, arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    if backend == "nccl":
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=world)
    try:
        work(*arguments)
        dist.barrier()
    finally:
        dist.destroy_process_group()
    os._exit(0)  # a thread of gloo's that is still there would abort the interpreter's end


def on_processes(work: Callable[..., None], *arguments: Any, backend: str = "gloo", world: int = 2) -> None:
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder, "meeting").as_uri()
        torch.multiprocessing.spawn(_process, (work, backend, meeting, world, arguments), nprocs=world)  # type: ignore[no-untyped-call]


def data_parallel(expected: list[list[torch.Tensor]]) -> None:
    for case, ends in zip(BOTH, expected, strict=True):
        model = DistributedDataParallel(network())
        train(model, case(model.parameters(), fused=True), 0, 10)
        torch.testing.assert_close(weights(model), ends, rtol=1e-10, atol=1e-12)


@each_backend
def test_ddp_ends_where_one_process_ends(backend):
    on_processes(data_parallel, [alone(case, 10) for case in BOTH], backend=backend)


def sharded(dtype: torch.dtype = torch.float64) -> nn.Module:
    model = network(dtype)
    fully_shard(model[0])
    fully_shard(model)
    return model


def fully_sharded(expected: list[list[torch.Tensor]]) -> None:
    for (case, ends), flags in itertools.product(
        zip(BOTH, expected, strict=True), [*IMPLEMENTATIONS.values(), {"foreach": True, "capturable": True}]
    ):
        model = sharded()
        optimizer = case(model.parameters(), **flags)
        train(model, optimizer, 0, 10)
        torch.testing.assert_close(weights(model), ends, rtol=1e-10, atol=1e-12)
        momentum = optimizer.state[model[0].weight]["momentum_buffer"]  # type: ignore[index]
        assert momentum.to_local().numel() < momentum.numel()  # each process keeps its shard only


@each_backend
def test_fsdp2_ends_where_one_process_ends_with_every_implementation(backend):
    on_processes(fully_sharded, [alone(case, 10) for case in BOTH], backend=backend)


def save_half_way(folder: Path) -> None:
    for i, case in enumerate(BOTH):
        model = sharded(torch.bfloat16)
        optimizer = case(model.parameters(), state_dtype=torch.float32)
        train(model, optimizer, 0, 5)
        model_state, optimizer_state = get_state_dict(model, optimizer)
        dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=folder / str(i))
        full = {k: v["momentum_buffer"].full_tensor() for k, v in optimizer_state["state"].items()}
        if dist.get_rank() == 0:
            torch.save(full, folder / f"{i}.pt")


def load_elsewhere(folder: Path) -> None:
    for i, case in enumerate(BOTH):
        model = sharded(torch.bfloat16) if dist.get_world_size() > 1 else network(torch.bfloat16)
        optimizer = case(model.parameters(), state_dtype=torch.float32)
        model_state, optimizer_state = get_state_dict(model, optimizer)
        state = {"model": model_state, "optimizer": optimizer_state}
        dcp.load(state, checkpoint_id=folder / str(i))
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        for name, expected in torch.load(folder / f"{i}.pt", map_location="cpu").items():
            momentum = optimizer.state[model.get_parameter(name)]["momentum_buffer"]
            momentum = momentum.full_tensor() if isinstance(momentum, DTensor) else momentum
            assert torch.equal(momentum.cpu(), expected.cpu())
            assert not torch.equal(momentum, momentum.bfloat16().float())  # nothing was rounded
        train(model, optimizer, 5, 6)


@each_backend
def test_a_checkpoint_of_two_processes_loads_in_one_and_in_three_with_its_float32_state(backend, tmp_path):
    on_processes(save_half_way, tmp_path, backend=backend)
    on_processes(load_elsewhere, tmp_path, backend=backend, world=1)
    on_processes(load_elsewhere, tmp_path, world=3)


def zero_redundancy(folder: Path) -> None:
    for i, case in enumerate(BOTH):
        model = DistributedDataParallel(network())
        optimizer = ZeroRedundancyOptimizer(
            model.parameters(), optimizer_class=case.cls, **copy.deepcopy(case.options)
        )
        train(model, optimizer, 0, 10)
        optimizer.consolidate_state_dict(to=0)
        if dist.get_rank() == 0:
            state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, folder / f"{i}.pt")


@each_backend
def test_what_zero_redundancy_optimizer_consolidates_goes_on_in_one_process(backend, tmp_path):
    on_processes(zero_redundancy, tmp_path, backend=backend)
    for i, case in enumerate(BOTH):
        state = torch.load(tmp_path / f"{i}.pt", map_location="cpu", weights_only=True)
        model = network()
        model.load_state_dict(state["model"])
        torch.testing.assert_close(weights(model), alone(case, 10), rtol=1e-10, atol=1e-12)
        (optimizer := case(model.parameters())).load_state_dict(state["optimizer"])
        train(model, optimizer, 10, 15)
        torch.testing.assert_close(weights(model), alone(case, 15), rtol=1e-10, atol=1e-12)


def between_two_backward_passes() -> None:
    mesh = dist.init_device_mesh("cuda" if on_gpus() else "cpu", (dist.get_world_size(),))
    for case, flags in itertools.product(BOTH, IMPLEMENTATIONS.values()):
        w, v = (distribute_tensor(torch.tensor([x]), mesh).requires_grad_() for x in (2.0, 3.0))
        optimizer = case([w], **flags)
        y = w * v
        (y * y).sum().backward(retain_graph=True)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@each_backend
def test_autograd_refuses_a_graph_whose_dtensors_have_taken_a_step(backend):
    on_processes(between_two_backward_passes, backend=backend, world=1)
