"""The built-in task: classes of images, as in the paper."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss, pad

from ..data import Dataset
from ..plan import Evaluation, Run
from ..tasks.task import Batch, Split, Task
from . import networks

__all__ = ["LOSSES", "Images", "clipped_cross_entropy"]

EVALUATION_BATCH = {"cpu": 50, "cuda": 1000}
KERAS_EPSILON = 1e-7


def clipped_cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """The cross-entropy of Keras 2.2.4, of probabilities clipped to [1e-7, 1 - 1e-7]: no gradient outside."""
    dtype = torch.promote_types(logits.dtype, torch.float32)  # 1 - 1e-7 is no number of bfloat16
    likelihood = logits.softmax(1, dtype).gather(1, labels[:, None]).squeeze(1)
    return nll_loss(
        likelihood.clamp(KERAS_EPSILON, 1 - KERAS_EPSILON).log()[:, None],
        torch.zeros_like(labels),
        reduction=reduction,
    )


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "clipped_cross_entropy": clipped_cross_entropy,
}
"""The losses that a plan may name."""


class Images(Task):
    """The images of a run on its device; a mini-batch is the indices of some.

    Args:
        run: its network, initialisation, sampling, loss and device.
        data: the images with their labels.
    """

    def __init__(self, run: Run, data: Dataset) -> None:
        self.run = run
        self.shape: networks.Shape = data.x_train.shape[1:]
        self.classes = data.classes
        self.layout = networks.layout(run.problem.network)
        self.criterion = LOSSES[run.loss]
        x, y = data.x_train, data.y_train
        self.sets: dict[Split, tuple[Tensor, Tensor]] = {}
        if run.validation:
            order = np.random.default_rng(0).permutation(len(y))
            cut = round(len(y) * (1 - run.validation))
            if not 0 < cut < len(y):
                raise ValueError(f"validation = {run.validation:g} of {len(y)} images leaves a part empty")
            kept, held = np.sort(order[:cut]), np.sort(order[cut:])
            if run.evaluate is Evaluation.validation:
                self.sets["validation"] = self._on_device(x[held], y[held])
            x, y = x[kept], y[kept]
        self.sets["train"] = self.train_set = self._on_device(x, y)
        if run.evaluate is Evaluation.every_epoch:  # the others never see the test data
            self.sets["test"] = self._on_device(data.x_test, data.y_test)

    def network(self) -> nn.Module:
        """The run's network with the weights of its seed, its layout that of the images."""
        run = self.run
        net = networks.build(run.problem.network, self.shape, self.classes, init=run.init, seed=run.seed)
        return net.to(memory_format=self.layout)  # type: ignore[call-overload, no-any-return]

    def steps(self, batch_size: int) -> int:
        """Enough for each image once."""
        return math.ceil(len(self.train_set[1]) / batch_size)

    def batches(self, seed: int, epoch: int, batch_size: int) -> Iterable[Batch]:
        """The indices of each mini-batch."""
        return torch.split(torch.from_numpy(self.order(epoch)).to(self.run.device), batch_size)

    def _on_device(self, images: Any, labels: Any) -> tuple[Tensor, Tensor]:
        """Images as rows in the network's layout, of which a mini-batch is one fast gather, and labels."""
        x = torch.from_numpy(images).to(self.run.device).contiguous(memory_format=self.layout)
        rows = x.permute(0, 2, 3, 1) if self.layout is torch.channels_last else x
        return rows.flatten(1), torch.from_numpy(labels).to(self.run.device)

    def images(self, rows: Tensor) -> Tensor:
        """Rows as what the network takes: (N, channels, height, width)."""
        channels, height, width = self.shape
        if self.layout is torch.channels_last:
            return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
        return rows.view(-1, channels, height, width)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The mean over the images of these indices."""
        rows, labels = self.train_set
        output, truth = net(self._augmented(self.images(rows.index_select(0, batch)))), labels[batch]
        if self.run.label_smoothing:
            return cross_entropy(output, truth, label_smoothing=self.run.label_smoothing)
        return self.criterion(output, truth)

    def _augmented(self, images: Tensor) -> Tensor:
        """Some mirrored, all moved, as the run says; drawn by torch's generator, on the device."""
        crop, count, (_, height, width) = self.run.crop, len(images), self.shape
        if not (self.run.flip or crop):
            return images

        def drawn(most: int) -> Tensor:
            return torch.randint(most + 1, (count, 1), device=images.device)

        rows = torch.arange(height, device=images.device).expand(count, -1)
        columns = torch.arange(width, device=images.device).expand(count, -1)
        if self.run.flip:
            columns = torch.where(drawn(1) == 1, columns.flip(1), columns)
        if crop:
            images = pad(images, (crop, crop, crop, crop))
            rows, columns = rows + drawn(2 * crop), columns + drawn(2 * crop)
        which = torch.arange(count, device=images.device)[:, None, None]
        pixels = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
        return pixels.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The images of an epoch, counted from 0, in order: each once, or drawn independently."""
        run = self.run
        random, images = np.random.default_rng([run.seed, epoch + 1]), len(self.train_set[1])
        if run.sampling == "independent":
            return random.integers(images, size=self.steps(run.batch_size) * run.batch_size)
        return random.permutation(images)

    def try_smallest_batch(self, net: nn.Module) -> None:
        """Refuse a network that cannot take a last mini-batch of one image, as batch normalisation cannot."""
        run, (rows, labels) = self.run, self.train_set
        images = len(labels)
        per_epoch = images if run.sampling == "epochs" else self.steps(run.batch_size) * run.batch_size
        if run.problem.network in networks.NETWORKS or per_epoch % run.batch_size != 1 % run.batch_size:
            return
        trial = copy.deepcopy(net).train()
        try:
            with torch.random.fork_rng([run.device] if labels.is_cuda else []), torch.no_grad():
                trial(self.images(rows[:1]))
        except Exception as error:  # whatever somebody's network does
            reason = str(error).partition("\n")[0]
            cure = "another batch_size" + (f" or train = {images - 1}" if run.batch_size > 1 else "")
            raise ValueError(
                f"network {run.problem.network} fails on a mini-batch of one image, the last of each epoch "
                f"({images} images, batches of {run.batch_size}): {reason}; choose {cure}"
            ) from None

    @torch.inference_mode()
    def evaluate(self, net: nn.Module, split: Split, device: str = "cpu") -> dict[str, float]:
        """The mean loss and the accuracy."""
        rows, labels = self.sets[split]
        loss = torch.zeros((), dtype=torch.float64, device=labels.device)
        hits = torch.zeros((), dtype=torch.int64, device=labels.device)
        size = EVALUATION_BATCH.get(labels.device.type, 250)
        for some, truth in zip(torch.split(rows, size), torch.split(labels, size), strict=True):
            output = net(self.images(some))
            loss += self.criterion(output, truth, reduction="sum")
            hits += (output.argmax(1) == truth).sum()
        return {"loss": loss.item() / len(labels), "accuracy": hits.item() / len(labels)}
