"""What users of `torch.optim` expect, once for INNA and INNAprop: stepping, state, options."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ._checkpoints import CheckpointedOptimizer, state_dtype, step_dtype
from ._coefficients import Number
from ._eight_bit import EIGHT_BIT, Coded, complete, is_coded, read, release

__all__ = ["InertialOptimizer", "Number", "Tensors", "on_device", "takes_foreach"]

_FUSED_DEVICES = ["cpu", "cuda"]
_STATE_DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


class Tensors(NamedTuple):
    """The parameters of a group that take a step, and what belongs to each; absent tensors are None."""

    params: list[Tensor]
    momentum_buffers: list[Tensor]
    steps: list[Tensor]
    compensations: list[Any]
    exp_avg_sqs: list[Any]
    grads: list[Tensor]


class InertialOptimizer(CheckpointedOptimizer):
    """The base of INNA and INNAprop: both take the step of `_update`, along the v of `directions`."""

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self._check(defaults)
        super().__init__(params, defaults)

    def directions(self, tensors: Tensors, group: dict[str, Any], lr: Number) -> list[Tensor]:
        """The v that drives the inertia, here the gradients. A subclass may drive it by anything else.

        Args:
            tensors: parameters of a group that take a step, and what belongs to each, as lists: one parameter
                after the other, or with `foreach` many at once. To a gradient a coupled `weight_decay` has
                been added. A DTensor comes as its local part, a complex tensor as pairs of reals.
            group: the parameter group.
            lr: step size of this step. If it is a tensor, it may be 0, and then no state must change.

        Returns:
            A tensor for each parameter, of its shape. With `maximize` the step goes against it.

        Example:
            >>> from inna.torch import INNA
            >>> class SignINNA(INNA):
            ...     def directions(self, tensors, group, lr):
            ...         return [grad.sign() for grad in tensors.grads]
            >>> theta = torch.tensor([1.0, -200.0])
            >>> theta.grad = torch.tensor([2.0, -400.0])
            >>> SignINNA([theta], lr=0.1).step()
            >>> theta
            tensor([   0.9000, -199.9000])
        """
        return tensors.grads

    _fused_directions: Callable[..., list[Tensor]] = directions  # which the fused kernels know, too

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
        self._check_capture()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            for index, group in enumerate(self.param_groups):
                if group["fused"] or group["state_dtype"] == EIGHT_BIT:
                    self._step_eagerly(index)
                else:
                    self._step_group(index)
        return loss

    def _check_capture(self) -> None:
        """A CUDA graph of a step would repeat at every replay what was decided on the host."""
        if torch.compiler.is_compiling() or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return
        capturable = all(group["capturable"] for group in self.param_groups)
        if not capturable and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                f"Attempting CUDA graph capture of step() for an instance of {type(self).__name__} but "
                "param_groups' capturable is False."
            )

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _step_eagerly(self, index: int) -> None:
        """A fused step is compiled already; this way a schedule recompiles nothing."""
        self._step_group(index)

    def _step_group(self, index: int) -> None:
        options = self._options(self.param_groups[index])
        group = self.param_groups[index]  # torch.compile knows a group by this expression only
        tensors = Tensors([], [], [], [], [], [])
        has_complex = self._init_group(group, *tensors)
        if not tensors.params or (not isinstance(options["lr"], Tensor) and options["lr"] == 0):
            return
        whole = tensors
        if has_complex or {*map(type, tensors.params)} - {Tensor, torch.nn.Parameter}:
            tensors = _plain(whole)
        grad_scale, found_inf = self.gradient_scale()
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
        momentum_buffers: list[Tensor],
        steps: list[Tensor],
        compensations: list[Tensor | None],
        exp_avg_sqs: list[Tensor | None],
        grads: list[Tensor],
    ) -> bool:
        """Collect the parameters with a gradient and their state, and tell whether one of them is complex.

        `torch.compile` knows this method by its name.
        """
        # Under these flags a state of another setting may lack something, or have its step on a CPU.
        fused, kahan, states = group["fused"], group["kahan_sum"], self.state
        on_cpu = fused and group["params"][0].is_cpu  # its kernel looks at every tensor anyway
        on_gpu = fused and not on_cpu
        check = kahan or group["capturable"] or on_gpu or group["state_dtype"] is not None
        adaptive, eight = "exp_avg_sq" in self.state_names, group["state_dtype"] == EIGHT_BIT
        has_complex = False
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if not on_cpu and grad.is_sparse:
                name = type(self).__name__
                raise RuntimeError(
                    f"{name} does not support sparse gradients: build the layer with sparse=False"
                )
            state = states[param]
            complete = "momentum_buffer" in state and (not adaptive or "exp_avg_sq" in state) and not check
            if complete and fused:
                complete = state["step"].dtype is torch.float32
            if not complete and not self._complete_state(param, state, group):
                continue
            params.append(param)
            momentum_buffers.append(read(state, "momentum_buffer") if eight else state["momentum_buffer"])
            steps.append(state["step"])
            compensations.append(state["compensation"] if kahan else None)
            if adaptive and eight:
                exp_avg_sqs.append(read(state, "exp_avg_sq"))
            else:
                exp_avg_sqs.append(state["exp_avg_sq"] if adaptive else None)
            if not fused:  # a fused kernel casts by itself
                dtype = param.dtype
                has_complex = has_complex or dtype.is_complex
                grad = grad if grad.dtype == dtype else grad.to(dtype)
            grads.append(grad)
        return has_complex

    def _complete_state(self, param: Tensor, state: dict[str, Any], group: dict[str, Any]) -> bool:
        """Create what is missing; the momentum u_0 = 0 is what it is before the first step.

        Returns whether it is complete: a dummy step leaves a loaded psi as it is.
        """
        if group["fused"] and not (param.device.type in _FUSED_DEVICES and param.is_floating_point()):
            raise RuntimeError(
                "`fused=True` requires all the params to be floating point Tensors of supported devices: "
                f"{_FUSED_DEVICES} but {param.dtype} and {param.device.type}; use foreach=True"
            )
        if group["state_dtype"] != EIGHT_BIT:
            release(state, self.state_names)
        missing = [name for name in self.state_names if name not in state and not is_coded(state, name)]
        if missing == ["exp_avg_sq"] or ("psi" in state and "exp_avg_sq" in missing):
            raise ValueError(
                "INNAprop needs exp_avg_sq in the state of each parameter, and this state is INNA's or lacks "
                "it: load one of INNAprop, or start anew with optimizer.state.clear()"
            )
        if "psi" in state and not self._convert_psi(param, state, group):
            return False
        device = param.device if group["capturable"] or group["fused"] else torch.device("cpu")
        if "step" not in state:
            state["step"] = torch.tensor(0.0, dtype=step_dtype(group), device=device)
        elif state["step"].device != device and device == param.device:
            state["step"] = state["step"].to(device)
        if group["fused"] and state["step"].dtype == torch.float64:  # counted under that default dtype
            state["step"] = state["step"].to(torch.float32)
        if group["state_dtype"] == EIGHT_BIT and complete(param, state, self.state_names):
            return True
        dtype = state_dtype(param, group)
        for name in self.state_names:
            if name not in state:
                state[name] = torch.zeros_like(param, dtype=dtype, memory_format=torch.preserve_format)
            elif group["state_dtype"] is not None and state[name].dtype != dtype:
                state[name] = state[name].to(dtype)
        if group["kahan_sum"]:  # in the dtype of the parameter, also when the model has got another
            if "compensation" not in state:
                state["compensation"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            elif state["compensation"].dtype != param.dtype:
                state["compensation"] = state["compensation"].to(param.dtype)
        return True

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        """The numbers of a step, of which some may be tensors."""
        decay = group["weight_decay"] if group["decoupled_weight_decay"] else 0.0
        sign = -1.0 if group["maximize"] else 1.0
        scheduled = {name: group[name] for name in ("lr", "alpha", "beta")}
        if torch.compiler.is_compiling() and not all(isinstance(v, Tensor) for v in scheduled.values()):
            scheduled = self._tensors(group)
        options = {**scheduled, "speed": group["initial_speed"], "decay": decay, "sign": sign}
        tensors_stay = on_device(group) or group["fused"]  # each fused kernel reads a tensor where it is
        for name, value in options.items():
            if isinstance(value, Tensor) and tensors_stay:
                options[name] = value.reshape(())
            elif value is not None:
                options[name] = float(value)
        if group["initial_speed"] is None:
            options["speed"] = options["beta"]
        return options

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _tensors(self, group: dict[str, Any]) -> dict[str, Tensor]:
        """For a compiled step: numbers read outside of its graphs, so that a new value recompiles nothing."""
        return {name: torch.as_tensor(group[name], dtype=torch.float64) for name in ("lr", "alpha", "beta")}

    # GradScaler: a fused step unscales and skips by itself.

    @property
    def _step_supports_amp_scaling(self) -> bool:
        return any(group["fused"] for group in self.param_groups)

    def gradient_scale(self) -> tuple[Tensor | None, Tensor | None]:
        """GradScaler's grad_scale and found_inf, while it is at work."""
        return getattr(self, "grad_scale", None), getattr(self, "found_inf", None)

    # Options.

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, at any time; its parameters have a start of their own."""
        self._check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "alpha", "beta", "initial_speed", "weight_decay", "sigma", "eps"):
            value = options.get(name)
            if isinstance(value, Tensor) and value.numel() != 1:
                raise ValueError(f"Tensor {name} must be 1-element, got shape {tuple(value.shape)}")
            if value is not None and not 0 <= value < (1 if name == "sigma" else math.inf):
                expected = "in [0, 1)" if name == "sigma" else "finite and non-negative"
                raise ValueError(f"{name} must be {expected}, got {value}")
        if options["fused"] and type(self).directions is not type(self)._fused_directions:
            raise RuntimeError("`fused` knows the directions of INNA and INNAprop only: use foreach=True")
        if options["fused"] and options["differentiable"]:
            raise RuntimeError("`fused` does not support `differentiable`")
        if options["fused"] and options["foreach"]:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
        if options["differentiable"] and options["foreach"]:
            raise RuntimeError("`foreach` does not support `differentiable`")
        if options["stochastic_rounding"]:
            for name in ("foreach", "differentiable", "kahan_sum"):
                if options[name]:
                    raise ValueError(f"stochastic_rounding and {name} cannot be True together: choose one")
        through_psi = options.get("weight_decay_through_psi", False)
        if through_psi and not isinstance(options["beta"], Tensor) and options["beta"] == 0:
            raise ValueError("weight_decay_through_psi needs beta > 0: at 0 there is no psi")
        if cautious := options["cautious_weight_decay"]:
            if through_psi:
                raise ValueError(
                    "cautious_weight_decay and weight_decay_through_psi cannot be True together: choose one"
                )
            if not options["decoupled_weight_decay"]:
                raise ValueError("cautious_weight_decay needs decoupled_weight_decay=True")
        if options["fused"] and (cautious or through_psi):
            name = "cautious_weight_decay" if cautious else "weight_decay_through_psi"
            raise RuntimeError(f"`fused` does not support {name}: use foreach=True")
        dtype = options["state_dtype"]
        if dtype is not None and dtype not in _STATE_DTYPES and dtype != EIGHT_BIT:
            names = ", ".join(str(each) for each in _STATE_DTYPES)
            raise TypeError(f"state_dtype must be None, {names} or '{EIGHT_BIT}', got {dtype!r}")
        if dtype == EIGHT_BIT:
            for name in ("foreach", "differentiable", "kahan_sum"):
                if options[name]:
                    way = "stochastic_rounding=True" if name == "kahan_sum" else "fused=True or neither"
                    raise ValueError(f"state_dtype='8bit' and {name} cannot be used together: take {way}")


def on_device(group: dict[str, Any]) -> bool:
    """Whether tensor options stay tensors; else they are read once and the step is made of numbers."""
    return bool(group["capturable"] or group["differentiable"] or torch.compiler.is_compiling())


def takes_foreach(params: list[Tensor], group: dict[str, Any]) -> bool:
    """Whether many parameters are updated at once: by default those on an accelerator."""
    if group["foreach"] is None:
        return (
            not params[0].is_cpu
            and not (group["differentiable"] or group["stochastic_rounding"])
            and group["state_dtype"] != EIGHT_BIT
            and all(p.device.type in ("cuda", "xpu") for p in params)
            and all(type(p) in (Tensor, torch.nn.Parameter) for p in group["params"])
        )
    return bool(group["foreach"])


def _plain(tensors: Tensors) -> Tensors:
    """The local parts of DTensors, and complex tensors as pairs of reals: the update is elementwise."""

    def plain(tensor: Any, param: Tensor) -> Any:
        if isinstance(tensor, Coded):
            return tensor
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
