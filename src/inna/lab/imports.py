"""What a dotted path names: networks, optimizers and schedules of the user's own."""

import importlib
import sys
from pathlib import Path
from typing import Any

__all__ = ["imported", "search"]


def search(folder: str | Path) -> None:
    """Let modules of this folder be imported, after all installed ones; workers look there too."""
    place = str(Path(folder).resolve())
    if place not in sys.path:
        sys.path.append(place)


def imported(path: str) -> Any:
    """The object behind ``module.name``.

    Raises:
        ValueError: there is no such module, it cannot be imported, or it has no such name.

    Example:
        >>> imported("math.pi")
        3.141592653589793
        >>> imported("math.tau2")
        Traceback (most recent call last):
        ValueError: the module math has no 'tau2'
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError(f"{path!r} is no import path: write module.name")
    try:
        place = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        reason = str(error).partition("\n")[0]
        raise ValueError(f"cannot import {module} ({type(error).__name__}: {reason})") from None
    if not hasattr(place, name):
        raise ValueError(f"the module {module} has no {name!r}")
    return getattr(place, name)
