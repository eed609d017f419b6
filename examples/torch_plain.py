"""INNA in a plain PyTorch loop: the step size falls like Section 5.2's, lr comes from the curvature."""

import torch
from torch import nn

from inna.hyperparameters import max_stable_lr
from inna.schedules import power
from inna.torch import INNA, curvature

torch.manual_seed(0)
x = torch.randn(512, 10)
y = torch.sin(x.sum(1, keepdim=True))
model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))


def loss_of(batch: slice) -> torch.Tensor:
    return nn.functional.mse_loss(model(x[batch]), y[batch])


largest = curvature(lambda: loss_of(slice(None)), model.parameters())
lr = 0.5 * max_stable_lr(alpha=0.5, beta=0.1, curvature=largest)  # it grows in training: keep a margin
print(f"largest curvature {largest:.3g}, so lr {lr:.3g}")

optimizer = INNA(model.parameters(), lr=lr, alpha=0.5, beta=0.1)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, power(1 / 4))
before = loss_of(slice(None)).item()
for _ in range(40):
    for start in range(0, 512, 32):
        optimizer.zero_grad()
        loss_of(slice(start, start + 32)).backward()
        optimizer.step()
        scheduler.step()
print(f"loss {before:.4f} -> {loss_of(slice(None)).item():.4f}")
