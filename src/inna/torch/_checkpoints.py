"""Checkpoints: psi and the momentum, files of the authors' own optimizers, the dtypes of the state."""

import sys
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from .. import reference
from ._eight_bit import EIGHT_BIT, PARTS, read, values

__all__ = ["CheckpointedOptimizer", "state_dtype", "step_dtype"]


class CheckpointedOptimizer(Optimizer):
    """An optimizer whose checkpoints may hold the paper's psi or the momentum u."""

    state_names: tuple[str, ...] = ("momentum_buffer",)

    def phase(self, param: Tensor) -> Tensor:
        r"""The paper's phase variable of a parameter, :math:`\psi = \beta u + (1 - \alpha\beta)\theta`.

        Raises:
            KeyError: `param` is not a parameter of this optimizer or has not taken a step yet.
        """
        for group in self.param_groups:
            state = self.state.get(param, {})
            if any(p is param for p in group["params"]) and state.get("step", 0) > 0:
                if "psi" in state:
                    return cast(Tensor, state["psi"])
                alpha, beta = float(group["alpha"]), float(group["beta"])
                u = values(read(state, "momentum_buffer"))
                return cast(Tensor, reference.psi_from_momentum(param.detach(), u, alpha=alpha, beta=beta))
        raise KeyError("psi exists for parameters of this optimizer that have taken a step")

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint: of this optimizer, or of the authors' own PyTorch optimizers.

        Moments get the dtype of `state_dtype`; if that is None, those that have their parameter's keep it.
        """
        final: dict[str, Any] = {}
        handle = self.register_load_state_dict_pre_hook(lambda _, loaded: final.update(loaded))
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
        for group, saved in zip(self.param_groups, final["param_groups"], strict=True):
            for param, key in zip(group["params"], saved["params"], strict=True):
                loaded = final["state"].get(key, {})
                for name in loaded.keys() & {f"{of}_{part}" for of in self.state_names for part in PARTS}:
                    self.state[param][name] = loaded[name].to(param.device)  # no other dtype
                for name in {*self.state_names, "psi"} & loaded.keys():
                    value, dtype = loaded[name], state_dtype(param, group)
                    kept = group["state_dtype"] is None and value.dtype == param.dtype
                    if dtype != param.dtype and not kept:  # the base class has rounded it
                        self.state[param][name] = value.to(param.device, dtype)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        foreign: dict[str, str] = {}
        for group in self.param_groups:
            for name, value in self.defaults.items():  # the authors' optimizers start without momentum: None
                group.setdefault(name, None if name == "initial_speed" else value)
            for own in (self.state[p] for p in group["params"] if p in self.state):
                if "psi" in own:
                    own["step"] = max(float(own.get("step", 1)), 1.0)
                    foreign |= differences(group, int(own["step"]))
                if "step" in own:
                    own["step"] = as_step(own["step"], group)
        if foreign:
            message = f"this checkpoint will not continue as it began: {'; '.join(foreign.values())}"
            warnings.warn(message, stacklevel=callers_level())

    def _convert_psi(self, param: Tensor, state: dict[str, Any], group: dict[str, Any]) -> bool:
        """Turn a loaded psi into u, now that the weights are there; not in a dummy step."""
        alpha, beta = float(group["alpha"]), float(group["beta"])
        if float(group["lr"]) == 0:
            return False
        if beta == 0:
            raise ValueError(
                "the loaded psi gives no momentum at beta = 0: do one step with its own beta first"
            )
        u = reference.momentum_from_psi(param.detach(), state.pop("psi"), alpha=alpha, beta=beta)
        state["momentum_buffer"] = u.to(state_dtype(param, group))
        return True


def state_dtype(param: Tensor, group: dict[str, Any]) -> torch.dtype:
    """The dtype of the moments of a parameter: 16 bits would lose 1 - alpha lr, and with it a long memory."""
    if group["state_dtype"] in (None, EIGHT_BIT):
        return torch.promote_types(param.dtype, torch.float32)
    dtype: torch.dtype = group["state_dtype"]
    return dtype.to_complex() if param.is_complex() else dtype


def step_dtype(group: dict[str, Any]) -> torch.dtype:
    """The dtype of a count, as in torch.optim: never 16 bits, bfloat16 stays at 256."""
    wide = torch.get_default_dtype() == torch.float64 and not group["fused"]
    return torch.float64 if wide else torch.float32


def as_step(step: float | Tensor, group: dict[str, Any]) -> Tensor:
    """The number of steps as a tensor that can count on."""
    if not isinstance(step, Tensor):
        return torch.tensor(float(step), dtype=step_dtype(group))
    step = step.reshape(())
    return step if step.dtype in (torch.float32, torch.float64) else step.to(step_dtype(group))


def callers_level() -> int:
    """The `stacklevel` of a warning that points at the first line outside of torch and of this folder."""
    inside = str(Path(torch.__file__).parent), str(Path(__file__).parent)
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        level, frame = level + 1, frame.f_back
    return level


def differences(group: dict[str, Any], step: int) -> dict[str, str]:
    """What the authors' own optimizers do that these do not."""
    different = {}
    if group["weight_decay"] != 0 and not group.get("weight_decay_through_psi"):
        different["weight_decay"] = (
            f"there weight_decay = {group['weight_decay']} also acts through psi, here it does with "
            "weight_decay_through_psi=True only"
        )
    if power := group.get("decaypower", 0):
        schedule = f"LambdaLR(optimizer, lambda k: ({step} + k + 1) ** -{power})"
        different["decaypower"] = f"there decaypower = {power} lowers lr, here {schedule} would"
    return different
