"""The fused step for GPUs. Without one Triton's interpreter runs the kernel, and its compiler compiles it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from inna.torch import INNA, INNAprop, _fused, _fused_plan
from test_torch_eight_bit import path as eight_bit_path
from torch_settings import BOTH, CASES, Case

APART = Path(sys.prefix) / "triton"  # where `make test` puts it: it must not meet JAX in one process
needs_triton = pytest.mark.skipif(
    not APART.exists() and find_spec("triton") is None,
    reason="Triton is not installed; without it fused=True on a GPU is an error",
)
on_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
NARROW = [  # the interpreter truncates bfloat16 where a GPU rounds; Kahan's sum makes up for either
    Case(cls, {"lr": 0.01, "state_dtype": torch.float32, "kahan_sum": dtype == torch.bfloat16})
    for cls in (INNA, INNAprop)
    for dtype in (torch.float16, torch.bfloat16)
]


def run(function: str, **environment: str) -> None:
    """A function of this file in a process of its own: the interpreter is chosen when Triton is imported."""
    path = os.pathsep.join([str(Path(__file__).parent), str(APART), os.environ.get("PYTHONPATH", "")])
    code = f"import test_torch_triton; test_torch_triton.{function}()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr


def many(dtype: torch.dtype, device: str = "cpu") -> list[torch.Tensor]:
    """Every layout, empty and single values, and one tensor of more than a program's block."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    plain = [normal(), normal(3), normal(2, 0), normal(4, 16), normal(33, 64)]
    return [*plain, normal(6, 4).t(), normal(6, 4, 2)[..., 0], normal(17)[1:], normal(2, 3, 4, 5).mT]


def path(case: Case, dtype: torch.dtype, device: str = "cpu", steps: int = 3, **flags: Any) -> list[Any]:
    params = many(dtype, device)
    optimizer = case(params, **flags)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(device, dtype)
        optimizer.step()
    return [{"param": p, **optimizer.state[p]} for p in params]


def compare(case: Case, dtype: torch.dtype, device: str = "cpu") -> None:
    tolerance = {8: 1e-12, 4: 1e-5, 2: 4e-3}[dtype.itemsize]
    results = [path(case, dtype, device, **flags) for flags in ({"foreach": False}, {"fused": True})]
    for loop, fused in zip(*results, strict=True):
        low = "compensation" in loop
        for state in (loop, fused):
            if low:
                state["param"] = state["param"].double() + state.pop("compensation").double()
        torch.testing.assert_close(fused, loop, rtol=tolerance, atol=tolerance, check_device=False)


def use_triton_on_the_cpu() -> Any:
    from inna.torch import _fused_triton

    _fused.kernel_for = lambda _: _fused_triton.fused_triton_step  # type: ignore[assignment]
    torch.set_num_threads(1)
    return _fused_triton


def interpreted() -> None:
    kernel = use_triton_on_the_cpu()
    for case in CASES:
        compare(case, torch.float64)
    for case in BOTH:
        compare(case, torch.float32)
    for case in NARROW:
        compare(case, torch.bfloat16 if case.options["kahan_sum"] else torch.float16)
    for case in BOTH:
        rounding(case)
        in_8_bits(case)
        skipping(Case(case.cls, {**case.options, "state_dtype": "8bit"}), size=1100)
    kernel.plan.cache_clear()
    _fused_plan.TOGETHER, _fused_plan.PIECE = 2, 32
    for case in BOTH:  # more launches than one, and tensors in pieces
        compare(case, torch.float64)
    for case in BOTH:
        skipping(case)
        refusing(case)


def rounding(case: Case) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        ends = []
        for flags in ({"foreach": False}, {"fused": True}):
            param = torch.linspace(-2, 2, 3000).to(dtype)
            optimizer = case([param], stochastic_rounding=True, state_dtype=torch.float32, **flags)
            for k in range(3):
                param.grad = torch.linspace(-1, 2, 3000).roll(k).to(dtype)
                optimizer.step()
            ends.append(param)
        assert (ends[0] == ends[1]).float().mean() > 0.98


