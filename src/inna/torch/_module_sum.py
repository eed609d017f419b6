"""D and Clarke's set of a PyTorch module's losses: in closed form between rectifiers, sampled otherwise."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from ..nonsmooth import MinkowskiSum

__all__ = ["ModuleSum"]

Array = NDArray[np.float64]
MOST_KINKS = 12  # whose 2^k patterns of signs are tried
SLOPES = {"relu": 0.0, "leaky_relu": 0.01, "abs": -1.0}  # below 0
SMOOTH = """
linear conv1d conv2d conv3d bilinear einsum matmul rmatmul mm bmm mv dot addmm layer_norm
add radd sub rsub mul rmul div truediv rtruediv neg pow square exp log log1p expm1 logsumexp sin cos sum mean
tanh sigmoid softplus gelu silu mish softmax log_softmax logsigmoid avg_pool1d avg_pool2d adaptive_avg_pool2d
cross_entropy nll_loss mse_loss binary_cross_entropy_with_logits
flatten reshape view unsqueeze squeeze permute transpose t cat stack split getitem contiguous get size dim
numel
"""


class ModuleSum:
    r"""The finite sum :math:`J(\theta) = \sum_n l(f(x_n, \theta), y_n)` of a module's losses.

    A rectifier (ReLU, leaky ReLU, abs) whose argument is 0 for a sample may be on either side. If every
    pattern of sides occurs near theta, as it does where the arguments have independent gradients, the
    Clarke set of the term is the hull of the patterns' gradients; so at any depth. A pattern is certain
    where some direction leads into it; otherwise the sets say `exact=False` and enclose the true ones.
    What is not known to be smooth (pooling by maxima, sorting) has its gradients sampled.

    Args:
        module: in evaluation mode; a copy in float64 is used.
        loss: (the module's output for one sample, shape (1, ...), its target, shape (1, ...)) -> a scalar.
        inputs: the x_n, shape (N, ...).
        targets: the y_n, shape (N, ...).

    theta is the vector of `torch.nn.utils.parameters_to_vector(module.parameters())`.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
        >>> data = torch.tensor([[1.0], [-1.0]])
        >>> J = ModuleSum(net, lambda out, y: ((out - y) ** 2).sum() / 2, data, data)
        >>> J.D([0.0]).bounds(), J.clarke([0.0]).bounds(), J.method([0.0])
        ((array([-2.]), array([0.])), (array([-1.]), array([-1.])), 'closed form')

    Reference: Castera et al. (2021), (3) and (10).
    """

    def __init__(
        self, module: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Tensor
    ) -> None:
        if len(inputs) != len(targets) or not len(inputs):
            raise ValueError(f"expected one target for each input, got {len(inputs)} and {len(targets)}")
        self.module, self.loss = copy.deepcopy(module).double(), loss
        self.inputs, self.targets = _double(inputs), _double(targets)
        self.names, parameters = zip(*self.module.named_parameters(), strict=True)
        self.shapes = [p.shape for p in parameters]
        self.size = sum(p.numel() for p in parameters)

    @property
    def theta(self) -> Array:
        """The module's own parameters."""
        return np.asarray(nn.utils.parameters_to_vector(self.module.parameters()).numpy(force=True))

    def __call__(self, theta: ArrayLike) -> float:
        """J(theta)."""
        point = self._vector(theta)
        with torch.no_grad():
            return float(sum(self._term(n, point) for n in range(len(self.inputs))))

    def gradient(self, theta: ArrayLike, batch: Sequence[int] | None = None) -> Array:
        """What backpropagation gives for a mini-batch of samples: an element of DJ_B, or near one."""
        batch = range(len(self.inputs)) if batch is None else batch
        return np.asarray(np.sum([self._run(n, theta, None).gradient for n in batch], axis=0))

    def D(self, theta: ArrayLike, tolerance: float = 1e-12) -> "MinkowskiSum":
        """DJ(theta), the sum of the samples' Clarke sets."""
        from ..nonsmooth import Sampled
        from ..nonsmooth._sets import total

        runs = self._runs(theta, tolerance)
        if self._obstacle(runs, whole=False):
            return Sampled(self._gradients()).D(theta)
        return total([self._hull([run], theta, tolerance) for run in runs])

    def clarke(self, theta: ArrayLike, tolerance: float = 1e-12) -> "MinkowskiSum":
        """Clarke's subdifferential of the whole sum."""
        from ..nonsmooth import Sampled

        runs = self._runs(theta, tolerance)
        if self._obstacle(runs, whole=True):
            return Sampled(self._gradients()).clarke(theta)
        return self._hull(runs, theta, tolerance)

    def method(self, theta: ArrayLike, tolerance: float = 1e-12) -> str:
        """How D is had at a point: 'closed form', or 'sampled' and why."""
        obstacle = self._obstacle(self._runs(theta, tolerance), whole=False)
        return f"sampled: {obstacle}" if obstacle else "closed form"

    def _obstacle(self, runs: "list[Run]", *, whole: bool) -> str:
        unknown = sorted({name for run in runs for name in run.unknown})
        if unknown:
            return f"{', '.join(unknown)} may have kinks that are not known here"
        kinks = [len(run.kinks) for run in runs]
        most = sum(kinks) if whole else max(kinks)
        return f"{most} kinks meet, more than {MOST_KINKS}" if most > MOST_KINKS else ""

    def _hull(self, runs: "list[Run]", theta: ArrayLike, tolerance: float) -> "MinkowskiSum":
        """The hull over all patterns of sides at the kinks of some samples, which are taken together."""
        from ..nonsmooth import MinkowskiSum

        kinked, plain = [r for r in runs if r.kinks], [r for r in runs if not r.kinks]
        offset = np.sum([run.gradient for run in plain], axis=0) if plain else np.zeros(self.size)
        if not kinked:
            return MinkowskiSum(offset=offset)
        ways = [
            [
                self._run(run.sample, theta, sides, tolerance)
                for sides in product((0, 1), repeat=len(run.kinks))
            ]
            for run in kinked
        ]
        certain, possible = [], []
        for way in product(*ways):
            gradient = np.sum([run.gradient for run in way], axis=0)
            inside = _leads_in([kink for run in way for kink in run.kinks])
            if inside:
                certain.append(gradient)
            elif inside is None:
                possible.append(gradient)
        if not certain:
            raise ValueError("no pattern of sides can be decided at first order: use inna.nonsmooth.Sampled")
        inner = MinkowskiSum([np.unique(certain, axis=0)], offset)
        if all(inner.contains(offset + v, 1e-12) for v in possible):
            return inner
        outer = MinkowskiSum([np.unique(certain + possible, axis=0)], offset)
        return MinkowskiSum(inner.hulls, inner.offset, exact=False, outer=outer)

    def _runs(self, theta: ArrayLike, tolerance: float) -> "list[Run]":
        return [self._run(n, theta, (), tolerance) for n in range(len(self.inputs))]

    def _run(
        self, sample: int, theta: ArrayLike, sides: Sequence[int] | None, tolerance: float = 0.0
    ) -> "Run":
        """A sample's gradient, with sides given at its kinks; None leaves them to PyTorch."""
        point = self._vector(theta).requires_grad_()
        rectifiers = Rectifiers(sides or (), tolerance)
        if sides is None:
            value = self._term(sample, point)
        else:
            with rectifiers:
                value = self._term(sample, point)
        gradient = _gradient(value, point)
        kinks = []
        for z, positive in rectifiers.met:
            (normal,) = torch.autograd.grad(z, point, create_graph=True, materialize_grads=True)
            side = 1.0 if positive else -1.0
            kinks.append((side * normal.detach().numpy(), not normal.requires_grad))
        return Run(sample, gradient, kinks, rectifiers.unknown)

    def _gradients(self) -> list[Callable[[Array], ArrayLike]]:
        def of(sample: int) -> Callable[[Array], ArrayLike]:
            return lambda x: self._run(sample, x, None).gradient

        return [of(n) for n in range(len(self.inputs))]

    def _term(self, sample: int, point: Tensor) -> Tensor:
        parts = torch.split(point, [shape.numel() for shape in self.shapes])
        state = {n: p.view(s) for n, p, s in zip(self.names, parts, self.shapes, strict=True)}
        one = slice(sample, sample + 1)
        output = torch.func.functional_call(self.module, state, (self.inputs[one],))
        return self.loss(output, self.targets[one])

    def _vector(self, theta: ArrayLike) -> Tensor:
        point = np.asarray(theta, float)
        if point.shape != (self.size,) or not np.isfinite(point).all():
            raise ValueError(
                f"theta must be {self.size} finite numbers, got the shape {point.shape}: {point}"
            )
        return torch.tensor(point)


@dataclass(frozen=True, eq=False)
class Run:
    """A sample's gradient, and for each kink that of its argument, towards the side, and if it is affine."""

    sample: int
    gradient: Array
    kinks: list[tuple[Array, bool]]
    unknown: set[str]


def _leads_in(kinks: list[tuple[Array, bool]]) -> bool | None:
    """Whether there are points near theta on the sides taken; None if first order does not tell."""
    from ..nonsmooth._sets import hull_weights

    lengths = [float(np.linalg.norm(normal)) for normal, _ in kinks]
    if min(lengths) > 0:
        normals = np.array([normal / length for (normal, _), length in zip(kinks, lengths, strict=True)])
        if np.linalg.norm(hull_weights(normals) @ normals) > 1e-9:
            return True
    return False if all(affine for _, affine in kinks) else None


class Rectifiers(TorchFunctionMode):
    """Takes given sides where the argument of a rectifier is 0, and notes functions that are not known."""

    def __init__(self, sides: Sequence[int], tolerance: float) -> None:
        super().__init__()
        self.sides, self.tolerance = sides, tolerance
        self.met: list[tuple[Tensor, bool]] = []
        self.unknown: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.__name__.strip("_")
        if name in SLOPES:
            given = kwargs.get("negative_slope", args[1] if len(args) > 1 else SLOPES[name])
            return self._rectified(
                args[0] if args else kwargs["input"], given if "leaky" in name else SLOPES[name]
            )
        if name not in SMOOTH.split():
            self.unknown.add(name)
        return func(*args, **kwargs)

    def _rectified(self, z: Tensor, negative: float) -> Tensor:
        slopes = torch.where(z > 0, torch.ones_like(z), negative)
        zero = (z.abs() <= self.tolerance * (1 + z.detach().abs().max())) & torch.tensor(z.requires_grad)
        for index in zero.nonzero().tolist():
            k = len(self.met)
            positive = bool(self.sides[k]) if k < len(self.sides) else False
            self.met.append((z[tuple(index)], positive))
            slopes[tuple(index)] = 1.0 if positive else negative
        return z * slopes


def _gradient(value: Tensor, point: Tensor) -> Array:
    if not value.requires_grad:
        return np.zeros(point.numel())
    (gradient,) = torch.autograd.grad(value, point, retain_graph=True, materialize_grads=True)
    return np.asarray(gradient.clone().numpy(force=True))


def _double(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x
