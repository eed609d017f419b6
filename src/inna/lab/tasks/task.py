"""What a task is."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

__all__ = ["Batch", "Split", "Task", "moved", "same"]

Batch = Any
"""A tensor, or tuples, lists and dicts of tensors, the same number of rows in each."""
Split = Literal["train", "test", "validation"]
"""What is trained on, or what is held out; validation data are there after `Task.hold_out`."""


class Task:
    """What is trained, its mini-batches, its loss, and what is evaluated.

    A task of one's own derives from this class and gives `network`, `steps`, `batches`, `loss` and `held`.
    All must depend on the arguments alone: a killed run asks again, and goes on with what it is given.

    Example:
        >>> class Line(Task):
        ...     "Find the line through noisy points."
        ...     x = torch.linspace(-1, 1, 64)[:, None]
        ...     def network(self):
        ...         return nn.Linear(1, 1)
        ...     def steps(self, batch_size):
        ...         return 64 // batch_size
        ...     def batches(self, seed, epoch, batch_size):
        ...         order = torch.randperm(64, generator=torch.Generator().manual_seed(1000 * seed + epoch))
        ...         return [self.x[rows] for rows in order.split(batch_size)]
        ...     def loss(self, net, batch):
        ...         return (net(batch) - 2 * batch).square().mean()
        ...     def held(self, split):
        ...         return [self.x]
        >>> net = Line().network()
        >>> sorted(Line().evaluate(net, "test"))
        ['loss']
    """

    better: ClassVar[dict[str, Literal["lower", "higher"]]] = {"loss": "lower", "accuracy": "higher"}
    """In which direction each measured quantity is better."""

    def network(self) -> nn.Module:
        """The network before training, on the CPU. Torch's generator has the run's seed."""
        raise NotImplementedError("a task must have network()")

    def steps(self, batch_size: int) -> int:
        """How many mini-batches an epoch has, at least one."""
        raise NotImplementedError("a task must have steps(batch_size)")

    def batches(self, seed: int, epoch: int, batch_size: int) -> Iterable[Batch]:
        """The mini-batches of an epoch, counted from 0, in order."""
        raise NotImplementedError("a task must have batches(seed, epoch, batch_size)")

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a mini-batch, with its gradient."""
        raise NotImplementedError("a task must have loss(net, batch)")

    def held(self, split: Split) -> Iterable[Batch]:
        """What is evaluated: of "train" the training data or a fixed part, of "test" what is held out."""
        raise NotImplementedError("a task must have held(split)")

    def hold_out(self, share: float) -> Self:
        """The same task with a share of its training data taken away, which `held("validation")` gives.

        Args:
            share: in (0, 1).

        Raises:
            ValueError: the task cannot do that.
        """
        raise ValueError(f"{type(self).__name__} has no hold_out(share), which validation = {share:g} needs")

    def measure(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The means over a batch of what is evaluated: the loss, and others that `better` names."""
        return {"loss": self.loss(net, batch)}

    def size(self, batch: Batch) -> int:
        """How much a batch counts in a mean: its rows."""
        return len(next(_tensors(batch)))

    @torch.no_grad()
    def evaluate(self, net: nn.Module, split: Split, device: str = "cpu") -> dict[str, float]:
        """The means over a split, `net` in evaluation mode. A loss that needs gradients enables them."""
        totals: dict[str, float] = defaultdict(float)
        rows = 0
        for batch in self.held(split):
            size = self.size(batch)
            for name, mean in self.measure(net, moved(batch, device)).items():
                totals[name] += float(mean) * size
            rows += size
        return {name: total / rows for name, total in totals.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of the data that are evaluated: records of a run belong to one digest."""
        digest = hashlib.sha256()
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            for batch in self.held(split):
                for tensor in _tensors(batch):
                    array = tensor.detach().cpu().contiguous().numpy()
                    digest.update(f"{split}{array.dtype.str}{array.shape}".encode())
                    digest.update(array.data)
        return digest.hexdigest()


def moved(batch: Batch, device: str) -> Batch:
    """A batch on a device.

    Example:
        >>> moved((torch.zeros(2), {"x": torch.ones(1)}), "cpu")
        (tensor([0., 0.]), {'x': tensor([1.])})
    """
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: moved(part, device) for key, part in batch.items()}
    return type(batch)(moved(part, device) for part in batch)


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches hold the same."""
    ours, theirs = list(_tensors(one)), list(_tensors(other))
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def _tensors(batch: Batch) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    else:
        for part in batch.values() if isinstance(batch, dict) else batch:
            yield from _tensors(part)
