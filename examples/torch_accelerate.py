"""INNA with Hugging Face Accelerate and gradient accumulation."""

import torch
from accelerate import Accelerator
from torch import nn

from inna.torch import INNA

torch.manual_seed(0)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
x = torch.randn(256, 10)
y = torch.sin(x.sum(1, keepdim=True))
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
model, optimizer = accelerator.prepare(model, INNA(model.parameters(), lr=0.1, alpha=0.5, beta=0.1))

losses = []
for _ in range(20):
    for start in range(0, 256, 32):
        with accelerator.accumulate(model):
            loss = nn.functional.mse_loss(model(x[start : start + 32]), y[start : start + 32])
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
print(f"loss {sum(losses[:8]) / 8:.4f} -> {sum(losses[-8:]) / 8:.4f}")
