"""Model and optimizer step under torch.compile: with lr in a tensor a schedule recompiles nothing."""

import torch
from torch import nn

from inna.torch import INNA

torch.manual_seed(0)
x = torch.randn(128, 10)
y = torch.sin(x.sum(1, keepdim=True))
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
compiled = torch.compile(
    model, backend="aot_eager"
)  # leave `backend` out where Python's headers are installed
optimizer = INNA(model.parameters(), lr=torch.tensor(0.2), capturable=True)
step = torch.compile(optimizer.step, backend="aot_eager")

for k in range(200):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(compiled(x), y)
    loss.backward()
    step()
    optimizer.param_groups[0]["lr"].fill_(0.2 / (k + 2) ** 0.25)
    if k == 0:
        print(f"loss {loss.item():.4f}", end=" -> ")
print(f"{loss.item():.4f}")
