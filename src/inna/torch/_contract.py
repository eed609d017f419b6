"""What users of `torch.optim` expect, once for INNA and INNAprop: options, state, checkpoints."""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, cast, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from .. import reference

__all__ = ["InertialOptimizer", "Number", "Tensors"]

Number = float | Tensor
_FUSED_DEVICES = ["cpu", "cuda"]


class Tensors(NamedTuple):
    """The parameters of a group that take a step, and what belongs to each; absent tensors are None."""

    params: list[Tensor]
    momentum_buffers: list[Tensor]
    steps: list[Tensor]
    compensations: list[Any]
    exp_avg_sqs: list[Any]
    grads: list[Tensor]


class InertialOptimizer(Optimizer):
    """The base of INNA and INNAprop. A leaf defines `_update`; everything else is here, once."""

    _state_names: tuple[str, ...] = ("momentum_buffer",)

    def _update(self, tensors: Tensors, group: dict[str, Any], options: dict[str, Any]) -> None:
        raise NotImplementedError

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step.

        Args:
            closure: evaluates the model again and returns the loss; called once, with gradients enabled.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            for index, group in enumerate(self.param_groups):
                if group["fused"]:
                    self._step_eagerly(index)
                else:
                    self._step_group(index)
        return loss

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _step_eagerly(self, index: int) -> None:
        """A fused step is compiled already; this way a schedule recompiles nothing."""
        self._step_group(index)

    def _step_group(self, index: int) -> None:
        group = self.param_groups[index]  # torch.compile knows a group by this expression only
        tensors = Tensors([], [], [], [], [], [])
        has_complex = self._init_group(group, *tensors)
        options = self._options(group)
        if not tensors.params or (not isinstance(options["lr"], Tensor) and options["lr"] == 0):
            return
        whole = tensors
        if has_complex or {*map(type, tensors.params)} - {Tensor, torch.nn.Parameter}:
            tensors = _plain(whole)
        grad_scale, found_inf = self._gradient_scale()
        if found_inf is not None and not group["fused"]:  # it is there for the sake of another, fused group
            if found_inf.item():
                return
            if grad_scale is not None:
                tensors = tensors._replace(grads=[g / grad_scale for g in tensors.grads])
        self._update(tensors, group, options)
        if tensors.params is not whole.params and not torch.compiler.is_compiling():
            _count_write(whole)

    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        momenta: list[Tensor],
        steps: list[Tensor],
        compensations: list[Tensor | None],
        squares: list[Tensor | None],
        grads: list[Tensor],
    ) -> bool:
        """Collect the parameters with a gradient and their state, and tell whether one of them is complex.

        `torch.compile` knows this method by its name.
        """
        # Under these flags a state of another setting may lack something, or have its step on a CPU.
        on_gpu = group["fused"] and group["params"][0].device.type != "cpu"
        fused, kahan, states = group["fused"], group["kahan_sum"], self.state
        check = kahan or group["capturable"] or on_gpu
        has_complex = False
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if grad.is_sparse:
                name = type(self).__name__
                raise RuntimeError(
                    f"{name} does not support sparse gradients: build the layer with sparse=False"
                )
            state = states[param]
            if "momentum_buffer" not in state or check:
                if "psi" in state and not self._convert_psi(param, state, group):
                    continue
                self._complete_state(param, state, group)
            params.append(param)
            momenta.append(state["momentum_buffer"])
            steps.append(state["step"])
            compensations.append(state["compensation"] if kahan else None)
            squares.append(state.get("exp_avg_sq"))
            if not fused:  # a fused kernel casts by itself
                dtype = param.dtype
                has_complex = has_complex or dtype.is_complex
                grad = grad if grad.dtype == dtype else grad.to(dtype)
            grads.append(grad)
        return has_complex

    def _complete_state(self, param: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Create what is missing; the momentum u_0 = 0 is what it is before the first step."""
        if group["fused"] and not (param.device.type in _FUSED_DEVICES and param.is_floating_point()):
            raise RuntimeError(
                "`fused=True` requires all the params to be floating point Tensors of supported devices: "
                f"{_FUSED_DEVICES} but {param.dtype} and {param.device.type}; use foreach=True"
            )
        device = param.device if group["capturable"] or group["fused"] else torch.device("cpu")
        if "step" not in state:
            wide = torch.get_default_dtype() == torch.float64 and not group["fused"]
            state["step"] = torch.zeros((), dtype=torch.float64 if wide else torch.float32, device=device)
        elif state["step"].device != device and device == param.device:
            state["step"] = state["step"].to(device)
        for name in self._state_names:
            if name not in state:
                dtype = _state_dtype(param, group)
                state[name] = torch.zeros_like(param, dtype=dtype, memory_format=torch.preserve_format)
        if group["kahan_sum"]:  # in the dtype of the parameter, also when the model has got another
            if "compensation" not in state:
                state["compensation"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            elif state["compensation"].dtype != param.dtype:
                state["compensation"] = state["compensation"].to(param.dtype)

    def _on_device(self, group: dict[str, Any]) -> bool:
        """Whether tensor options stay tensors; else they are read once and the step is made of numbers."""
        return bool(group["capturable"] or group["differentiable"] or torch.compiler.is_compiling())

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        """The numbers of a step, of which some may be tensors."""
        decay = group["weight_decay"] if group["decoupled_weight_decay"] else 0.0
        sign = -1.0 if group["maximize"] else 1.0
        scheduled = {name: group[name] for name in ("lr", "alpha", "beta")}
        if torch.compiler.is_compiling() and not all(isinstance(v, Tensor) for v in scheduled.values()):
            scheduled = self._tensors(group)
        speed = scheduled["beta"] if group["initial_speed"] is None else group["initial_speed"]
        options = {**scheduled, "speed": speed, "decay": decay, "sign": sign}
        keep = self._on_device(group) or group["fused"]  # each fused kernel reads a tensor where it is
        return {
            name: value.reshape(()) if keep and isinstance(value, Tensor) else float(value)
            for name, value in options.items()
        }

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _tensors(self, group: dict[str, Any]) -> dict[str, Tensor]:
        """For a compiled step: numbers read outside of its graphs, so that a new value recompiles nothing."""
        return {name: torch.as_tensor(group[name], dtype=torch.float64) for name in ("lr", "alpha", "beta")}

    def _takes_foreach(self, tensors: Tensors, group: dict[str, Any]) -> bool:
        if group["foreach"] is None:
            return (
                not group["differentiable"]
                and all(p.device.type in ("cuda", "xpu") for p in tensors.params)
                and all(type(p) in (Tensor, torch.nn.Parameter) for p in group["params"])
            )
        return bool(group["foreach"])

    # GradScaler: a fused step unscales and skips by itself.

    @property
    def _step_supports_amp_scaling(self) -> bool:
        return any(group["fused"] for group in self.param_groups)

    def _gradient_scale(self) -> tuple[Tensor | None, Tensor | None]:
        return getattr(self, "grad_scale", None), getattr(self, "found_inf", None)

    # Options.

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, at any time; its parameters have a start of their own."""
        options = {**self.defaults, **param_group}
        for name in ("lr", "alpha", "beta", "initial_speed", "weight_decay", "sigma", "eps"):
            value = options.get(name)
            if isinstance(value, Tensor) and value.numel() != 1:
                raise ValueError(f"Tensor {name} must be 1-element, got shape {tuple(value.shape)}")
            if value is not None and not 0 <= value < (1 if name == "sigma" else math.inf):
                expected = "in [0, 1)" if name == "sigma" else "finite and non-negative"
                raise ValueError(f"{name} must be {expected}, got {value}")
        if options["fused"] and options["differentiable"]:
            raise RuntimeError("`fused` does not support `differentiable`")
        if options["fused"] and options["foreach"]:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
        if options["differentiable"] and options["foreach"]:
            raise RuntimeError("`foreach` does not support `differentiable`")
        dtype = options["state_dtype"]
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(f"state_dtype must be None or a floating point torch.dtype, got {dtype}")
        super().add_param_group(param_group)

    # psi and checkpoints.

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
                u = state["momentum_buffer"]
                return cast(Tensor, reference.psi_from_momentum(param.detach(), u, alpha=alpha, beta=beta))
        raise KeyError("psi exists for parameters of this optimizer that have taken a step")

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
        state["momentum_buffer"] = u.to(_state_dtype(param, group))
        return True

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint: of this optimizer, or of the authors' own PyTorch optimizers.

        The state keeps the dtype that `state_dtype` asks for; the base class would round it.
        """
        final: dict[str, Any] = {}
        handle = self.register_load_state_dict_pre_hook(lambda _, loaded: final.update(loaded))
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
        for group, saved in zip(self.param_groups, final["param_groups"], strict=True):
            for param, key in zip(group["params"], saved["params"], strict=True):
                for name in {*self._state_names, "psi"} & final["state"].get(key, {}).keys():
                    dtype = _state_dtype(param, group)
                    if dtype != param.dtype:
                        self.state[param][name] = final["state"][key][name].to(param.device, dtype)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        foreign: dict[str, str] = {}
        for group in self.param_groups:
            for name, value in self.defaults.items():  # the authors' optimizers start without momentum: None
                group.setdefault(name, None if name == "initial_speed" else value)
            for own in (self.state[p] for p in group["params"] if p in self.state):
                if "psi" in own:
                    own["step"] = max(float(own.get("step", 1)), 1.0)
                    foreign |= _differences(group, int(own["step"]))
                if "step" in own:
                    step = own["step"]
                    own["step"] = step.reshape(()) if isinstance(step, Tensor) else torch.tensor(float(step))
        if foreign:
            warnings.warn(
                f"this checkpoint will not continue as it began: {'; '.join(foreign.values())}", stacklevel=3
            )


def _differences(group: dict[str, Any], step: int) -> dict[str, str]:
    """What the authors' own optimizers do that these do not."""
    found = {}
    if group["weight_decay"] != 0:
        found["weight_decay"] = (
            f"there weight_decay = {group['weight_decay']} also acts through psi, here it does not"
        )
    if power := group.get("decaypower", 0):
        schedule = f"LambdaLR(optimizer, lambda k: ({step} + k + 1) ** -{power})"
        found["decaypower"] = f"there decaypower = {power} lowers lr, here {schedule} would"
    return found


def _state_dtype(param: Tensor, group: dict[str, Any]) -> torch.dtype:
    dtype: torch.dtype | None = group["state_dtype"]
    if dtype is None:
        return param.dtype
    return dtype.to_complex() if param.is_complex() else dtype


def _plain(tensors: Tensors) -> Tensors:
    """The local parts of DTensors, and complex tensors as pairs of reals: the update is elementwise."""

    def plain(tensor: Any, param: Tensor) -> Any:
        if tensor is not None and hasattr(tensor, "to_local"):
            if tensor.placements != param.placements:  # type: ignore[attr-defined]
                tensor = tensor.redistribute(placements=param.placements)  # type: ignore[attr-defined]
            tensor = tensor.to_local()
        return (
            torch.view_as_real(tensor.resolve_conj())
            if tensor is not None and tensor.is_complex()
            else tensor
        )

    return Tensors(*([plain(t, p) for t, p in zip(ts, tensors.params, strict=True)] for ts in tensors))


def _count_write(tensors: Tensors) -> None:
    """Let autograd know that DTensors have changed: it counts what is written to them, not to their parts."""
    written = (t for column in tensors._replace(grads=[]) for t in column if t is not None)
    torch.autograd.graph.increment_version(written)
