"""CPU time of a map over (alpha, beta): 200 x 200 settings, 20,000 steps each, on Figure 1's function."""

import time

import numpy as np

from inna.dynamics import DIN


def objective(p):
    return 100 * (p[..., 1] - np.abs(p[..., 0])) ** 2 + np.abs(1 - p[..., 0])


def gradient(p):
    x, y = p[..., 0], p[..., 1]
    gap = 200 * (y - np.abs(x))
    return np.stack([np.sign(x - 1) - gap * np.sign(x), gap], -1)


if __name__ == "__main__":
    alpha, beta = np.meshgrid(np.linspace(0.05, 3, 200), np.geomspace(0.001, 1, 200))
    wall, cpu = time.perf_counter(), time.process_time()
    din = DIN(gradient, alpha, beta, objective)
    end = din.euler([-1.0, 1.5], 1e-4, 20_000, every=20_000, initial_speed=0.1).objective[-1]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{alpha.size} settings, 20,000 steps: {wall:.1f} s, of a processor {cpu:.1f} s")
    print(f"J from {end.min():.3g} to {end.max():.3g}")
