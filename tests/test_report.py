import base64
import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from here import Here
from inna import cli
from inna.lab import archive, data, export, plan, protocol, records
from inna.lab.reporting import figures
from inna.lab.reporting.page import publish
from made_results import result as made
from short_plan import until

HOSTILE = "<script>alert(1)</script><b>&$k^-1"
CONTENT: dict[str, Any] = {
    "name": "test",
    "description": "<img src=x onerror=alert(2)>",
    "problems": [{"dataset": "digits", "network": "small", "train": 100, "test": 50}],
    "settings": [
        {"label": "INNA a", "role": "candidate", "optimizer": "inna.torch.INNA", "q": 0.5},
        {"label": HOSTILE, "optimizer": "torch.optim.SGD", "options": {"momentum": 0.5}},
        {"label": "ADAM", "optimizer": "torch.optim.Adam"},
    ],
    "decays": [0.25],
    "epochs": 3,
    "selection_epochs": 1,
    "grid": [0.01, 0.1],
    "max_extensions": 1,
    "seeds": [0, 1],
}
PLAN = plan.validated(plan.Plan, CONTENT)
DIGITS = data.load("digits", train=100, test=50)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a plan that has come to its end, with its report."""
    folder = tmp_path_factory.mktemp("done")
    archive.keep_plan(folder, PLAN)
    publish(folder, PLAN, protocol.reproduce(PLAN, Here(folder / "runs", DIGITS), [2, 3, 4]))
    return folder


def panels(folder: Path) -> int:
    """How many plots a report has."""
    found, _ = archive.results(folder, PLAN)
    return sum(len(column) for picture in figures.pictures(PLAN, found) for column in picture.columns)


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "out"))


@dataclass
class Told:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def inna(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """The command line, in this process: importing torch takes longer than what is tested."""

    def command(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["inna", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.run()
        written = capsys.readouterr()
        return Told(int(end.value.code or 0), written.out, written.err)

    return command


class Reader(HTMLParser):
    """Collects what a page would load from elsewhere, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_needs_nothing_else_says_what_it_is_and_escapes(done: Path) -> None:
    page = (done / "report.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert reader.loads
    assert all(load.startswith("data:") for load in reader.loads)
    assert HOSTILE not in page
    assert "<img" not in page
    text = re.sub(r"\s+", " ", reader.text)
    assert "<h1>The test plan</h1>" in page
    assert f"torch {version('torch')}" in text
    for fact in (
        "momentum = 0.5",
        "γ₀ (k + 1)^-0.5",
        "test loss",
        "Leaderboard",
        "first 100 training images",
        "small",
        "3 epochs",
        "2 seeds",
        HOSTILE,
    ):
        assert fact in text


DRAWN = "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))"


def opened(page: Any, folder: Path) -> None:
    page.set_default_timeout(120_000)  # a busy machine is no failure
    page.goto(f"file://{folder}/report.html")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # else only what is looked at is drawn
    until(lambda: page.evaluate(DRAWN))  # `wait_for_function` needs eval, which the page forbids


@pytest.fixture(scope="module")
def page(done: Path, browser: Any) -> Iterator[Any]:
    """The report in a browser, on a desk."""
    page = browser.new_page()
    opened(page, done)
    yield page
    page.close()


@pytest.mark.parametrize("width", [1280, 360])
def test_the_plots_are_drawn_without_errors_or_requests_and_fit(done: Path, browser: Any, width: int) -> None:
    page = browser.new_page()
    page.set_viewport_size({"width": width, "height": 740})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    opened(page, done)
    counts = (
        "[...document.querySelectorAll('.plot')].map(plot => plot.querySelectorAll('path.js-line').length)"
    )
    curves = page.evaluate(counts)
    assert len(curves) == panels(done)
    assert min(curves) >= 2
    edges = "[...document.querySelectorAll('.plot')].map(plot => plot.getBoundingClientRect().right)"
    assert max(page.evaluate(edges)) <= width
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [f"file://{done}/report.html"]
    page.close()


def test_on_a_phone_every_opened_table_fits(done: Path, browser: Any) -> None:
    page = browser.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, done)
    for summary in page.locator("summary").all():
        summary.click()
    page.locator(".under table").nth(panels(done) - 1).wait_for(state="attached")
    edges = "[...document.querySelectorAll('table, th, td')].map(one => one.getBoundingClientRect().right)"
    assert max(page.evaluate(edges)) <= 390
    wide = "[...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth).length"
    assert page.evaluate(wide) == 0
    cell = page.locator("table.cards td", has_text="torch.optim.Adam").first
    assert cell.evaluate("cell => getComputedStyle(cell, '::before').content") == '"optimizer"'
    page.close()


