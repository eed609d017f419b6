"""What was compared and where it ran, in words: options, schedules, versions, machines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..plan import Plan, Setting
from ..records import RunFolder
from ..results.curves import Result

__all__ = ["choice", "made_on", "options", "schedule", "settled"]


def options(given: Mapping[str, Any]) -> str:
    """Options as they are written in Python; those that are not given have the optimizer's defaults.

    Example:
        >>> options({"alpha": 0.5, "betas": (0.9, 0.99)})
        'alpha = 0.5, betas = (0.9, 0.99)'
    """
    return ", ".join(f"{key} = {value}" for key, value in given.items()) or "defaults"


def settled(setting: Setting) -> str:
    """The options of a setting, and from where a search draws the others.

    Example:
        >>> from inna.lab.plan import Range
        >>> space = {"lr": Range(low=1e-3, high=0.1, log=True), "nesterov": Range(choices=(True, False))}
        >>> settled(Setting(label="mine", optimizer="sgd", options={"momentum": 0.9}, space=space))
        'momentum = 0.9; lr from 0.001 to 0.1, nesterov from True, False'
    """
    drawn = ", ".join(
        f"{name} from {', '.join(map(str, r.choices)) if r.choices else f'{r.low:g} to {r.high:g}'}"
        for name, r in setting.space.items()
    )
    return "; ".join(filter(None, [options(setting.options) if setting.options or not drawn else "", drawn]))


def choice(plan: Plan) -> str:
    """How gamma_0, or the best trial, was chosen."""
    if plan.trials:
        return (
            f"Each optimizer had {plan.trials} trials from its space ({plan.sampler}){_halving(plan)}; "
            f"the one with the smallest mean {plan.criterion} was trained for long. The test data had no "
            "part in that."
        )
    if plan.selection_epochs == 0:
        return "γ₀ was given."
    return f"γ₀ is the step with the smallest mean {plan.criterion}; the test data had no part in that."


def _halving(plan: Plan) -> str:
    if not plan.halving:
        return ""
    said = ", ".join(f"{number} for {epochs}" for epochs, number in plan.rungs)
    return f", of which by successive halving ran {said} epochs"


def schedule(setting: Setting) -> str:
    """How the step goes on from gamma_0.

    Example:
        >>> schedule(Setting(label="mine", optimizer="adam", q=0.25))
        'γ₀ (k + 1)^-0.25'
    """
    if isinstance(setting.schedule, dict):
        rest = {key: value for key, value in setting.schedule.items() if key != "family"}
        return f"{setting.schedule.get('family')}" + (f": {options(rest)}" if rest else "")
    return setting.schedule or (f"γ₀ (k + 1)^-{setting.q:g}" if setting.q else "constant")


def made_on(folder: Path, plan: Plan, results: Sequence[Result]) -> list[str]:
    """On which versions and machines the long runs were made, a sentence for each, as they wrote it down."""
    found: Counter[str] = Counter()
    for result in results:
        for curve in result.curves + result.decays:
            if curve.lr is None:
                continue
            for seed in plan.seeds:
                left = RunFolder.of(
                    plan.long_run(result.problem, curve.setting, curve.lr, seed), folder / "runs"
                )
                if left.is_described:
                    found[_told(left.description())] += 1
    return [f"{count} long run{'s' if count > 1 else ''}: {told}." for told, count in found.most_common()]


def _told(description: dict[str, Any]) -> str:
    code, machine = description.get("code", {}), description.get("machine", {})
    versions = {"inna": code.get("inna", "unknown"), **description.get("libraries", {})}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    if code.get("commit"):
        told += f" (commit {code['commit'][:10]}{', modified' if code.get('modified') else ''})"
    if machine:
        device = machine.get("device_name") or machine.get("device")
        processor = f"{machine.get('processor')}, {machine.get('cores')} cores"
        told += f"; {processor}, {machine.get('platform')}, device {device}"
    return told
