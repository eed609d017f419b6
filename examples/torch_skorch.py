"""A grid search over INNA's alpha and beta with skorch and scikit-learn."""

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetRegressor
from torch import nn

from inna.torch import INNA

torch.manual_seed(0)
x = np.random.default_rng(0).standard_normal((256, 10)).astype(np.float32)
y = np.sin(x.sum(1, keepdims=True))
net = NeuralNetRegressor(
    nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1)),
    optimizer=INNA,
    lr=0.1,
    max_epochs=20,
    batch_size=32,
    verbose=0,
)
grid = {"optimizer__alpha": [0.1, 0.5], "optimizer__beta": [0.1, 0.5]}
search = GridSearchCV(net, grid, cv=2, scoring="neg_mean_squared_error")
search.fit(x, y)
losses = search.best_estimator_.history[:, "train_loss"]
print("best", search.best_params_)
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
