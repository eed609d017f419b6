"""INNAprop by name in timm, with its layer decay, on a small convolutional network."""

import timm
import torch
from timm.optim import create_optimizer_v2
from torch.nn.functional import cross_entropy

from inna.integrations.timm import register

register()
torch.manual_seed(0)
model = timm.create_model("test_vit", num_classes=2, img_size=32, patch_size=8)
optimizer = create_optimizer_v2(
    model, "innaprop", lr=0.01, weight_decay=0.1, layer_decay=0.75, alpha=10.0, beta=0.02
)
y = torch.arange(64) % 2
x = torch.randn(64, 3, 32, 32) + y[:, None, None, None]

losses = []
for _ in range(20):
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
