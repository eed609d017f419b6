"""A plan from a few words: which optimizers are compared, each with its options and its grid."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .files import write_atomically
from .plan import SETTINGS_OWN, Plan, validated
from .spaces import known

__all__ = ["keep", "plan", "setting", "toml"]


def plan(
    optimizers: Sequence[str],
    *,
    dataset: str | None = None,
    network: str | None = None,
    train: int | None = None,
    test: int | None = None,
    task: str | None = None,
    grid: str | Sequence[float],
    trials: int = 0,
    **rest: Any,
) -> Plan:
    """The plan that compares some optimizers on one problem; all of them are peers.

    Args:
        optimizers: see `setting`.
        dataset: the name or path of a data set.
        network: the name or import path of a network.
        train: how many training images; None for all.
        test: how many test images; None for all.
        task: instead of these, ``"NAME, KEY=VALUE, ..."``: a task and its options.
        grid: the steps of those without a grid of their own, as numbers or as ``"0.01 0.1"``.
        trials: so many are drawn from each optimizer's ranges, and what has none from those of
            `inna.lab.spaces`, or lr of an optimizer that is not there from between the ends of the grid;
            0: the grid is tried.
        rest: fields of the plan.

    Raises:
        PlanError: something is not sound.
    """
    problem: dict[str, Any] = {"dataset": dataset, "network": network, "train": train, "test": test}
    of = f"{Path(dataset or '').stem} with the network {network}"
    if task is not None:
        of, options = parts(task)
        problem |= {"task": of, "options": {key: value(text) for key, text in options.items()}}
    settings = [setting(words) for words in optimizers]
    choice: dict[str, Any] = {"grid": _numbers(grid)}
    if trials:
        steps = choice.pop("grid")
        choice["trials"] = trials
        for made in settings:
            made["space"] = _space(made, made.pop("grid", steps))
    content = {
        "name": "comparison",
        "description": f"Optimizers compared on {of}.",
        "modules": [str(Path.cwd())],
        "problems": [{key: entry for key, entry in problem.items() if entry is not None}],
        "settings": settings,
        **choice,
        **rest,
    }
    return validated(Plan, content)


def _space(made: dict[str, Any], steps: list[Any]) -> dict[str, Any]:
    """The ranges that are given, and those that are known for what is not."""
    own = made.get("space", {})
    ranges = known(made["optimizer"], {*made["options"], *made, *own})
    if ranges is None:
        ranges = {"lr": {"low": min(steps), "high": max(steps), "log": True}}
    return {**ranges, **own}


def _numbers(grid: str | Sequence[float]) -> list[Any]:
    return [value(number) for number in grid.split()] if isinstance(grid, str) else list(grid)


def keep(path: Path, plan: Plan) -> None:
    """Write a plan as a TOML file, but not over another one.

    Raises:
        ValueError: there is another plan.
    """
    content = toml(plan).encode()
    if path.exists() and path.read_bytes() != content:
        raise ValueError(
            f"{path} is another plan: go on with `inna run {path}`, or name another folder with --out"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def setting(words: str) -> dict[str, Any]:
    """A setting of a plan from ``NAME, KEY=VALUE, ...``: a field of a setting, else an option.

    A value ``LOW..HIGH`` is a range of the setting's space, even in the logarithm if LOW is above 0, and
    ``A|B|C`` are choices.

    Raises:
        ValueError: a part is not written so.

    Example:
        >>> setting("adamw, lr=1e-4..1e-1, weight_decay=0|0.1")["space"]["weight_decay"]
        {'choices': [0, 0.1]}
        >>> setting("inna, alpha=0.5, beta=0.1, q=0.5, grid=0.05 0.1")["grid"]
        [0.05, 0.1]
        >>> setting("adam")
        {'label': 'adam', 'optimizer': 'adam', 'options': {}}
    """
    optimizer, options = parts(words)
    fixed = [f"{key}={text}" for key, text in options.items() if key != "grid" and not drawn(text)]
    made: dict[str, Any] = {"label": " ".join([optimizer, *fixed]), "optimizer": optimizer, "options": {}}
    for key, text in options.items():
        if key == "grid":
            made[key] = _numbers(text)
        elif given := drawn(text):
            made.setdefault("space", {})[key] = given
        elif key in ("label", "q", "schedule", "role", *SETTINGS_OWN):
            made[key] = value(text)
        else:
            made["options"][key] = value(text)
    return made


def parts(words: str) -> tuple[str, dict[str, str]]:
    """A name and its options, from ``NAME, KEY=VALUE, ...``.

    Raises:
        ValueError: a part is not written so.
    """
    name, *rest = (part.strip() for part in words.split(","))
    options = {}
    for part in rest:
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not (key and equals and text):
            raise ValueError(f"options are written NAME, KEY=VALUE, ..., got {part!r} in {words!r}")
        options[key] = text
    return name, options


def drawn(text: str) -> dict[str, Any]:
    """The range or the choices that a text gives; nothing if it is a value."""
    if "|" in text:
        return {"choices": [value(choice.strip()) for choice in text.split("|")]}
    low, dots, high = text.partition("..")
    if not dots:
        return {}
    ends = {"low": value(low), "high": value(high)}
    return {**ends, "log": True} if isinstance(ends["low"], int | float) and ends["low"] > 0 else ends


def value(text: str) -> bool | int | float | str:
    """A value as it is meant: true or false, a number, or else a text.

    Example:
        >>> value("True"), value("1"), value("1e-3"), value("abc")
        (True, 1, 0.001, 'abc')
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def toml(plan: Plan) -> str:
    """A plan as the TOML file that `inna.lab.plan.load` reads."""
    content = plan.model_dump(mode="json", exclude_defaults=True)
    tables = {key: content.pop(key) for key in ("problems", "settings")}
    lines = [f"{key} = {_toml(value)}" for key, value in content.items()]
    for name, table in tables.items():
        for entry in table:
            lines += ["", f"[[{name}]]", *(f"{key} = {_toml(value)}" for key, value in entry.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """TOML's inline form; its strings, numbers and arrays are written as JSON's are."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name)
