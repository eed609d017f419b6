"""The twins of optax's own tests of its optimizers; docs/optax_parity.md lists them all.

A twin here has its original's name.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inna

jax = pytest.importorskip("jax", reason="the extra jax is not installed")
optax = pytest.importorskip("optax", reason="the extra jax is not installed")
jnp = jax.numpy

OPTIMIZERS = {
    "inna": inna.jax.inna(0.005),
    "innaprop": inna.jax.innaprop(0.005, weight_decay=0.0),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
PARABOLA = [-1.0, 10.0, 1.0], [1.0, -1.0, 1.0]


def distance(target: Any) -> Any:
    def loss(params: Any) -> Any:
        gaps = jax.tree.map(lambda p, t: (jnp.abs(p - jnp.asarray(t, p.dtype)) ** 2).sum(), params, target)
        return sum(jax.tree.leaves(gaps))

    return loss


def rosenbrock(a: complex) -> Any:
    return lambda p: jnp.abs(a - p[0]) ** 2 + 100 * jnp.abs(p[1] - p[0] ** 2) ** 2


def arrays(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree, is_leaf=lambda x: isinstance(x, list))


def end(optimizer: Any, loss: Any, params: Any, steps: int) -> Any:
    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        grads = jax.tree.map(jnp.conj, jax.grad(loss)(params))
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    state = optax.tree_utils.tree_map_params(optimizer, lambda x: x, optimizer.init(params))
    return jax.jit(lambda *carry: jax.lax.scan(step, carry, length=steps)[0][0])(params, state)


MIXED = (np.array([1.0, -1.0, 2.0]), np.array([[1.0, 0.0], [-1.0, 1.0]]))
TARGETS = {
    "parabola": (distance(np.array(PARABOLA[1])), PARABOLA[0], PARABOLA[1]),
    "rosenbrock": (rosenbrock(1.0), [0.0, 0.0], [1.0, 1.0]),
    "matrix": (distance(np.array([[3.0, -2.0], [1.0, 4.0]])), [[0.0] * 2] * 2, [[3.0, -2.0], [1.0, 4.0]]),
    "mixed": (distance(MIXED), ([0.0] * 3, [[0.0] * 2] * 2), MIXED),
}


@each_optimizer
@pytest.mark.parametrize("target", TARGETS)
def test_optimizers(optimizer: Any, target: str) -> None:
    loss, start, minimizer = TARGETS[target]
    params = end(optimizer, loss, arrays(start, jnp.float32), 30_000)
    for p, expected in zip(
        jax.tree.leaves(params), minimizer if isinstance(minimizer, tuple) else [minimizer], strict=True
    ):
        np.testing.assert_allclose(p, expected, rtol=3e-2, atol=3e-2)


A = 1 + 1j
COMPLEX = {
    "parabola": (distance(A * np.array(PARABOLA[1])), PARABOLA[0], A * np.array(PARABOLA[1])),
    "rosenbrock": (rosenbrock(A), [0.0, 0.0], np.array([A, A**2])),
}


@each_optimizer
@pytest.mark.parametrize("target", COMPLEX)
def test_optimization(optimizer: Any, target: str) -> None:
    loss, start, minimizer = COMPLEX[target]
    params = end(optimizer, loss, jnp.asarray(start, jnp.complex64), 10_000)
    np.testing.assert_allclose(params, minimizer, rtol=3e-2, atol=3e-2)


@each_optimizer
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"])
def test_state_shape_dtype_shard_stability(optimizer: Any, dtype: str) -> None:
    with jax.enable_x64(dtype in ("float64", "complex128")):
        params = jnp.asarray(PARABOLA[0], dtype)
        state = optimizer.init(params)

        def step(coin: Any, params: Any, state: Any) -> Any:
            # The branches of a cond must agree in structure, shape and dtype.
            return jax.lax.cond(
                coin, lambda: optimizer.update(params, state, params), lambda: (params, state)
            )

        for coin in (True, False, True):
            updates, state = jax.jit(step)(coin, params, state)
            params = optax.apply_updates(params, updates)
        assert updates.dtype == params.dtype == dtype


@pytest.mark.parametrize("make", [inna.jax.inna, inna.jax.innaprop])
def test_optimizers_accept_learning_rate_schedule_if_type_annotated_as_such(make: Any) -> None:
    loss, start, _ = TARGETS["parabola"]
    params = arrays(start, jnp.float32)
    scheduled, fixed = (end(make(lr), loss, params, 10) for lr in (optax.constant_schedule(1e-3), 1e-3))
    np.testing.assert_allclose(scheduled, fixed, rtol=1e-6)


@each_optimizer
def test_init_with_abstract_input(optimizer: Any) -> None:
    params = {"w": jax.ShapeDtypeStruct((2, 4, 8), jnp.bfloat16)}
    from_shapes, concrete = optimizer.init(params), optimizer.init({"w": jnp.ones((2, 4, 8), jnp.bfloat16)})
    jax.tree.map(np.testing.assert_array_equal, from_shapes, concrete)


ON_8_DEVICES = """
import jax, inna, numpy as np, optax
from jax import numpy as jnp
mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
v = jnp.arange(64.0, dtype=jnp.float16).reshape(2, 8, 4) / 64
types = lambda state: jax.tree.map(jax.typeof, state)
for optimizer in (inna.jax.inna(0.1, weight_decay=0.1), inna.jax.innaprop(0.1)):
    whole, _ = optimizer.update(v, optimizer.init(v), v)
    with jax.set_mesh(mesh):
        params = jax.device_put(v, jax.NamedSharding(mesh, jax.P(None, "x")))
        state = optimizer.init(params)
        updates, after = optimizer.update(params, state, params)
        jitted, after_jitted = jax.jit(optimizer.update)(params, state, params)
        assert jax.typeof(state.momentum_buffer).sharding == jax.typeof(params).sharding
        assert jax.typeof(updates) == jax.typeof(jitted) == jax.typeof(params)
        assert types(state) == types(jax.jit(optimizer.init)(params)) == types(after) == types(after_jitted)
        np.testing.assert_allclose(np.asarray(jitted), np.asarray(whole), rtol=2e-3)
    print("sharded")
