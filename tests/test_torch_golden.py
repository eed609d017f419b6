"""INNA and INNAprop for PyTorch follow the golden path that every framework is held to."""

import pytest

from golden import GRADIENTS, RATES, START, TOLERANCE, assert_golden, golden_path
from inna import schedules

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
from inna.torch import INNA, INNAprop  # noqa: E402

pytestmark = [
    pytest.mark.parametrize("dtype", TOLERANCE),
    pytest.mark.parametrize("rate", RATES),
    pytest.mark.parametrize("decay", [0.0, 0.1]),
    pytest.mark.parametrize("foreach", [False, True]),
]


def path_of(make, rate, dtype, **options):
    theta = torch.nn.Parameter(torch.tensor(START, dtype=getattr(torch, dtype)))
    optimizer = make([theta], lr=0.05 if rate == "constant" else 0.2, **options)
    f = schedules.constant() if rate == "constant" else schedules.power(0.5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, f)
    path = []
    for v in torch.tensor(GRADIENTS, dtype=theta.dtype):
        theta.grad = v
        optimizer.step()
        scheduler.step()
        path.append(theta.detach().double().clone())
    return torch.stack(path).numpy()


@pytest.mark.parametrize("speed", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (2.0, 1.0)])
def test_500_steps_of_inna_follow_the_paper(alpha, beta, speed, decay, rate, dtype, foreach):
    expected = golden_path(RATES[rate], alpha=alpha, beta=beta, speed=speed, decay=decay)
    options = {
        "alpha": alpha,
        "beta": beta,
        "initial_speed": speed,
        "weight_decay": decay,
        "foreach": foreach,
    }
    assert_golden(path_of(INNA, rate, dtype, decoupled_weight_decay=True, **options), expected, dtype)


@pytest.mark.parametrize("speed", [None, 0.0, 1.0])
def test_500_steps_of_innaprop_follow_its_paper(speed, decay, rate, dtype, foreach):
    start = 0.9 if speed is None else speed
    expected = golden_path(RATES[rate], alpha=0.1, beta=0.9, speed=start, decay=decay, rms=True)
    path = path_of(INNAprop, rate, dtype, initial_speed=speed, weight_decay=decay, foreach=foreach)
    assert_golden(path, expected, dtype)
