"""One run, executed by whoever is told to: this process, or a worker somewhere.

A run's folder has a lock of the operating system, which dies with its process: nobody does a run that another
is at, and nobody waits for the dead.
"""

import os
import platform
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ... import __version__
from ..files import Held
from ..plan import Run, validated
from ..records import RunFolder
from .own_code import forget_changed

__all__ = ["Order", "Outcome", "carry_out", "execute_here", "own_places"]


def execute_here(
    run: Run,
    root: Path,
    data_dir: Path | None,
    *,
    wait_for_lock: bool = True,
    on_epoch: Callable[[int], object] | None = None,
) -> bool:
    """Execute a run in this process; False if another process holds it and we are not to wait.

    Whatever somebody's optimizer or network raises is a RuntimeError of one line.
    """
    from .. import data, tasks
    from .training import train  # loads torch, which must not be before a worker has set its threads

    folder = root / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with RunFolder.of(run, root).locked(wait=wait_for_lock):
            problem = run.problem
            if problem.task is None:
                images = data.load(problem.dataset, data_dir, train=problem.train, test=problem.test)
                train(run, folder, images, on_epoch)
            else:
                train(run, folder, tasks.make(problem.task, problem.options), on_epoch)
    except Held:
        return False
    except (ValueError, OSError, RuntimeError, ImportError):
        raise
    except (Exception, SystemExit) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise RuntimeError(
            f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
        ) from error
    return True


class Order(NamedTuple):
    """What a worker is told: plain data, which asks nothing of the worker's Python."""

    run: dict[str, Any]
    root: str
    data_dir: str | None
    sign: str
    """A file that exists as long as the command that gave the order."""
    wait_for_lock: bool
    places: list[str]
    """Where the command finds modules that are not installed, such as the user's own optimizer."""
    version: str = __version__


class Outcome(NamedTuple):
    """What a worker answers: a failure is one line, whatever raised it."""

    status: Literal["done", "busy", "failed"]
    worker: str
    message: str = ""


def carry_out(order: Order) -> Outcome:
    """Execute a run in a worker, until it is complete or the command that gave the order is over."""
    worker = f"process {os.getpid()} on {platform.node()}"
    os.environ["OMP_NUM_THREADS"] = str(order.run["threads"])  # read when torch is first imported
    try:
        _check(order, worker)
        sys.path += [place for place in order.places if place not in sys.path]
        run = validated(Run, order.run)
        forget_changed(run)
        done = execute_here(
            run,
            Path(order.root),
            Path(order.data_dir) if order.data_dir else None,
            wait_for_lock=order.wait_for_lock,
            on_epoch=lambda _: _check(order, worker),
        )
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        return Outcome("failed", worker, "; ".join(filter(None, map(str.strip, str(error).splitlines()))))
    return Outcome("done" if done else "busy", worker)


def own_places() -> list[str]:
    """Where this process finds modules that are not installed."""
    places = [Path(place).absolute() for place in sys.path]
    installed = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix)}
    return [str(place) for place in places if not installed & {place, *place.parents}]


def _check(order: Order, worker: str) -> None:
    if order.version != __version__:
        raise RuntimeError(f"{worker} has inna {__version__}, this command {order.version}: install the same")
    if not Path(order.sign).exists():
        raise RuntimeError(f"{worker} does not see {order.root}: the folder must be shared by all workers")
