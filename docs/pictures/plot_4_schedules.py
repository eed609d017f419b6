"""
Which schedules does the theorem admit?
=======================================

Convergence is proved for steps whose sum is infinite and for which gamma_k log k tends to 0. Solid lines
are admissible according to :func:`inna.schedules.admissible`, dashed ones are not.
"""

import matplotlib.pyplot as plt
import numpy as np

from inna import schedules

families = {
    "power(1/2), the paper's": schedules.power(1 / 2),
    "power(1/4)": schedules.power(1 / 4),
    "warmup(100, power(1/4))": schedules.warmup(100, schedules.power(1 / 4)),
    "constant()": schedules.constant(),
    "cosine(1000)": schedules.cosine(1000),
}
k = np.arange(1500)
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for label, schedule in families.items():
    admitted = bool(schedules.admissible(schedule))
    ax.plot(k, [schedule(int(i)) for i in k], "-" if admitted else "--", label=label)
ax.set(xlabel="iteration k", ylabel="factor of gamma_0", ylim=(0, 1.05))
ax.legend(frameon=False)
plt.show()
