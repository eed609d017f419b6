import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")

from inna.lab import data, records, tensorboard
from inna.lab.plan import Problem, Run
from inna.lab.running import training

DIGITS = data.load("digits", train=60, test=20)


def a_run(**change: Any) -> Run:
    fields: dict[str, Any] = {
        "problem": Problem(dataset="digits", network="small", train=60, test=20),
        "optimizer": "torch.optim.SGD",
        "options": {},
        "lr": 0.1,
        "init": "glorot_normal",
        "batch_size": 20,
        "epochs": 3,
        "seed": 0,
        "threads": 1,
        "device": "cpu",
        "evaluate": "every epoch",
    }
    return Run(**{**fields, **change})


def written(folder: Path, field: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(field)]


def test_what_tensorboard_shows_is_what_the_records_say(tmp_path: Path) -> None:
    long, short = a_run(), a_run(evaluate="training loss at the end")
    plain, shown = tmp_path / "plain", tmp_path / "shown"
    for run in (long, short):
        training.train(run, plain / "runs" / run.folder, DIGITS)
        mirror = tensorboard.Mirror(shown, every=3600)  # only when told

        def copy(_: int, mirror: tensorboard.Mirror = mirror) -> None:
            mirror.copy()

        with mirror:
            training.train(run, shown / "runs" / run.folder, DIGITS, on_epoch=copy)
    names = ("records.jsonl", "run.json")
    one, other = (records.read(out / "runs" / long.folder / names[0]) for out in (plain, shown))
    assert [r["train_loss"] for r in one] == [r["train_loss"] for r in other]
    assert {p.name for p in (shown / "runs").rglob("*") if p.is_file()} == set(names)
    for field in records.NUMBERS:
        expected = {r["epoch"]: r[field] for r in other if r[field] is not None}
        found = written(shown / "tensorboard" / long.folder, field)
        assert dict(found) == pytest.approx(expected)
        assert len(found) == len(expected)
    assert not (shown / "tensorboard" / short.folder).exists()


def test_after_an_interruption_nothing_occurs_twice(tmp_path: Path) -> None:
    run = a_run()
    training.train(run, tmp_path / "runs" / run.folder, DIGITS)
    for _ in range(2):
        with tensorboard.Mirror(tmp_path):
            pass
    assert [step for step, _ in written(tmp_path / "tensorboard" / run.folder, "train_loss")] == [0, 1, 2, 3]


def test_without_tensorboard_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'inna\[tensorboard\]'"):
        tensorboard.Mirror(tmp_path)
