"""On what a run was executed: code, libraries, machine."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ... import __version__

__all__ = ["environment"]

PACKAGE = Path(__file__).parents[2]


def environment(device: str) -> dict[str, Any]:
    """The code's version and commit, the libraries' versions, and the machine with its device."""
    return {"code": _code(), "libraries": _libraries(), "machine": _machine(device)}


@cache
def _code() -> dict[str, Any]:
    """The package's version; in a git checkout also the commit, and whether the package differs from it."""
    code: dict[str, Any] = {"inna": __version__}
    top = _git("rev-parse", "--show-toplevel")
    if top is not None and (Path(top) / "src" / "inna").resolve() == PACKAGE:
        code["commit"] = _git("rev-parse", "HEAD")
        code["modified"] = _git("status", "--porcelain", "--", ".") != ""
    return code


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def _libraries() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


@cache
def _machine(device: str) -> dict[str, Any]:
    machine = {
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": device,
    }
    if torch.device(device).type == "cuda":
        machine["device_name"] = torch.cuda.get_device_name(device)
    return machine


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
