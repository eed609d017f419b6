"""The page with which Figure 1 is played: in a browser, against the laboratory's own trajectories."""

import base64
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from inna.dynamics import DIN, energy, lambda_range
from inna.lab.gallery import explorer, figure1
from inna.nonsmooth import FiniteSum

Array = NDArray[np.float64]
EVERY = 25  # of the points is compared
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


class Player:
    """The page in a browser; whatever it complains of ends up in `complaints`."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "request", lambda request: self.complaints.append(request.url) if request.url[:4] == "http" else 0
        )
        page.goto(path.as_uri())

    def points(self, panel: int) -> Array:
        """Every so many-th point of a panel's trajectory, once what was asked for has been drawn."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        flat = self.page.evaluate(
            f"Array.from(explorer.panels[{panel}].points).filter((_, i) => Math.floor(i / 3) % {EVERY} === 0)"
        )
        return np.array(flat).reshape(-1, 3)

    def picture(self, selector: str) -> Array:
        """The pixels of a canvas on white, RGB."""
        url = self.page.evaluate(f"document.querySelector('{selector}').toDataURL()")
        png = matplotlib.image.imread(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        return np.asarray(png[..., :3] * png[..., 3:] + 1 - png[..., 3:], float)


@pytest.fixture
def player(browser: Any, tmp_path: Path) -> Iterator[Player]:
    page = browser.new_page()
    page.set_viewport_size(DESKTOP)
    yield Player(page, explorer.write(tmp_path))
    page.close()


def ours(alpha: float, beta: float, **options: Any) -> Array:
    return figure1.trajectory(alpha, beta, **options)[::EVERY]


def test_the_first_picture_is_figure_1_to_the_bit(player: Player) -> None:
    for i, panel in enumerate(figure1.PRINTED):
        assert (player.points(i) == ours(panel.alpha, panel.beta)).all()
    assert player.complaints == []


@pytest.mark.parametrize("i", [0, 1, 2])
def test_what_is_drawn_is_the_trajectory_in_the_papers_colour(player: Player, i: int) -> None:
    panel = figure1.PRINTED[i]
    pixels = player.picture(f"#panel-{panel.name}")
    area = player.page.evaluate(f"explorer.panels[{i}].plot.area")
    points = figure1.trajectory(panel.alpha, panel.beta)[::8]
    column = area["left"] + (points[:, 0] + 2.2) / 4.4 * area["width"]
    row = area["top"] + (2.2 - points[:, 1]) / 2.4 * area["height"]
    ink = 1 - np.array(to_rgb(panel.color))
    strength = (1 - pixels) @ ink / (ink @ ink)
    chroma = pixels.max(-1) - pixels.min(-1)
    colored = (
        (strength > 0.3) & (chroma > 0.15) & (np.abs(1 - pixels - strength[..., None] * ink).max(-1) < 0.2)
    )
    assert colored.sum() > 200
    ys, xs = np.nonzero(colored)
    away = [np.hypot(column - x - 0.5, row - y - 0.5).min() for x, y in zip(xs, ys, strict=True)]
    assert max(away) < 2  # no ink where the trajectory is not
    clear = np.hypot(column - column[0], row - row[0]) > 8  # the black cross lies on top
    near = [
        colored[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2].any()
        for x, y in zip(column[clear][::20], row[clear][::20], strict=True)
    ]
    assert all(near)  # and ink wherever it is


def test_the_sliders_change_the_data_and_the_picture_at_once(player: Player) -> None:
    for name in ("alpha", "beta", "lr", "x", "y", "speed"):
        before = player.points(0), player.picture("#panel-a"), player.picture("#objective")
        player.page.locator(f"#{name}").press("ArrowRight")
        setting = player.page.evaluate("explorer.panels[0].setting")
        after = player.points(0), player.picture("#panel-a"), player.picture("#objective")
        assert all((b != a).any() for b, a in zip(before, after, strict=True)), name
        expected = ours(
            setting["alpha"],
            setting["beta"],
            start=(setting["x"], setting["y"]),
            initial_speed=setting["speed"],
            lr=setting["lr"],
        )
        assert (after[0] == expected).all()
        assert float(player.page.input_value(f"#{name}-value")) == setting[name]
    assert (player.points(1) == ours(0.3, 0.1)).all()  # the other panels stay as they are
    assert player.complaints == []


def test_a_number_can_be_typed_for_the_panel_that_is_chosen(player: Player) -> None:
    player.page.click("#panel-c")
    player.page.fill("#alpha-value", "0.7")
    assert (player.points(2) == ours(0.7, 0.1)).all()
    assert player.page.inner_text("#caption-c") == "α = 0.7, β = 0.1"
    assert player.page.inner_text("#said").startswith("(c) ends at (")
    player.page.fill("#alpha-value", "-1")
    assert (player.points(2) == ours(0.7, 0.1)).all()
    assert (
        player.page.evaluate("document.getElementById('alpha-value').validationMessage") == "between 0 and 4"
    )
    player.page.click("#captions")
    assert (player.points(0) == ours(0.5, 0.01)).all()
    player.page.click("#printed")
    assert (player.points(2) == ours(1.3, 0.1)).all()
    assert player.complaints == []


def test_a_setting_that_diverges_says_so_and_harms_nothing(player: Player) -> None:
    player.page.fill("#lr-value", "0.1")
    player.points(0)
    assert "(a) diverges" in player.page.inner_text("#said")
    player.page.click("#printed")
    assert (player.points(0) == ours(0.3, 0.01)).all()
    assert player.complaints == []


def test_on_a_phone_nothing_sticks_out_and_the_controls_are_in_view(player: Player) -> None:
    player.page.set_viewport_size(PHONE)
    player.page.reload()
    assert player.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for selector in ("#panel-a", "#objective", "#energies", "#fit", "#alpha", "#speed-value", "#captions"):
        box = player.page.locator(selector).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    bottom = player.page.locator("#controls").bounding_box()
    assert bottom["y"] + bottom["height"] <= PHONE["height"]
    assert player.picture("#panel-a").min() < 0.5
    assert player.complaints == []


def test_turning_the_phone_draws_again(player: Player) -> None:
    wide = player.picture("#panel-a")
    player.page.set_viewport_size(PHONE)
    player.points(0)
    narrow = player.picture("#panel-a")
    assert narrow.shape[1] < wide.shape[1]
    assert narrow.shape[1] == round(player.page.locator("#panel-a").bounding_box()["width"])
    assert narrow.min() < 0.5


def view(player: Player) -> list[list[float]]:
    """What the trajectories show, once it has been drawn."""
    player.points(0)
    limits: list[list[float]] = player.page.evaluate(
        "[explorer.panels[1].plot.xlim, explorer.panels[1].plot.ylim]"
    )
    return limits


def test_the_minimum_is_marked_with_a_ring(player: Player) -> None:
    player.page.uncheck("#continuous")
    player.page.fill("#x-value", "-2")  # (a) now ends elsewhere
    player.page.fill("#lr-value", "0.000001")
    player.points(0)
    dark = player.picture("#panel-a").max(-1) < 0.4
    area = player.page.evaluate("explorer.panels[0].plot.area")
    column = area["left"] + (1 + 2.2) / 4.4 * area["width"]
    row = area["top"] + (2.2 - 1) / 2.4 * area["height"]
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        x, y = int(column + 6 * np.cos(angle)), int(row + 6 * np.sin(angle))
        assert dark[y - 1 : y + 2, x - 1 : x + 2].any()
    assert player.complaints == []


@pytest.mark.parametrize("i", [0, 1, 2])
def test_beside_inna_lies_the_solution_of_the_continuous_system(player: Player, i: int) -> None:
    player.points(i)
    found = np.array(player.page.evaluate(f"Array.from(explorer.panels[{i}].path)")).reshape(-1, 2)
    t = np.linspace(0, figure1.STEPS * figure1.LR, len(found))[::400]
    J = FiniteSum([lambda p: 100 * (p[1] - abs(p[0])) ** 2 + abs(1 - p[0])])
    panel = figure1.PRINTED[i]
    exact = DIN.of(J, panel.alpha, panel.beta).solve_inclusion([-1.0, 1.5], t, initial_speed=0.1)
    np.testing.assert_allclose(found[::400], exact.theta, atol=1e-6)
    with_it = player.picture(f"#panel-{panel.name}")
    player.page.uncheck("#continuous")
    assert (with_it != player.picture(f"#panel-{panel.name}")).any()


def test_a_solution_that_slides_into_the_minimum(player: Player) -> None:
    player.page.click("#panel-c")
    for name, value in (("lr", 0.0005), ("x", 0.6), ("y", 0.6), ("beta", 0.3)):
        player.page.fill(f"#{name}-value", str(value))
    player.points(2)
    found = np.array(player.page.evaluate("Array.from(explorer.panels[2].path)")).reshape(-1, 2)
    np.testing.assert_allclose(found[-1], [1, 1], atol=1e-4)
    t = np.linspace(0, 44, len(found))[::4400]
    J = FiniteSum([lambda p: 100 * (p[1] - abs(p[0])) ** 2 + abs(1 - p[0])])
    exact = DIN.of(J, 1.3, 0.3).solve_inclusion([0.6, 0.6], t, initial_speed=0.1)
    np.testing.assert_allclose(found[::4400], exact.theta, atol=1e-6)


def test_the_energies_are_those_of_section_3(player: Player) -> None:
    player.page.click("#panel-b")
    points = player.points(1)
    E, E_max, E_min = (
        np.array(player.page.evaluate(f"Array.from(explorer.panels[1].energies[{k}])"))[::EVERY]
        for k in range(3)
    )
    panel = figure1.PRINTED[1]
    kinetic = E - 2 * (1 + panel.alpha * panel.beta) * points[:, 2]
    low, high = lambda_range(panel.alpha, panel.beta)
    np.testing.assert_allclose(E_max, high * points[:, 2] + kinetic / 2, rtol=1e-9)
    np.testing.assert_allclose(E_min, low * points[:, 2] + kinetic / 2, rtol=1e-9)
    np.testing.assert_allclose(E_min + E_max, E, rtol=1e-9)
    v = np.array(figure1.objective(-1.0, 1.5)[1:])
    assert E[0] == pytest.approx(float(energy(27.0, (0.1 - panel.beta) * v, panel.alpha, panel.beta)))
    assert (np.diff(E) < 1e-3).all()
    assert player.page.inner_text("#energies-of") == "b"
    assert player.picture("#energies").min() < 0.5


def test_one_can_zoom_fit_drag_and_come_back(player: Player) -> None:
    whole = view(player)
    assert whole == [[-2.2, 2.2], [-0.2, 2.2]]
    player.page.click("#zoom-in")
    assert view(player) == pytest.approx(np.array([[-1.1, 1.1], [0.4, 1.6]]))
    player.page.click("#zoom-out")
    player.page.click("#fit")
    (left, right), (bottom, top) = view(player)
    points = player.points(0)
    assert left < points[:, 0].min() < left + 0.3
    assert right - 0.3 < points[:, 0].max() < right
    assert bottom < points[:, 1].min() < bottom + 0.3
    assert top - 0.3 < points[:, 1].max() < top
    player.page.click("#reset")
    box = player.page.locator("#panel-b").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    player.page.mouse.move(x, y)
    player.page.mouse.down()
    player.page.mouse.move(x + 30, y, steps=3)
    player.page.mouse.up()
    (left, right), vertical = view(player)
    assert left < -2.4
    assert right - left == pytest.approx(4.4)
    assert vertical == pytest.approx([-0.2, 2.2])
    player.page.keyboard.down("Control")
    player.page.mouse.wheel(0, -100)
    player.page.keyboard.up("Control")
    assert np.diff(view(player)[0])[0] < 4.0
    player.page.click("#reset")
    assert view(player) == whole
    assert player.complaints == []


def test_the_page_needs_nothing_else() -> None:
    page = explorer.page()
    assert re.findall(r'(?:src|href)="(?!data:,")[^"]*"', page) == []
    assert "default-src 'none'" in page
    assert not re.search(r"https?://", page)


def test_the_page_escapes_what_it_shows(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "</script><script>window.stolen = 1</script><b id=stolen>"
    first = figure1.PRINTED[0]
    panels = (figure1.Case(first.name, first.alpha, first.beta, first.color, first.linestyle),)
    monkeypatch.setattr(explorer, "__version__", hostile)
    monkeypatch.setattr(explorer, "to_hex", lambda color: hostile)
    monkeypatch.setattr(figure1, "PRINTED", panels)
    page = browser.new_page()
    page.goto(explorer.write(tmp_path).as_uri())
    assert page.evaluate("[window.stolen, document.querySelectorAll('b').length]") == [None, 0]
    assert hostile in page.inner_text("footer")
    page.close()


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    done = subprocess.run(
        [sys.executable, "-m", "inna", "explorer", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out / 'explorer.html'}\n", "")
    assert (out / "explorer.html").read_text() == explorer.page()
