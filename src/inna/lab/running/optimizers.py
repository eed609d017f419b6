"""The optimizers and the decays of the step that a plan names."""

import copy
import inspect
import io
import math
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ... import schedules
from ...hyperparameters import from_adamw, from_memory
from ...torch import INNA, INNAprop, param_groups
from ..imports import imported

__all__ = ["agrees", "build", "check_resumes", "decay", "parameters", "resolve"]

FAMILIES = [name for name in schedules.__all__ if name not in ("Admissibility", "Schedule", "admissible")]
FASTEST = {
    "cpu": {"INNA": "foreach", "INNAprop": "foreach", "Adam": "fused", "AdamW": "fused", "Adagrad": "fused"},
    "cuda": {"INNA": "fused", "INNAprop": "fused", "Adam": "fused", "AdamW": "fused", "SGD": "fused"},
}
"""The fastest implementation on a device; on a CPU of those that need no compiler."""


def parameters(net: nn.Module, weight_decay_on: str) -> list[Any]:
    """What an optimizer is given: all parameters, or two groups, of which the second does not decay.

    Args:
        net: the network.
        weight_decay_on: ``all``, or ``matrices``; see `inna.torch.param_groups`.

    Example:
        >>> [len(group["params"]) for group in parameters(nn.Linear(2, 2), "matrices")]
        [1, 1]
    """
    if weight_decay_on == "all":
        return list(net.parameters())
    decayed, spared = param_groups(net, 0.0)
    del decayed["weight_decay"]  # the option's
    return [group for group in (decayed, spared) if group["params"]]


def build(name: str, params: Iterable[Any], lr: float, options: dict[str, Any]) -> torch.optim.Optimizer:
    """Make an optimizer: the fastest of its implementations that `agrees`, unless the options name one.

    Args:
        name: see `resolve`.
        params: tensors, or groups of them.
        lr: the step size.
        options: the optimizer's. INNA and INNAprop may have `memory`, and `direct` = 0.2, instead of alpha
            and beta; lr is then the long-run step, and INNAprop's sigma and weight_decay are AdamW's
            (`inna.hyperparameters.from_memory`, `from_adamw`).

    Raises:
        ValueError: there is no such optimizer, or it refuses its options.

    Example:
        >>> group = build("innaprop", [torch.zeros(2)], 1e-3, {"memory": 10.0}).param_groups[0]
        >>> round(group["lr"], 6), round(group["alpha"], 6), round(group["beta"], 6)
        (0.01, 10.0, 0.02)
    """
    cls = resolve(name)
    if cls in (INNA, INNAprop) and "memory" in options:
        options = _by_memory(cls, lr, dict(options))
        lr = options.pop("lr")
    params = list(params)
    tensors = [p for each in params for p in (each["params"] if isinstance(each, dict) else [each])]
    known = cls.__module__.startswith(("inna.torch.", "torch.optim."))
    named = {"foreach", "fused", "capturable", "differentiable"} & options.keys()
    flag = FASTEST.get(tensors[0].device.type, {}).get(cls.__name__) if known and not named else None
    flags = {flag: True} if flag and agrees(cls, flag, tensors, options) else {}
    try:
        optimizer: torch.optim.Optimizer = cls(params, lr=lr, **flags, **options)
    except ValueError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's class does
        kind = "" if type(error) is TypeError else f"{type(error).__name__}: "
        raise ValueError(f"{name} does not take these options: {kind}{error}") from None
    if hasattr(optimizer, "train"):  # schedule-free ones ask for it
        optimizer.train()
    return optimizer


def agrees(
    cls: type[torch.optim.Optimizer], flag: str, params: list[Tensor], options: dict[str, Any]
) -> bool:
    """Whether an implementation takes these options, and the steps of the plain loop.

    A kernel is compiled where it runs. So it has to show three steps there first, on copies of the very
    parameters; one that fails is left out, and so is one that departs from the loop, with a warning.

    Args:
        cls: INNA, INNAprop or an optimizer of `torch.optim`.
        flag: ``foreach`` or ``fused``.
        params: what it is to update.
        options: the optimizer's.

    Example:
        >>> agrees(INNA, "foreach", [torch.ones(9)], {})
        True
        >>> agrees(INNA, "foreach", [torch.ones(9)], {"stochastic_rounding": True})  # which excludes it
        False
    """
    ends = []
    for chosen in (flag, None):
        flags: dict[str, Any] = {chosen: True} if chosen else {"foreach": False}
        copies = [param.detach().clone() for param in params]
        try:
            optimizer = cls(copies, lr=0.01, **flags, **options)  # type: ignore[call-arg]
            for k in range(3):
                for copied in copies:
                    ramp = torch.linspace(2 - k, k, copied.numel(), device=copied.device)
                    copied.grad = torch.empty_like(copied).copy_(ramp.view(copied.shape))
                optimizer.step()
        except Exception:  # a wrong option is refused again, and said, where the optimizer is made
            return False
        ends.append(torch.cat([copied.reshape(-1).float() for copied in copies]))
    atol = 1e-5 if all(param.dtype.itemsize >= 4 for param in params) else 2e-2
    fast, plain = ends
    same = torch.allclose(fast, plain, rtol=atol, atol=atol, equal_nan=True)
    if not same:
        warnings.warn(
            f"{cls.__name__} with {flag}=True departs from the plain loop by "
            f"{float((fast - plain).abs().max()):.1e} here, so this run does without; please report it",
            stacklevel=2,
        )
    return same