def test_a_plot_is_drawn_when_it_is_looked_at(done: Path, browser: Any) -> None:
    page = browser.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"file://{done}/report.html")
    last = page.locator(".plot").last
    assert last.locator(".main-svg").count() == 0
    last.scroll_into_view_if_needed()
    last.locator(".main-svg").first.wait_for()
    assert page.locator(".plot:not(:has(.main-svg))").count() > 0
    page.close()


def test_the_leaderboard_sorts_by_a_heading_both_ways(page: Any) -> None:
    board = page.locator("table.sortable")
    heading = board.locator("th", has_text="training loss")
    column = "rows => rows.slice(1).map(row => Number(row.cells[2].dataset.value))"
    losses = [sorted(board.locator("tr").evaluate_all(column))]
    assert len(losses[0]) == 4
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert board.locator("tr").evaluate_all(column) == losses[0]
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert board.locator("tr").evaluate_all(column) == losses[0][::-1]


def test_a_label_with_html_is_shown_and_inert(page: Any) -> None:
    assert HOSTILE in page.locator(".legendtext").all_text_contents()
    assert HOSTILE in page.locator("td").all_text_contents()
    assert page.locator("img, b").count() == 0
    assert page.locator("script:not([type])").count() == 3  # tables, plotly.js and the page's own


def test_a_figures_data_is_one_click_away(done: Path, page: Any) -> None:
    figure = page.locator(".plots > figure", has=page.locator("a[download='figure3-1.csv']"))
    with page.expect_download() as started:
        figure.locator("a[download]").click()
    rows = list(csv.DictReader(io.StringIO(Path(started.value.path()).read_text())))
    results, _ = archive.results(done, PLAN)
    for curve in results[0].compared:
        mine = [row for row in rows if row["curve"] == curve.setting.label]
        losses = curve.series("train_loss")
        for name, known in (
            ("training loss J", losses.mean(axis=0)),
            ("lowest", losses.min(axis=0)),
            ("highest", losses.max(axis=0)),
        ):
            assert [float(row[name]) for row in mine] == pytest.approx(list(known), rel=1e-4)
    figure.locator("summary").click()
    shown = figure.locator("table tr")
    shown.first.wait_for()
    assert shown.count() == len(rows) + 1
    assert shown.nth(1).locator("td").all_text_contents() == list(rows[0].values())


def test_the_axis_is_linear_at_a_click_and_a_curve_can_be_hidden(page: Any) -> None:
    figure = page.locator(".plots > figure", has=page.locator("a[download='figure3-1.csv']"))
    plot = figure.locator(".plot")
    assert plot.evaluate("plot => plot.layout.yaxis.type") == "log"
    figure.locator(".scale").uncheck()
    until(lambda: plot.evaluate("plot => plot.layout.yaxis.type") == "linear")
    figure.locator(".legendtoggle").first.click()
    hidden = "plot => plot.data.filter(t => t.visible === 'legendonly').length === 2"  # with its band
    until(lambda: plot.evaluate(hidden))


def test_the_report_of_what_is_on_the_disk_is_that_of_the_run(copy: Path, inna: Callable[..., Told]) -> None:
    pages = ("report.html", "results.json", "figure3.svg", "sensitivity.png")
    before = {name: (copy / name).read_bytes() for name in pages}
    for name in pages:
        (copy / name).unlink()
    logs = {log: log.read_bytes() for log in copy.rglob("records.jsonl")}
    told = inna("report", str(copy))
    assert (told.returncode, told.stderr) == (0, "")
    assert {name: (copy / name).read_bytes() for name in pages} == before
    assert {log: log.read_bytes() for log in copy.rglob("records.jsonl")} == logs
    assert "report.html" in told.stdout
    assert json.loads(before["results.json"])["plan"] == PLAN.model_dump(mode="json")


