"""INNA inside a wrapper of pytorch_optimizer: Lookahead."""

import torch
from pytorch_optimizer import Lookahead
from torch import nn

from inna.torch import INNA

torch.manual_seed(0)
x = torch.randn(256, 10)
y = torch.sin(x.sum(1, keepdim=True))
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = Lookahead(INNA(model.parameters(), lr=0.1, alpha=0.5, beta=0.5), k=5, alpha=0.5)

losses = []
for _ in range(200):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