def _by_memory(cls: type[INNA], lr: float, options: dict[str, Any]) -> dict[str, Any]:
    if not options.keys().isdisjoint({"alpha", "beta"}):
        raise ValueError(f"give memory and direct, or alpha and beta, got {', '.join(options)}")
    memory, direct = options.pop("memory"), options.pop("direct", 0.2)
    if cls is INNA:
        return {**from_memory(lr, memory, direct), **options}
    sigma, decay = options.pop("sigma", 0.999), options.pop("weight_decay", 0.0)
    return {**from_adamw(lr, (1 - 1 / memory, sigma), decay, direct=direct), **options}


def check_resumes(
    name: str, net: nn.Module, lr: float, options: dict[str, Any], weight_decay_on: str = "all"
) -> None:
    """Try an optimizer on a network: two steps, between which a second one takes over its state and goes on.

    Args:
        name: as for `build`.
        net: the network, whose weights change.
        lr: a step size.
        options: the optimizer's.
        weight_decay_on: as for `parameters`.

    Raises:
        ValueError: it refuses the network's parameters or its options, a step fails, or a checkpoint would
            lose a part of its state, so that a killed run would go on otherwise.
    """
    first = build(name, parameters(net, weight_decay_on), lr, options)
    twin = copy.deepcopy(net)
    second = build(name, parameters(twin, weight_decay_on), lr, options)
    try:
        _step(first, net, 1.0)
        second.load_state_dict(_saved_and_read(first.state_dict()))
        twin.load_state_dict(net.state_dict())
        for optimizer, weights in ((first, net), (second, twin)):
            torch.manual_seed(0)
            _step(optimizer, weights, -0.05)  # what remembers the first step goes on in its direction
    except (Exception, SystemExit) as error:  # whatever the user's class does
        reason, place = str(error).partition("\n")[0], traceback.extract_tb(error.__traceback__)[-1]
        raise ValueError(
            f"a step, or a checkpoint, of {name} fails ({type(error).__name__}: {reason}; {place.filename}, "
            f"line {place.lineno})"
        ) from None
    pairs = zip(net.named_parameters(), twin.parameters(), strict=True)
    lost = [
        which for (which, ours), theirs in pairs if not torch.equal(ours.nan_to_num(), theirs.nan_to_num())
    ]
    if lost:
        raise ValueError(
            f"state_dict and load_state_dict of {name} lose a part of its state: the step of {lost[0]} after "
            "them is another. Let both take in all that the step depends on, such as the state of an inner "
            "optimizer"
        )


def _step(optimizer: Any, net: nn.Module, scale: float) -> None:
    for param in filter(lambda p: p.requires_grad, net.parameters()):
        param.grad = torch.linspace(-scale, scale, param.numel(), dtype=param.dtype).view_as(param)
    optimizer.step()


def _saved_and_read(state: dict[str, Any]) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def resolve(name: str) -> Any:
    """The class behind a dotted path, or behind a bare name in any case.

    Bare names are looked up in `inna.torch`, `inna.lab.peers` and `torch.optim`, in this order.

    Raises:
        ValueError: there is no such optimizer.

    Example:
        >>> resolve("inna").__name__, resolve("torch.optim.Adam").__name__
        ('INNA', 'Adam')
    """
    module, _, attribute = name.rpartition(".")
    if not module:
        for place in ("inna.torch", "inna.lab.peers", "torch.optim"):
            for key, value in vars(__import__(place, fromlist=["_"])).items():
                if key.lower() == attribute.lower() and _is_optimizer(value):
                    return value
    else:
        try:
            value = imported(name)
        except ValueError as error:
            raise ValueError(f"unknown optimizer {name!r}: {error}") from None
        if _is_optimizer(value):
            return value
    raise ValueError(
        f"unknown optimizer {name!r}: give a class with a step, such as torch.optim.Adam or inna.torch.INNA"
    )


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, type) and hasattr(value, "step")


def decay(q: float, schedule: str | dict[str, Any] | None) -> Callable[[int], float]:
    """The factor of gamma_0 at iteration k = 0, 1, ...: (k + 1)^-q, unless a schedule is named.

    Args:
        q: exponent, >= 0.
        schedule: a family of `inna.schedules` with its arguments, ``{"family": "cosine", "steps": 1000}``
            (its name alone if it has none), or the import path of a function of k.

    Raises:
        ValueError: there is no such schedule, or it refuses its arguments, or gives no number at k = 0.

    Example:
        >>> decay(0.5, None)(3), decay(0.0, {"family": "linear", "steps": 4})(1)
        (0.5, 0.75)
    """
    factor = schedules.power(q) if schedule is None else _schedule(schedule)
    try:
        sound = math.isfinite(factor(0)) and factor(0) >= 0
    except (Exception, SystemExit) as error:  # whatever the user's function does
        raise ValueError(f"schedule {schedule!r} fails at k = 0 ({type(error).__name__}: {error})") from None
    if not sound:
        raise ValueError(f"schedule {schedule!r} must give a factor >= 0 at k = 0, got {factor(0)}")
    return factor


def _schedule(spec: Any) -> Callable[[int], float]:
    if isinstance(spec, str) and "." in spec:
        function: Callable[[int], float] = imported(spec)
        if not callable(function):
            raise ValueError(f"schedule {spec!r} is no function of k: {function!r}")
        return function
    arguments = dict(spec) if isinstance(spec, dict) else {"family": spec}
    family = arguments.pop("family", None)
    if family not in FAMILIES:
        raise ValueError(
            f"unknown schedule {family!r}: give a family, one of {', '.join(FAMILIES)}, or the import path "
            "of a function of k"
        )
    cls = getattr(schedules, family)
    wanted = list(inspect.signature(cls).parameters)
    if "then" in arguments:
        arguments["then"] = _schedule(arguments["then"])
    try:
        made: Callable[[int], float] = cls(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"schedule {family}({', '.join(wanted)}): {error}") from None
    return made
