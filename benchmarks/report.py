"""Time to load the records of a thousand runs, draw their figures and write the report, and their sizes.

Run it with `python benchmarks/report.py [--runs N] [--epochs N]`: it makes up the records of a plan with ten
optimizers, a grid of ten steps and five seeds on as many problems as the runs need. With Chromium and
Playwright it opens the report as a phone would: 390 pixels wide, the processor at a quarter of its speed.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from inna.lab import archive, export, plan, protocol
from inna.lab.records import Record, RunFolder
from inna.lab.reporting.page import publish


class MadeUp:
    """Writes plausible records instead of training."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def execute(self, runs: list[plan.Run], description: str) -> None:
        for run in runs:
            left = RunFolder.of(run, self.root)
            left.path.mkdir(parents=True)
            left.describe({"run": run.model_dump(mode="json"), "data": {"sha256": ""}})
            left.log.write_text("".join(f"{json.dumps(record)}\n" for record in made_up(run)))

    def records(self, run: plan.Run) -> list[Record]:
        return RunFolder.of(run, self.root).records()


def made_up(run: plan.Run) -> list[Record]:
    noise = np.random.default_rng(run.seed).normal(0, 0.05, run.epochs + 1)
    rate = 0.02 / (1 + abs(np.log10(run.lr / 0.05)))
    every = run.evaluate is plan.Evaluation.every_epoch
    return [
        {
            "epoch": epoch,
            "train_loss": loss if every or epoch == run.epochs else None,
            "train_loss_running": 1.1 * loss,
            "train_accuracy": 1 - loss / 3,
            "test_loss": 1.2 * loss,
            "test_accuracy": 1 - loss / 2.5,
            "lr": run.lr,
            "diverged": False,
            "seconds": 1.0,
            "time": "2026-01-01T00:00:00+00:00",
            "host": "made up",
            "process": 1,
            "worker": "1",
        }
        for epoch, loss in enumerate(2.3 * np.exp(-rate * np.arange(run.epochs + 1) + noise))
    ]


def opened(report: Path) -> str:
    """Seconds until a phone shows the report's text, and until it can be used."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        chromium = None
    if chromium is None:
        return "not opened: needs Chromium and Playwright"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        size: Any = {"width": 390, "height": 844}
        context = browser.new_context(viewport=size, is_mobile=True, has_touch=True, offline=True)
        page = context.new_page()
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
        page.goto(f"file://{report}", wait_until="load", timeout=300_000)
        shown, usable = page.evaluate(
            "[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]"
        )
        browser.close()
    return f"opened on a phone: text after {shown / 1e3:.1f} s, to be used after {usable / 1e3:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=200)
    arguments = parser.parse_args()
    paper = plan.load("paper")
    problem = paper.problems[1]
    count = max(1, round(arguments.runs / 550))
    made = paper.model_copy(
        update={
            "problems": tuple(problem.model_copy(update={"test": 10_000 - i}) for i in range(count)),
            "epochs": arguments.epochs,
            "max_extensions": 0,
        }
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        protocol.reproduce(made, MadeUp(folder / "runs"), [2, 3, 4])
        logs = list(folder.rglob("records.jsonl"))
        lines = sum(log.read_bytes().count(b"\n") for log in logs)
        print(f"{len(logs)} runs, {lines:,} epochs")
        started, worked = time.perf_counter(), time.process_time()
        results, _ = archive.results(folder, made)
        loaded = time.perf_counter()
        publish(folder, made, results)
        published, work = time.perf_counter(), time.process_time() - worked
        export.write(folder, "csv")
        exported = time.perf_counter()
        size = (folder / "report.html").stat().st_size / 1e6
        print(f"load {loaded - started:.1f} s")
        print(f"figures and a report of {size:.1f} MB {published - loaded:.1f} s")
        print(f"both {published - started:.1f} s, of which the processor worked {work:.1f} s")
        print(opened(folder / "report.html"))
        print(f"export to CSV {exported - published:.1f} s")


if __name__ == "__main__":
    main()
