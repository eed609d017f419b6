"""The user's own source code that a run executes: it belongs to the run, as its data do."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..plan import Run
from ..records import RecordError, RunFolder

__all__ = ["check_same_code", "forget_changed", "own_code"]

INSTALLED = {"site-packages", "dist-packages"}
"""Folders of what is installed."""
_seen: dict[str, str] = {}
"""The modules' digests when this process looked at them first, which is when it imported them."""


def own_code(run: Run) -> dict[str, str]:
    """The SHA-256 of each module of the user's own that a run names, or that one of these imports.

    What is installed, such as torch, is not the user's own: `run.json` holds versions instead.
    """
    problem = run.problem
    paths = (run.optimizer, problem.task or problem.network, *_paths(run.schedule))
    waiting = [path.rpartition(".")[0] for path in paths]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        file = None if name in found else _own_file(name)
        if file is not None:
            content = file.read_bytes()
            found[name] = hashlib.sha256(content).hexdigest()
            waiting += _imports(content, name if file.name == "__init__.py" else name.rpartition(".")[0])
    return dict(sorted(found.items()))


def check_same_code(run: Run, left: RunFolder) -> None:
    """Refuse to count records, or to add to them, that other code has made.

    Records that do not say of what code they are, as those of earlier versions, are taken as they are.

    Raises:
        RecordError: a module has changed since; the message names it and the ways out.
    """
    now = own_code(run)
    then = left.description().get("own_code", now) if now else now
    changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    if changed:
        raise RecordError(
            f"{left.path} holds records of other code ({', '.join(changed)} has changed since): delete it, "
            "or name another folder with --out"
        )


def forget_changed(run: Run) -> None:
    """Let modules that have changed since a lasting worker imported them be imported again."""
    for name, digest in own_code(run).items():
        if _seen.setdefault(name, digest) != digest:
            _seen[name] = digest
            sys.modules.pop(name, None)


def _paths(schedule: Any) -> Iterator[str]:
    """The import paths in a schedule, which may stand in `then`."""
    if isinstance(schedule, str):
        yield schedule
    elif isinstance(schedule, dict):
        yield from _paths(schedule.get("then"))


def _own_file(name: str) -> Path | None:
    """The file of a module, unless it is installed; of a class or a function there is none."""
    top = name.partition(".")[0]
    if not top or top in ("inna", *sys.stdlib_module_names):
        return None
    try:
        for part in dict.fromkeys((top, name)):  # nothing of an installed package is imported
            spec = importlib.util.find_spec(part)
            places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else [None]
            if any(INSTALLED & set(Path(place).parts) for place in filter(None, places)):
                return None
    except (ImportError, AttributeError, ValueError):
        return None
    origin = spec.origin if spec else None
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _imports(content: bytes, package: str) -> Iterator[str]:
    """The modules that a file may import: of `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(content)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))
