"""
A ball in a curved valley
=========================

The function of the paper's Figure 1 has a kink along its valley. With little Newtonian damping (beta) INNA
swings from side to side; with more it follows the valley.
"""

import matplotlib.pyplot as plt
import numpy as np

from inna.dynamics import DIN


def objective(theta):
    x, y = theta[..., 0], theta[..., 1]
    return 100 * (y - np.abs(x)) ** 2 + np.abs(1 - x)


def subgradient(theta):
    x, y = theta[..., 0], theta[..., 1]
    slope = 200 * (y - np.abs(x))
    return np.stack([-slope * np.sign(x) - np.sign(1 - x), slope], axis=-1)


x, y = np.meshgrid(np.linspace(-2, 2, 300), np.linspace(-0.2, 2.2, 200))
heights = np.log10(objective(np.stack([x, y], axis=-1)) + 1e-3)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, beta in zip(axes, (0.01, 0.1), strict=True):
    system = DIN(subgradient, alpha=0.3, beta=beta, objective=objective)
    path = system.euler([-1.0, 1.5], 1e-3, 6000, initial_speed=0.1).theta
    ax.contourf(x, y, heights, levels=20, cmap="Greys_r")
    ax.plot(*path.T, color="tab:orange", lw=1.2)
    ax.plot(1, 1, "*", color="white", ms=12)
    ax.set(title=f"alpha = 0.3, beta = {beta}", xlabel="$\\theta_1$", xlim=(-2, 2), ylim=(-0.2, 2.2))
axes[0].set_ylabel("$\\theta_2$")
plt.show()
