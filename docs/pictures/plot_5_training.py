"""
Training on handwritten digits
==============================

A small ReLU network on the 8 x 8 digits of scikit-learn, one seed, settings not tuned: a first look at how
the losses fall, not a comparison. The laboratory compares, with several seeds and a step chosen for each
optimizer.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

import inna

images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def train(make_optimizer, schedule):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = make_optimizer(model.parameters())
    scheduler = LambdaLR(optimizer, schedule)
    losses = []
    for _ in range(15):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            scheduler.step()
        with torch.no_grad():
            losses.append(nn.functional.cross_entropy(model(images), labels).item())
    return losses


half, quarter, constant = inna.schedules.power(1 / 2), inna.schedules.power(1 / 4), inna.schedules.constant()
curves = {
    "INNA (0.5, 0.1), $k^{-1/4}$": train(lambda p: inna.torch.INNA(p, lr=0.3), quarter),
    "INNAprop": train(lambda p: inna.torch.INNAprop(p, lr=3e-3), constant),
    "SGD, $k^{-1/2}$": train(lambda p: torch.optim.SGD(p, lr=1.0), half),
    "Adam": train(lambda p: torch.optim.Adam(p, lr=1e-3), constant),
}
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
for label, losses in curves.items():
    ax.semilogy(range(1, 16), losses, label=label)
ax.set(xlabel="epoch", ylabel="training loss J")
ax.legend(frameon=False)
plt.show()
