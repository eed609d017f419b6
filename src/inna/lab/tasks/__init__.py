"""Tasks: what is trained, on what, with which loss. Images are the built-in one; these are the others.

- `inna.lab.tasks.task`: the class that a task of one's own derives from.
- `inna.lab.tasks.text`: a transformer and an LSTM over bytes.
- `inna.lab.tasks.rows`: tables, logistic regression, an autoencoder.
- `inna.lab.tasks.quadratic`: a quadratic function of given spectrum.
"""

import inspect
from typing import Any

from ..imports import imported
from .quadratic import Quadratic
from .rows import Autoencoder, Classification, Logistic, Regression
from .task import Task, moved
from .text import Gpt, Lstm

__all__ = ["TASKS", "Task", "make", "try_task"]

TASKS: dict[str, type[Task]] = {
    "gpt": Gpt,
    "lstm": Lstm,
    "regression": Regression,
    "classification": Classification,
    "logistic": Logistic,
    "autoencoder": Autoencoder,
    "quadratic": Quadratic,
}
"""Those that have a name."""


def make(name: str, options: dict[str, Any]) -> Task:
    """A task with its options.

    Args:
        name: a key of `TASKS`, or the import path of a class or function that gives a `Task`.
        options: what it is called with.

    Raises:
        ValueError: there is no such task, or it refuses its options.

    Example:
        >>> make("quadratic", {"largest": 10.0}).steps(32)
        100
    """
    if name not in TASKS and "." not in name:
        raise ValueError(
            f"unknown task {name!r}: choose from {', '.join(TASKS)}, or give the import path of a class or "
            "function that gives an inna.lab.tasks.Task"
        )
    make_it: Any = TASKS[name] if name in TASKS else imported(name)
    try:
        task = make_it(**options)
    except (ValueError, OSError):
        raise
    except (Exception, SystemExit) as error:  # whatever the user's class does
        wanted = inspect.signature(make_it) if callable(make_it) else ""
        kind = "" if type(error) is TypeError else f"{type(error).__name__}: "
        reason = str(error).partition("\n")[0]
        raise ValueError(f"task {name}{wanted} does not take these options: {kind}{reason}") from None
    if not isinstance(task, Task):
        raise ValueError(f"task {name} gives {type(task).__name__}, not an inna.lab.tasks.Task")
    return task


def try_task(name: str, task: Task) -> None:
    """Ask a task for all that a run asks for, on two rows, before anything is run.

    Raises:
        ValueError: something fails, the loss is no number, or what is evaluated changes when asked again.
    """
    try:
        net = task.network()
        batch = next(iter(task.batches(0, 0, 2)))
        if task.steps(2) < 1:
            raise ValueError(f"steps(2) must be at least 1, got {task.steps(2)}")
        loss = task.loss(net.train(), moved(batch, "cpu"))
        loss.backward()  # type: ignore[no-untyped-call]
        if loss.numel() != 1:
            raise ValueError(f"loss must be one number, got shape {tuple(loss.shape)}")
        held = next(iter(task.held("train")))
        found = task.measure(net.eval(), held)
        unknown = found.keys() - task.better.keys()
        if "loss" not in found or unknown:
            raise ValueError(f"measure must give the loss and what `better` names, got {', '.join(found)}")
        first, again = task.digest, task.digest
        if first != again:
            raise ValueError("held gives other data when it is asked again: draw them from a fixed seed")
    except (Exception, SystemExit) as error:  # whatever the user's class does
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        reason = str(error).partition("\n")[0]
        raise ValueError(f"task {name} fails: {kind}{reason}") from None