def in_8_bits(case: Case) -> None:
    """The same codes, of whole blocks and not, in another order and with gaps."""
    for dtype in (torch.float32, torch.bfloat16):
        results = [
            eight_bit_path(case, dtype, steps=3, **flags) for flags in ({"foreach": False}, {"fused": True})
        ]
        for ours, loop in list(zip(*results, strict=True))[:-1]:  # the last has few values
            for name in ours:
                a, b = ours[name].float(), loop[name].float()
                same = (a - b).abs() <= 1e-5 * b.abs() + 1e-6
                assert same.float().mean() > 0.98, name


def skipping(case: Case, device: str = "cpu", size: int = 20) -> None:
    """The options that stay on the device: a step with lr 0, an overflow, a scale, and then a start."""
    params = [torch.ones(size, device=device), torch.ones(size, device=device)]
    lr = torch.zeros((), device=device)
    fused, loop = case([params[0]], lr=lr, fused=True), case([params[1]], foreach=False)
    for p in params:
        p.grad = torch.linspace(1, 2, size, device=device)
    fused.step()
    lr.fill_(loop.param_groups[0]["lr"])
    fused.found_inf = torch.ones((), device=device)  # type: ignore[attr-defined]
    fused.step()
    assert torch.equal(params[0], torch.ones_like(params[0]))
    assert all(not t.any() for t in fused.state[params[0]].values())
    fused.found_inf.zero_()  # type: ignore[attr-defined]
    fused.grad_scale = torch.full((), 8.0, device=device)  # type: ignore[attr-defined]
    params[0].grad *= 8
    for _ in range(2):
        fused.step()
        loop.step()
    torch.testing.assert_close(*params)
    assert fused.state[params[0]]["step"] == 2


def refusing(case: Case) -> None:
    """What does not fit is refused before anything changes; autograd sees what is written."""
    param = torch.ones(3)
    param.grad = torch.ones(3)
    optimizer = case([param], fused=True)
    optimizer.step()
    state = optimizer.state[param]
    versions = [t._version for t in (param, *state.values())]
    optimizer.step()
    assert all(t._version > v for t, v in zip((param, *state.values()), versions, strict=True))
    for wrong in (torch.zeros(2), torch.zeros(3).to_sparse()):
        optimizer.state[param] = {**state, "momentum_buffer": wrong}
        before = param.clone()
        with pytest.raises(RuntimeError, match=r"does not belong|needs dense tensors"):
            optimizer.step()
        assert torch.equal(param, before)
        assert state["step"] == 2

    small, large = torch.ones(3), torch.ones(1280)  # with moments in float32, and in 8 bits
    for p in (small, large):
        p.grad = torch.ones_like(p)
    optimizer = case([small, large], fused=True, state_dtype="8bit")
    optimizer.step()
    before = small.clone()
    large.grad = torch.ones(1280).to_sparse()
    with pytest.raises(RuntimeError, match=r"sparse|needs dense tensors"):
        optimizer.step()
    large.grad = torch.ones(1280)
    large.grad.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="the memory of grad"):
        optimizer.step()
    assert torch.equal(small, before)
    assert optimizer.state[small]["step"] == 1


@needs_triton
def test_the_interpreted_kernel_takes_the_steps_of_the_loop():
    run("interpreted", TRITON_INTERPRET="1")


def compiled() -> None:
    import triton
    from triton.backends.compiler import GPUTarget

    kernel = use_triton_on_the_cpu()
    update, assembly = kernel.update, []

    class Elsewhere:
        """A GPU that is not here: kernels are compiled for it, and not launched."""

        architecture = 80

        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", self.architecture, 32)

        def get_current_device(self) -> int:
            return self.architecture

        def get_current_stream(self, _: int) -> int:
            return 0

        def __getitem__(self, grid: tuple[int]) -> Any:
            return lambda **arguments: assembly.append(update.warmup(grid=grid, **arguments).asm["ptx"])

    kernel.update = gpu = Elsewhere()
    triton.runtime.driver.set_active(gpu)

    def step(case: Case, params: list[torch.Tensor]) -> str:
        assembly.clear()
        for p in params:
            p.grad = torch.zeros_like(p)
        case(params, fused=True).step()
        (only,) = assembly  # one launch
        return only

    for gpu.architecture in (80, 90):
        for case in BOTH:
            for number in (1, 32):
                assert "ld.global.v4" in step(
                    case, [torch.zeros(64, 64) for _ in range(number)]
                )  # 16 bytes at once
            step(case, [torch.zeros(7 + 16 * i) for i in range(32)])
            known = len(update.device_caches[gpu.architecture][0])
            step(case, [torch.zeros(5 + 16 * i) for i in range(20)])
            step(case, [torch.zeros(48 + 16 * i) for i in range(20)])
            other = Case(case.cls, {"lr": 0.123, "alpha": 0.7, "beta": 0.2, "weight_decay": 0.1})
            step(other, [torch.zeros(32)])
            assert len(update.device_caches[gpu.architecture][0]) == known  # nothing compiled again
    step(Case(INNAprop, {"kahan_sum": True, "state_dtype": torch.float32}), [torch.zeros(32).bfloat16()])
    step(Case(INNA, {"stochastic_rounding": True}), [torch.zeros(32).bfloat16()])
    step(Case(INNA, {"stochastic_rounding": True}), [torch.zeros(32).half()])
    step(Case(INNA, {"state_dtype": "8bit"}), [torch.zeros(64, 64)])
    step(
        Case(INNAprop, {"state_dtype": "8bit", "stochastic_rounding": True}), [torch.zeros(64, 64).bfloat16()]
    )
    step(Case(INNA, {"lr": torch.tensor(0.1), "beta": torch.tensor(0.1)}), [torch.zeros(32).double()])


