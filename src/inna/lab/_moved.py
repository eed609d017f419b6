"""Modules that have moved can still be imported from where they were."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED", "forward", "new"]

ROOMS = {
    "data": ("fetch", "formats", "sources"),
    "gallery": ("explorer", "figure1", "theory"),
    "reporting": ("drawing", "figures", "interactive"),
    "results": ("findings", "judgement", "paper"),
    "running": (
        "engines",
        "execution",
        "graphs",
        "networks",
        "optimizers",
        "provenance",
        "training",
        "workers",
    ),
}
MOVED = {f"inna.lab.{name}": f"inna.lab.{room}.{name}" for room, names in ROOMS.items() for name in names}
MOVED["inna.lab.own_data"] = "inna.lab.data.own"


class _Forwarding(MetaPathFinder, Loader):
    """Imports a module from its new place, and gives the same object under its old name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if new(name) else None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(new(module.__name__))


def new(name: str) -> str:
    """Where a module is now, that of a folder too; an empty text if it has not moved."""
    for old, new in MOVED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return ""


def forward() -> None:
    """Let the old names be imported."""
    sys.meta_path.insert(0, _Forwarding())  # before a moved package is searched for its modules
