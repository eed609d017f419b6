"""The fused step on a CPU: builds `_fused_cpu.cpp` at first use, keeps it on disk, and calls it."""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._eight_bit import EIGHT_BIT, apart
from ._optimizer import Tensors

__all__ = ["fused_cpu_step"]

_OPTIONS = ("lr", "alpha", "beta", "speed", "decay", "sign")
_TINY = 2.0**-126  # the least eps: so a gradient of 0 moves nothing
_NO_EXPONENTS = torch.empty(0, dtype=torch.uint8)
_SOURCE = Path(__file__).with_name("_fused_cpu.cpp")
_FLAGS = ["-O3", "-std=c++20", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"]
_EXTRAS = ["-march=native", "-fopenmp"]  # Apple's clang, for one, has neither


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
    sigma = float(group.get("sigma", 0))
    eps = max(float(group.get("eps", 0)), _TINY)
    scale = sign if grad_scale is None else sign / grad_scale.item()
    momentum_buffers, exp_avg_sqs = tensors.momentum_buffers, tensors.exp_avg_sqs
    exp_avg_sqs = [] if exp_avg_sqs[0] is None else exp_avg_sqs
    u_exponents: list[Any] = []
    s_exponents: list[Any] = []
    if group["state_dtype"] == EIGHT_BIT:
        momentum_buffers, u_exponents = apart(momentum_buffers, _NO_EXPONENTS)
        exp_avg_sqs, s_exponents = apart(exp_avg_sqs, _NO_EXPONENTS)
    _operation()(
        tensors.params,
        tensors.grads,
        momentum_buffers,
        exp_avg_sqs,
        tensors.compensations if group["kahan_sum"] else [],
        u_exponents,
        s_exponents,
        tensors.steps,
        *(lr, alpha, beta, speed, decay, coupled, sigma, eps, scale),
        bool(group["stochastic_rounding"]),
    )


@cache
def _operation() -> Any:
    """`torch.ops.inna.step_`, loaded from the disk or else built: by one compiler call, once a machine."""
    library = _library(_cache_directory())
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError as error:
        raise _unusable(library, error) from error
    return torch.ops.inna.step_.default


def _library(directory: Path) -> Path:
    """The library for this source, torch and processor; built if it is not there, or damaged."""
    circumstances = (_SOURCE.read_bytes(), _FLAGS, _EXTRAS, torch.__version__, _processor())
    stem = f"inna-fused-{hashlib.sha256(repr(circumstances).encode()).hexdigest()[:16]}"
    try:
        if found := _intact(directory, stem):
            return found
        directory.mkdir(parents=True, exist_ok=True)
        with _lock(directory) as alone:  # of several processes that start together one builds
            return _intact(directory, stem) or _build(directory, stem, alone)
    except OSError as error:
        raise _unusable(directory, error) from error


def _intact(directory: Path, stem: str) -> Path | None:
    """The library whose name tells its contents, as a damaged one's does not: to load that may be the end."""
    for library in directory.glob(f"{stem}-*.so"):
        with suppress(FileNotFoundError):  # another process has just removed it
            if library.name == _name(stem, library):
                return library
            library.unlink()
    return None


def _name(stem: str, library: Path) -> str:
    return f"{stem}-{hashlib.sha256(library.read_bytes()).hexdigest()[:16]}.so"


def _build(directory: Path, stem: str, alone: bool) -> Path:
    compiler = _compiler()
    print(
        f"inna: building the fused step with {shlex.join(compiler)}, once for this machine ...",
        file=sys.stderr,
        flush=True,
    )
    if alone:
        for leftover in directory.glob("inna-build-*"):  # of a build that was killed
            shutil.rmtree(leftover, ignore_errors=True)
    root = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory(
        prefix="inna-build-", dir=directory, ignore_cleanup_errors=True
    ) as workshop:
        draft = Path(workshop, "draft.so")
        command = [*compiler, str(_SOURCE), "-o", str(draft), *_FLAGS]
        command += [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
        command += [f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include"]
        command += [f"-L{root}/lib", f"-Wl,-rpath,{root}/lib", "-ltorch_cpu", "-ltorch", "-lc10"]
        for extras in (_EXTRAS, []):
            failure = _run(command + extras)
            if failure is None and draft.exists():
                return draft.replace(directory / _name(stem, draft))  # atomic: nobody loads half a file
    says = f"{shlex.join(compiler)} says:\n{failure or 'nothing'}"
    raise RuntimeError(f"fused=True could not be built, use foreach=True. {says}")


def _compiler() -> list[str]:
    """The command in the environment variable CXX, which may have arguments, or the first that is there."""
    named = os.environ.get("CXX", "").strip()
    try:
        command = [named] if shutil.which(named) else shlex.split(named)
    except ValueError:  # an open quotation
        command = [named]
    if command and not shutil.which(command[0]):
        raise RuntimeError(
            f"fused=True needs the C++ compiler that the environment variable CXX names, and {command[0]} is "
            "not there: correct CXX, unset it, or use foreach=True"
        )
    found = command or [name for name in ("c++", "g++", "clang++") if shutil.which(name)][:1]
    if not found:
        raise RuntimeError(
            "fused=True needs a C++ compiler and found none: install g++ or clang++ (or name it in the "
            "environment variable CXX), or use foreach=True"
        )
    return found


def _run(command: list[str]) -> str | None:
    """None, or what a compiler says that fails; it may say it in any encoding."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.decode(errors="replace")[-2000:]


def _unusable(path: Path, error: OSError) -> RuntimeError:
    return RuntimeError(
        f"fused=True keeps its compiled step in {path}, which cannot be used ({error.strerror or error}): "
        "name a folder in the environment variable INNA_CACHE_DIR, or use foreach=True"
    )


def _cache_directory() -> Path:
    if chosen := os.environ.get("INNA_CACHE_DIR"):
        return Path(chosen).expanduser()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inna"
    except RuntimeError as error:
        raise RuntimeError(
            "fused=True keeps its compiled step in ~/.cache/inna, and there is no home directory: name a "
            "folder in the environment variable INNA_CACHE_DIR, or use foreach=True"
        ) from error


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return "".join(
            sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
        )
    except OSError:
        return platform.machine() + platform.processor()


@contextmanager
def _lock(directory: Path) -> Iterator[bool]:
    """Let one process at a time into the block, and tell whether that can be; death frees the lock."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows: two builds at once cost time only
        yield False
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            alone = True
        except OSError:  # a file system without locks: the same
            alone = False
        yield alone
    finally:
        os.close(descriptor)