"""


@pytest.mark.skipif(
    not hasattr(jax.sharding, "AxisType") or not hasattr(jax, "set_mesh"),
    reason="shardings are part of types in newer versions of JAX",
)
def test_state_sharding_type_preserved_with_jit() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_8_DEVICES],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.split() == ["sharded", "sharded"], done.stderr


PARITY = Path(__file__).parents[1] / "docs" / "optax_parity.md"
ROWS = re.findall(r"^\| `(\S+)::(test_\w+)` \| (.+?) \|$", PARITY.read_text(), flags=re.MULTILINE)


def test_every_upstream_test_has_a_twin_or_a_reason(request: pytest.FixtureRequest) -> None:
    collected = {(item.path.stem, getattr(item, "originalname", "")) for item in request.session.items}
    for _, name, twin in ROWS:
        own = re.match(r"`tests/(\w+)\.py::(\w+)`", twin)
        assert own or twin.startswith("none: "), name
        if own and own[1] in {module for module, _ in collected}:
            assert own.groups() in collected, f"the twin of {name} was not collected"
        elif own:
            assert f"def {own[2]}(" in (Path(__file__).parent / f"{own[1]}.py").read_text()


def test_the_table_names_every_upstream_test() -> None:
    version = re.search(r"optax (\d+\.\d+\.\d+)", PARITY.read_text())
    assert version
    if optax.__version__ != version[1]:
        pytest.skip(f"the table is that of optax {version[1]}, not {optax.__version__}")
    for file in sorted({file for file, _, _ in ROWS}):
        upstream = (Path(optax.__file__).parent / file).read_text()
        assert set(re.findall(r"def (test_\w+)\(", upstream)) == {name for f, name, _ in ROWS if f == file}


REGISTERED = """
import inna.jax
contrib.inna, contrib.innaprop = inna.jax.inna, inna.jax.innaprop
plain = {"wrapper_name": None, "wrapper_kwargs": None}
_MAIN_OPTIMIZERS_UNDER_TEST = [
    {"opt_name": "inna", "opt_kwargs": {"learning_rate": 5e-3}, **plain},
    {"opt_name": "innaprop", "opt_kwargs": {"learning_rate": 5e-3, "weight_decay": 0.0}, **plain},
    {
        "opt_name": "inna", "opt_kwargs": {"learning_rate": 1e-2, "initial_speed": 0.1},
        "wrapper_name": "schedule_free", "wrapper_kwargs": {"learning_rate": 1e-2},
    },
]
_ALL_OPTIMIZERS_UNDER_TEST = tuple(_MAIN_OPTIMIZERS_UNDER_TEST)
"""


def test_optax_own_common_tests_pass_with_inna_registered(tmp_path: Path) -> None:
    source = (Path(optax.__file__).parent / "contrib" / "_common_test.py").read_text()
    head, rest = (
        source.partition("_MAIN_OPTIMIZERS_UNDER_TEST")[0],
        source.partition("def _get_opt_factory")[2],
    )
    (tmp_path / "common_test.py").write_text(f"{head}{REGISTERED}\ndef _get_opt_factory{rest}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "common_test.py"],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
