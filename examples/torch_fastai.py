"""INNAprop in a fastai Learner, with `fit_one_cycle`."""

import torch
from fastai.callback.schedule import Learner  # with fit_one_cycle
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from torch import nn

from inna.hyperparameters import from_adamw
from inna.integrations.fastai import opt_func

torch.manual_seed(0)
x = torch.randn(256, 10)
pairs = list(zip(x, torch.sin(2 * x[:, :1]), strict=True))
data = DataLoaders(DataLoader(pairs, bs=32, shuffle=True), DataLoader(pairs, bs=32))
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
settings = from_adamw(lr=0.02)
learner = Learner(data, model, nn.MSELoss(), opt_func=opt_func(**settings | {"lr": 0.0}), lr=settings["lr"])
with learner.no_bar(), learner.no_logging():
    learner.fit_one_cycle(10, lr_max=settings["lr"])
losses = [float(loss) for loss in learner.recorder.losses]
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
