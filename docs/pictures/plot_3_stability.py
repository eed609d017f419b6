"""
How large may lr be?
====================

On a quadratic of curvature L the two multipliers of a step must lie inside the unit circle. Their largest
modulus, over lr and beta, against the closed form :func:`inna.hyperparameters.max_stable_lr`. Some beta
allows the largest steps; more damping is not always better.
"""

import matplotlib.pyplot as plt
import numpy as np

from inna.hyperparameters import max_stable_lr, multipliers

alpha, curvature = 0.5, 100.0
lrs, betas = np.linspace(0.001, 0.25, 120), np.linspace(0.0, 0.4, 120)
radius = [[max(map(abs, multipliers(lr, alpha, beta, curvature))) for lr in lrs] for beta in betas]

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
colours = ax.pcolormesh(lrs, betas, radius, cmap="viridis_r", vmin=0.5, vmax=1.5, shading="gouraud")
limits = [max_stable_lr(alpha, beta, curvature, smallest=curvature) for beta in betas]
ax.plot(limits, betas, color="white", lw=2, label="max_stable_lr")
ax.set(xlabel="lr", ylabel="beta", title=f"alpha = {alpha}, curvature {curvature:g}", xlim=(0, 0.25))
ax.legend(facecolor="tab:gray", labelcolor="white")
figure.colorbar(colours, label="largest modulus of a multiplier (below 1: stable)")
plt.show()
