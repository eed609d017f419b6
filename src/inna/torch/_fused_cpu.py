"""The fused step on a CPU: builds `_fused_cpu.cpp` at first use, keeps it on disk, and calls it."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._contract import Tensors

__all__ = ["fused_cpu_step"]

_SOURCE = Path(__file__).with_name("_fused_cpu.cpp")
_OPTIONS = ("lr", "alpha", "beta", "speed", "decay", "sign")


def fused_cpu_step(
    tensors: Tensors,
    group: dict[str, Any],
    options: dict[str, Any],
    amp: tuple[Tensor | None, Tensor | None],
) -> None:
    """One step of parameters on a CPU."""
    grad_scale, found_inf = amp
    lr, alpha, beta, speed, decay, sign = (float(options[name]) for name in _OPTIONS)
    if lr == 0 or (found_inf is not None and found_inf.item()):
        return
    coupled = 0.0 if group["decoupled_weight_decay"] else float(group["weight_decay"])
    sigma, eps = float(group.get("sigma", 0)), max(float(group.get("eps", 0)), 2.0**-126)  # 0 / 0 is 0
    scale = sign if grad_scale is None else sign / grad_scale.item()
    params, momenta, steps, compensations, squares, grads = tensors
    present = [[] if ts[0] is None else ts for ts in (squares, compensations)]
    numbers = lr, alpha, beta, speed, decay, coupled, sigma, eps, scale
    _operation()(params, grads, momenta, *present, steps, *numbers)


@cache
def _operation() -> Any:
    """`torch.ops.inna.step_`, loaded from the disk or else built: by one compiler call, once a machine."""
    torch.ops.load_library(str(_library(_cache_directory())))  # type: ignore[no-untyped-call]
    return torch.ops.inna.step_.default


def _library(directory: Path) -> Path:
    """The path of the library for this source, torch and processor, built if it is not there."""
    key = hashlib.sha256(repr((_SOURCE.read_text(), torch.__version__, _processor())).encode()).hexdigest()[
        :16
    ]
    library = directory / f"inna-fused-{key}.so"
    if not library.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"{library.name}.lock").open("w") as lock:
            _lock(lock)  # of several processes that start together one builds
            if not library.exists():
                _build(library)
    return library


def _build(library: Path) -> None:
    compiler = next(
        filter(None, map(shutil.which, (os.environ.get("CXX", ""), "c++", "g++", "clang++"))), None
    )
    if compiler is None:
        raise RuntimeError(
            "fused=True needs a C++ compiler and found none: install g++ or clang++ (or name it in the "
            "environment variable CXX), or use foreach=True"
        )
    print(
        f"inna: building the fused step with {compiler}, once for this machine ...",
        file=sys.stderr,
        flush=True,
    )
    root = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory(dir=library.parent) as workshop:
        draft = Path(workshop) / library.name
        command = [compiler, str(_SOURCE), "-o", str(draft), "-O3", "-std=c++20", "-shared", "-fPIC"]
        command += [
            "-fno-math-errno",
            "-fno-trapping-math",
            f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        ]
        command += [f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include"]
        command += [f"-L{root}/lib", f"-Wl,-rpath,{root}/lib", "-ltorch_cpu", "-ltorch", "-lc10"]
        for extra in (["-march=native", "-fopenmp"], []):  # Apple's clang, for one, has neither
            done = subprocess.run(command + extra, capture_output=True, text=True)
            if done.returncode == 0:
                draft.replace(library)  # atomic: nobody loads half a file
                return
    raise RuntimeError(
        f"fused=True could not be built, use foreach=True. {compiler} says:\n{done.stderr[-2000:]}"
    )


def _cache_directory() -> Path:
    if chosen := os.environ.get("INNA_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inna"


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "".join(
            sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
        )
    except OSError:
        return platform.machine() + platform.processor()


def _lock(file: Any) -> None:
    """Hold an exclusive lock until `file` is closed; the system frees it when its process dies."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows: two builds at once cost time only
        return
    fcntl.flock(file, fcntl.LOCK_EX)
