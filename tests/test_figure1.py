import numpy as np
import pytest

from inna.lab.gallery import figure1


@pytest.mark.parametrize("panel", figure1.PRINTED, ids=lambda panel: panel.name)
def test_lies_on_the_printed_curve(panel: figure1.Case) -> None:
    iteration, printed = figure1.printed_curves()[panel.name]
    ours = np.log10(figure1.trajectory(panel.alpha, panel.beta)[iteration, 2])
    above = printed > -6
    assert above.sum() >= 170
    assert np.abs(ours - printed)[above].max() <= 0.001


@pytest.mark.parametrize("panel", figure1.CAPTIONED[:2], ids=lambda panel: panel.name)
def test_the_captions_values_do_not_give_the_printed_curve(panel: figure1.Case) -> None:
    iteration, printed = figure1.printed_curves()[panel.name]
    ours = np.log10(figure1.trajectory(panel.alpha, panel.beta)[iteration, 2])
    assert np.abs(ours - printed)[printed > -6].max() > 1


@pytest.mark.parametrize(
    ("alpha", "beta", "at_10_000", "at_60_000"),
    [(0.5, 0.1, 1.996981152040, 0.2530331405009), (1.3, 0.1, 2.052013276962, 0.4353601423017)],
)
def test_check_values(alpha: float, beta: float, at_10_000: float, at_60_000: float) -> None:
    objective = figure1.trajectory(alpha, beta, initial_speed=beta, steps=60_000)[:, 2]
    assert objective[10_000] == pytest.approx(at_10_000, rel=1e-9)
    assert objective[60_000] == pytest.approx(at_60_000, rel=1e-9)


def test_the_subgradient_is_the_gradient_where_there_is_one() -> None:
    step = 1e-6
    for x, y in [(-1.0, 1.5), (0.4, 0.1), (1.7, -0.2)]:
        _, dx, dy = figure1.objective(x, y)
        numeric_dx = (figure1.objective(x + step, y)[0] - figure1.objective(x - step, y)[0]) / (2 * step)
        numeric_dy = (figure1.objective(x, y + step)[0] - figure1.objective(x, y - step)[0]) / (2 * step)
        assert (dx, dy) == pytest.approx((numeric_dx, numeric_dy), abs=1e-6)


def test_starts_at_the_black_cross() -> None:
    assert figure1.trajectory(0.3, 0.1, steps=0).tolist() == [[-1.0, 1.5, 27.0]]
