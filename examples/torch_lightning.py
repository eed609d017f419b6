"""INNAprop in a LightningModule."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from inna.torch import INNAprop


class Regression(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
        self.losses: list[float] = []

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> INNAprop:
        return INNAprop(self.parameters(), lr=1e-2)


lightning.seed_everything(0, verbose=False)
x = torch.randn(256, 10)
loader = DataLoader(TensorDataset(x, torch.sin(x.sum(1, keepdim=True))), batch_size=32)
model = Regression()
quiet = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
lightning.Trainer(max_epochs=10, accelerator="cpu", **quiet).fit(model, loader)  # type: ignore[arg-type]
print(f"loss {model.losses[0]:.4f} -> {model.losses[-1]:.4f}")