def test_the_report_of_an_unfinished_plan_says_what_is_missing(copy: Path, inna: Callable[..., Told]) -> None:
    chosen = next(c.lr for c in archive.results(copy, PLAN)[0][0].curves if c.setting.label == "ADAM")
    assert chosen is not None
    adam = PLAN.settings[2]
    long = [PLAN.long_run(PLAN.problems[0], adam, chosen, seed).folder for seed in PLAN.seeds]
    short = PLAN.selection_run(PLAN.problems[0], PLAN.settings[1], 0.1, 1).folder
    log = copy / "runs" / long[0] / "records.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]) + b'{"epoch": 3, "tr')
    shutil.rmtree(copy / "runs" / long[1])
    shutil.rmtree(copy / "runs" / short)
    told = inna("report", str(copy))
    assert (told.returncode, told.stderr) == (0, "")
    said = "digits-small is not at its end. Runs that are not complete: 1 that choose γ₀ and 2 of all epochs"
    assert said in told.stdout
    reader = Reader()
    reader.feed((copy / "report.html").read_text())
    text = re.sub(r"\s+", " ", reader.text)
    assert said in text
    assert "γ0 is not chosen yet" in text
    assert "1 of 2 epochs" in text
    assert "ADAM in training loss after 2 epochs" in text
    shutil.rmtree(copy / "runs")
    assert inna("report", str(copy)).returncode == 0


@pytest.mark.parametrize("command", ["report", "export"])
def test_a_folder_without_experiments_is_one_line(
    tmp_path: Path, command: str, inna: Callable[..., Told]
) -> None:
    told = inna(command, str(tmp_path))
    assert told.returncode == 1
    assert told.stderr.startswith("inna: no ")
    assert "--out of an earlier command" in told.stderr
    assert told.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_damage_is_one_line_that_names_the_file(copy: Path, inna: Callable[..., Told]) -> None:
    log = next(copy.rglob("records.jsonl"))
    log.write_bytes(b"damage\n" + log.read_bytes())
    before = (copy / "report.html").read_bytes()
    for command in ("report", "export"):
        told = inna(command, str(copy))
        assert (told.returncode, told.stderr.count("\n")) == (1, 1)
        assert f"{log}, line 1, is damaged" in told.stderr
    assert (copy / "report.html").read_bytes() == before
    (copy / "plan.json").write_text("{")
    told = inna("report", str(copy))
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert "plan.json is damaged" in told.stderr


def test_every_record_is_read_once(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read = records.read

    def counted(path: Path) -> list[dict[str, Any]]:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(records, "read", counted)
    archive.results(done, PLAN)
    assert sorted(opened) == sorted((done / "runs").rglob("records.jsonl"))


def test_the_export_holds_every_record_once(copy: Path, inna: Callable[..., Told]) -> None:
    told = inna("export", str(copy))
    assert (told.returncode, told.stderr) == (0, "")
    rows = list(csv.DictReader((copy / "records.csv").open()))
    logs = sorted(copy.rglob("records.jsonl"))
    assert len(rows) == sum(len(records.read(log)) for log in logs)
    assert {row["problem"] for row in rows} == {"digits-small"}
    assert {row["setting"] for row in rows} == {"INNA a", HOSTILE, "ADAM", "INNA a, k^-1/4"}
    for row in rows:
        assert (row["options.momentum"] == "0.5") == (row["setting"] == HOSTILE)
    (one,) = [
        row
        for row in rows
        if (row["setting"], row["gamma_0"], row["seed"], row["epochs"], row["epoch"])
        == ("ADAM", "0.01", "1", "1", "1")
    ]
    run = PLAN.selection_run(PLAN.problems[0], PLAN.settings[2], 0.01, 1)
    record = records.read(copy / "runs" / run.folder / "records.jsonl")[1]
    assert float(one["train_loss"]) == record["train_loss"]
    assert (one["evaluate"], one["test_loss"]) == ("training loss at the end", "")


def test_the_export_to_parquet_is_the_same_table(copy: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    path = export.write(copy, "parquet")
    assert parquet.read_table(path).to_pylist() == export.table(copy)


def test_parquet_without_pyarrow_is_told_and_leaves_nothing(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"parquet needs pyarrow: pip install 'inna\[parquet\]'"):
        export.write(copy, "parquet")
    assert not list(copy.glob("*records.parquet*"))


def test_the_report_of_the_papers_plan_tells_the_distance_to_the_printed_curves(tmp_path: Path) -> None:
    papers = plan.load("paper", datasets=["cifar10"])
    publish(tmp_path, papers, [made(papers, epochs=20)])
    reader = Reader()
    page = (tmp_path / "report.html").read_text()
    reader.feed(page)
    assert "Distance to the paper's printed curves" in reader.text
    links = [load for load in reader.loads if load.startswith("data:text/csv")]
    tables = [base64.b64decode(link.partition("base64,")[2]).decode() for link in links]
    assert sum(",printed," in table for table in tables) == 6
