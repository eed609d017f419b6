"""Lightning's command line finds INNA by its import path."""

import lightning
import torch
from lightning.pytorch.cli import LightningCLI
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LOSSES: list[float] = []


class Regression(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        LOSSES.append(loss.item())
        return loss

    def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        x = torch.randn(256, 10, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(x, torch.sin(x.sum(1, keepdim=True))), batch_size=32)


quiet = ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"]
LightningCLI(
    Regression,
    seed_everything_default=0,
    save_config_callback=None,
    args=[
        "fit",
        *(f"--trainer.{name}=false" for name in quiet),
        "--trainer.max_epochs=10",
        "--trainer.accelerator=cpu",
        "--optimizer=inna.torch.INNA",
        "--optimizer.lr=0.1",
        "--optimizer.alpha=0.5",
        "--optimizer.beta=0.5",
    ],
)
print(f"loss {LOSSES[0]:.4f} -> {LOSSES[-1]:.4f}")
