"""A search over INNA's step, memory and direct share with Optuna."""

import math

import optuna
import torch
from torch import nn

from inna.hyperparameters import from_memory
from inna.torch import INNA

x = torch.randn(256, 10, generator=torch.Generator().manual_seed(0))
y = torch.sin(x.sum(1, keepdim=True))


def objective(trial: optuna.Trial) -> float:
    settings = from_memory(
        step=trial.suggest_float("step", 0.01, 3, log=True),
        memory=trial.suggest_float("memory", 2, 50, log=True),
        direct=trial.suggest_float("direct", 0.05, 0.5, log=True),
    )
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = INNA(model.parameters(), **settings)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.item() if loss.isfinite() else math.inf  # Optuna drops a trial that returns NaN


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(objective, n_trials=20)
values = [trial.value for trial in study.trials if trial.value is not None]
print("best", study.best_params)
print(f"loss {values[0]:.4f} -> {study.best_value:.4f}")
