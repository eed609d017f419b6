"""
The loss may rise, the energy falls
===================================

INNA is not a descent method: rolling uphill, J rises. What falls along every trajectory of the continuous
system is an energy, :func:`inna.dynamics.energy`: a multiple of J plus the kinetic term.
"""

import matplotlib.pyplot as plt
import numpy as np

from inna.dynamics import DIN


def objective(theta):
    return np.cos(3 * theta).sum(-1) + (theta**2).sum(-1) / 2


def gradient(theta):
    return theta - 3 * np.sin(3 * theta)


system = DIN(gradient, alpha=0.4, beta=0.05, objective=objective)
path = system.solve([4.0, -2.5], times=np.linspace(0, 12, 600))
assert (np.diff(path.objective) > 0).any()
assert (np.diff(path.energy()) < 1e-9).all()

figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.plot(path.t, path.objective, label="J", color="tab:blue")
ax.plot(path.t, path.energy() / (2 * (1 + 0.4 * 0.05)), label="E, scaled to J at rest", color="tab:orange")
ax.set(xlabel="time t")
ax.legend(frameon=False)
plt.show()
