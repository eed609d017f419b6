"""500 random piecewise polynomial programs, touching and repeated pieces among them, against brute force."""

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inna.nonsmooth import FiniteSum, MinkowskiSum

Array = NDArray[np.float64]
Tree = tuple[Any, ...]
SMALL = 1e-5  # the scale of brute force


def polynomial(rng: np.random.Generator, d: int) -> Tree:
    """A small polynomial without constant; few enough that the same and touching ones come again."""
    i, j = rng.integers(d, size=2).tolist()
    c = float(rng.choice([-2, -1, 1, 2]))
    x, y = ("x", i), ("x", j)
    return [
        ("c", c, x),
        ("+", x, ("c", c, y)),
        ("+", x, ("c", c, ("*", y, y))),
        ("c", c, ("*", x, y)),
        ("c", c, ("*", x, ("*", x, x))),
        ("+", ("*", x, x), ("c", c, ("*", y, ("*", y, y)))),
    ][rng.choice(6, p=[0.3, 0.2, 0.25, 0.1, 0.1, 0.05])]


def program(rng: np.random.Generator, d: int, depth: int, known: list[Tree]) -> Tree:
    """A random tree; `known` are subtrees to use again."""
    if depth == 0:
        tree = polynomial(rng, d)
    elif known and rng.random() < 0.2:
        return known[rng.integers(len(known))]
    else:
        kind = rng.choice(
            ["+", "max", "min", "abs", "relu", "c", "*"], p=[0.3, 0.15, 0.1, 0.15, 0.2, 0.05, 0.05]
        )
        parts = [
            program(rng, d, depth - 1, known) for _ in range(2 if kind in ("+", "max", "min", "*") else 1)
        ]
        tree = (str(kind), *([float(rng.choice([-1, 0.5, 2]))] if kind == "c" else []), *parts)
    known.append(tree)
    return tree


def run(tree: Tree, x: Any) -> Any:
    """The program on what the package gives it."""
    kind, *parts = tree
    if kind == "x":
        return x[parts[0]]
    if kind == "c":
        return parts[0] * run(parts[1], x)
    values = [run(part, x) for part in parts]
    match kind:
        case "+":
            return values[0] + values[1]
        case "*":
            return values[0] * values[1]
        case "max":
            return np.maximum(*values)
        case "min":
            return min(*values)
        case "abs":
            return abs(values[0])
    return max(values[0], 0)


def gradients(tree: Tree, x: Array) -> tuple[Array, Array]:
    """Values, shape (n,), and gradients, shape (n, d), at n points, by the rules of calculus."""
    kind, *parts = tree
    if kind == "x":
        return x[:, parts[0]], np.broadcast_to(np.eye(x.shape[1])[parts[0]], x.shape)
    if kind == "c":
        value, slope = gradients(parts[1], x)
        return parts[0] * value, parts[0] * slope
    (a, da), (b, db) = (gradients(parts[0], x), gradients(parts[-1], x))
    match kind:
        case "+":
            return a + b, da + db
        case "*":
            return a * b, a[:, None] * db + b[:, None] * da
        case "max":
            return np.maximum(a, b), np.where((a > b)[:, None], da, db)
        case "min":
            return np.minimum(a, b), np.where((a < b)[:, None], da, db)
        case "abs":
            return abs(a), np.sign(a)[:, None] * da
    return np.maximum(a, 0), (a > 0)[:, None] * da


def points_near_0(d: int, rng: np.random.Generator, count: int) -> Array:
    """Points of size t^1, t^2, t^3 in each coordinate, straight and turned, so that thin pieces are met."""
    found = []
    for powers in itertools.product((1, 2, 3), repeat=d):
        scaled = rng.uniform(-4, 4, size=(count, d)) * SMALL ** np.array(powers)
        found.append(scaled)
        for i, j in itertools.permutations(range(d), 2):
            for c in (-2, -1, -0.5, 0.5, 1, 2):
                turned = scaled[: count // 4].copy()
                turned[:, i] += c * turned[:, j]
                found.append(turned)
    return np.concatenate(found)


def excess(tree: Tree, d: int, rng: np.random.Generator) -> tuple[bool, float, float]:
    """Whether a set is exact; how far gradients lie outside of it, and it beyond them, in support."""
    clarke = FiniteSum([lambda x: run(tree, x)]).clarke(np.zeros(d))
    around = clarke if clarke.exact else clarke.outer
    assert isinstance(around, MinkowskiSum)
    brute = gradients(tree, points_near_0(d, rng, 600 if d < 3 else 100))[1]
    directions = rng.normal(size=(40, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    seen = (brute @ directions.T).max(0)
    scale = 1 + np.abs(brute).max()
    inner, outer = (np.array([s.support(w) for w in directions]) for s in (clarke, around))
    return clarke.exact, float((seen - outer).max() / scale), float((inner - seen).max() / scale)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_random_programs_agree_with_brute_force_or_are_not_exact(d: int) -> None:
    exact = []
    for seed in range({1: 160, 2: 220, 3: 120}[d]):
        rng = np.random.default_rng([d, seed])
        tree = program(rng, d, int(rng.integers(1, 4)), [])
        is_exact, missing, invented = excess(tree, d, rng)
        assert missing < 1e-2, (seed, tree)
        assert invented < 1e-2, (seed, tree)
        exact.append(is_exact)
    assert np.mean(exact) > 0.9
