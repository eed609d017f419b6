"""INNA as a minimiser of optimistix, on Rosenbrock's function. Run: python examples/jax_optimistix.py."""

import jax.numpy as jnp
import optimistix

from inna.jax import inna


def rosenbrock(x, scale):
    return scale * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


start, scale = jnp.array([-1.0, 1.5]), 100.0
solver = optimistix.OptaxMinimiser(inna(0.005, alpha=0.5, beta=0.1), rtol=1e-6, atol=1e-6)
solution = optimistix.minimise(rosenbrock, solver, start, args=scale, max_steps=20_000)
print(f"at {solution.value} after {solution.stats['num_steps']} steps")
print(f"loss {rosenbrock(start, scale):.4f} -> {rosenbrock(solution.value, scale):.4f}")
