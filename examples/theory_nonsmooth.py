"""Where mini-batch training can come to rest: points that are critical for D, and not for Clarke."""

import numpy as np

from inna.dynamics import DIN
from inna.nonsmooth import FiniteSum, d_critical_values, is_clarke_critical, is_d_critical
from inna.schedules import admissible, constant, power


def relu(x):
    return np.maximum(x, 0)


# One ReLU weight, fitted to two samples (x, y): at 0 the slope is -1, yet each term alone allows 0.
J = FiniteSum.over([(1, 1), (-1, -1)], lambda w, x, y: (relu(w[0] * x) - y) ** 2 / 2)
print("D at 0:", *J.D([0.0]).bounds(), " Clarke's set at 0:", *J.clarke([0.0]).bounds())
print("for D:", is_d_critical(J, [0.0]), "| for Clarke:", is_clarke_critical(J, [0.0]))
print("all D-critical values:", [round(critical.value, 9) for critical in d_critical_values(J, 1)])

# INNA stays there, and leaves it when it is moved by a billionth.
din = DIN(gradient=lambda w: J.D(w).least_norm())
for start in (0.0, 1e-9, -1e-9):
    end = din.euler([start], lr=0.02, steps=1000).theta[-1, 0]
    print(f"from {start:g} to {end:.6f}")

# Theorem 3.1: the sum of |theta - y_n|, one term a step, finds the median 2 with steps that are admissible.
targets = np.array([0.0, 1.0, 2.0, 5.0, 9.0])
for lr, schedule in ((0.5, power(1 / 2)), (0.1, constant())):
    rng = np.random.default_rng(0)
    one_term = DIN(gradient=lambda theta, rng=rng: np.sign(theta - rng.choice(targets)))
    late = one_term.euler([6.0], lr, 50_000, schedule=schedule).theta[-5000:, 0]
    print(f"{schedule}, {admissible(schedule)}")
    print(f"  |theta - 2| <= {np.abs(late - 2).max():.4f} over the last tenth")
