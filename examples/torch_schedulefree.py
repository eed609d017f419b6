"""INNA inside the wrapper of schedulefree: no schedule, the iterates averaged instead."""

import torch
from schedulefree import ScheduleFreeWrapper
from torch import nn

from inna.torch import INNA

torch.manual_seed(0)
x = torch.randn(256, 10)
y = torch.sin(x.sum(1, keepdim=True))
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = ScheduleFreeWrapper(INNA(model.parameters(), lr=0.2, alpha=1.0, beta=1.0))

losses = []
optimizer.train()
for _ in range(200):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
optimizer.eval()
print(f"loss {losses[0]:.4f} -> {nn.functional.mse_loss(model(x), y).item():.4f}")
