"""Where runs are executed: processes of this machine, or the workers of a Ray or a Dask cluster.

An engine takes work to some process and gives a future of its outcome. It tries nothing twice: what is to be
done, and done again, is `inna.lab.running.workers`' business.
"""

from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from typing import Any, Protocol, TypeVar

from ...plan import Run

__all__ = ["ENGINES", "Engine", "start"]

ENGINES = {"local": ("_local", "Local"), "ray": ("_ray", "Ray"), "dask": ("_dask", "Dask")}
"""The engines by name, each the module and the class; a cluster's has the extra of its name."""

T = TypeVar("T")


class Engine(Protocol):
    """What an engine has to offer."""

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """What a future raises whose worker died on the way."""

    def places(self, run: Run) -> int:
        """How many runs like this one may be under way at once; it can change as a cluster grows."""

    def submit(self, run: Run, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Do some work where there is room for the run."""

    def close(self) -> None:
        """Drop what is under way, and end what this engine started."""


def start(name: str, *, jobs: int | None = None, address: str | None = None) -> Engine:
    """Start an engine.

    Args:
        name: a key of `ENGINES`.
        jobs: how many runs at once; all that there is room for, if not given.
        address: of a running cluster; without it Ray and Dask start one on this machine.

    Raises:
        ValueError: there is no such engine, or it has no address.
        ModuleNotFoundError: the engine is not installed.
        ConnectionError: no cluster answers at the address.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be positive, got {jobs}")
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}: choose from {', '.join(ENGINES)}")
    module, made = ENGINES[name]
    try:
        engine: Callable[[int | None, str | None], Engine] = getattr(
            import_module(f".{module}", __name__), made
        )
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the engine {name} needs {error.name}: pip install 'inna[{name}]'", name=error.name
        ) from error
    return engine(jobs, address)