@needs_triton
def test_the_kernel_compiles_for_gpus_in_wide_moves_and_once_for_many_lengths_and_numbers():
    run("compiled", TRITON_INTERPRET="0")


def without_triton() -> None:
    sys.modules["triton"] = None  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match=r"needs Triton.*: pip install triton, or use foreach=True"):
        _fused.kernel_for("cuda")


def test_without_triton_the_error_says_what_to_do():
    run("without_triton")


def with_an_old_triton() -> None:
    sys.modules["triton"] = ModuleType("triton")
    for sys.modules["triton"].__version__ in ("3.3.1", "2.0.0.post1"):  # type: ignore[attr-defined]
        with pytest.raises(
            RuntimeError, match=r"needs Triton 3.4 or newer and found .*, or use foreach=True"
        ):
            _fused.kernel_for("cuda")


def test_an_old_triton_is_refused():
    run("with_an_old_triton")


class TestOnAGPU:
    pytestmark = on_gpu

    @pytest.mark.parametrize("case", CASES, ids=str)
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_fused_takes_the_steps_of_the_loop(self, case, dtype):
        compare(case, dtype, "cuda")

    @pytest.mark.parametrize("case", NARROW, ids=str)
    def test_fused_takes_the_steps_of_the_loop_in_16_bits(self, case):
        compare(case, torch.bfloat16 if case.options["kahan_sum"] else torch.float16, "cuda")

    @pytest.mark.parametrize("case", BOTH, ids=str)
    def test_fused_cpu_matches_cuda(self, case):
        results = [path(case, torch.float32, device, fused=True) for device in ("cpu", "cuda")]
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5, check_device=False)

    @pytest.mark.parametrize("case", BOTH, ids=str)
    def test_lr_zero_and_overflows_are_skipped_on_the_device(self, case):
        skipping(case, "cuda")

    @pytest.mark.parametrize("case", BOTH, ids=str)
    def test_a_step_waits_for_nothing(self, case):
        params = many(torch.float32, "cuda")
        optimizer = case(params, lr=torch.tensor(0.01, device="cuda"), fused=True)
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.parametrize("case", BOTH, ids=str)
    @pytest.mark.parametrize("flags", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str)
    def test_a_cuda_graph_replays_the_step_with_another_lr(self, case, flags):
        ends = []
        for graphed in (False, True):
            param = torch.ones(100, device="cuda")
            lr = torch.tensor(0.01, device="cuda")
            optimizer = case([param], lr=lr, capturable=True, **flags)
            param.grad = torch.linspace(-1, 1, 100, device="cuda")
            step = optimizer.step
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                step()
            torch.cuda.current_stream().wait_stream(side)
            if graphed:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    optimizer.step()
                step = graph.replay
            for k in range(4):
                lr.fill_(0.01 / (k + 1))
                step()
            ends.append(param)
        torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)

    def test_the_default_allocates_nothing_of_parameter_size(self):
        param = torch.ones(2**24, device="cuda")
        param.grad = torch.ones_like(param)
        optimizer = INNA([param], fused=True)
        optimizer.step()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        optimizer.step()
        assert torch.cuda.max_memory_allocated() - before < 0.01 * param.nbytes
