import subprocess
import sys
from pathlib import Path

import pytest

from inna.lab import records


def inna(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inna", *arguments], capture_output=True, text=True, timeout=120
    )


def digits(*arguments: str, out: Path) -> subprocess.CompletedProcess[str]:
    data = ["--dataset", "digits", "--network", "small", "--train-images", "100", "--test-images", "50"]
    return inna("train", *data, "--epochs", "2", "--out", str(out), *arguments)


def test_explain_says_what_a_setting_means() -> None:
    told = inna("explain", "--lr", "0.01", "--alpha", "0.5", "--beta", "0.1", "--curvature", "400")
    assert told.returncode == 0
    for fact in ("0.02", "0.995", "overdamped", "0.0853893", "stable"):
        assert fact in told.stdout


def test_train_records_a_run_and_is_quiet_without_a_terminal(tmp_path: Path) -> None:
    done = digits(
        "--lr", "0.5", "-o", "alpha=0.5", "-o", "beta=0.5", "-o", "decoupled_weight_decay=true", out=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary, path = done.stdout.splitlines()
    assert summary.startswith("epoch 2: training loss ")
    assert [record["epoch"] for record in records.read(Path(path))] == [0, 1, 2]
    again = digits(
        "--lr", "0.5", "-o", "alpha=0.5", "-o", "beta=0.5", "-o", "decoupled_weight_decay=true", out=tmp_path
    )
    assert again.stdout == done.stdout


def test_a_diverged_run_is_no_crash(tmp_path: Path) -> None:
    done = digits("--lr", "1e9", out=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("diverged in epoch 1: try a smaller lr than 1e+09")


def test_figure_1_needs_no_training(tmp_path: Path) -> None:
    done = inna("reproduce", "figure1", "--out", str(tmp_path))
    assert done.returncode == 0
    names = [Path(line).name for line in done.stdout.splitlines()]
    assert names == ["figure1.png", "figure1.svg", "figure1.csv", "report.html", "results.json"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)
    first = (tmp_path / "figure1.svg").read_bytes()
    inna("reproduce", "figure1", "--out", str(tmp_path))
    assert (tmp_path / "figure1.svg").read_bytes() == first


def test_the_version() -> None:
    assert inna("--version").stdout.startswith("0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "-1"], "lr: Input should be greater than 0, got -1.0"),
        (["--lr", "nan"], "lr: Input should be a finite number, got nan"),
        (["-o", "alpha=-0.5"], "alpha must be finite and non-negative, got -0.5"),
        (["-o", "beta=nan"], "beta must be finite and non-negative, got nan"),
        (["-o", "gamma=1"], "inna does not take these options"),
        (["-o", "alpha"], "an option is written name=value, got 'alpha'"),
        (["--q", "-1"], "q: Input should be greater than or equal to 0, got -1.0"),
        (["--optimizer", "lion"], "unknown optimizer 'lion'"),
        (["--network", "vgg"], "unknown network 'vgg': choose from nin, lenet5, small"),
        (["--network", "lenet5"], "lenet5 takes images of at least 16 x 16 pixels, got 8 x 8"),
        (["--dataset", "imagenet"], "unknown data set 'imagenet': choose from mnist5k, digits"),
        (["--dataset", "cifar10"], "name the folder that holds cifar-10-batches-bin/ with --data-dir"),
        (["--train-images", "9999"], "digits has 1297 training images, 9999 were asked for"),
        (["--device", "tpu9"], "device 'tpu9' is not to be had"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("INNA_DATA", str(tmp_path / "no data sets"))
    done = digits(*arguments, out=tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("inna: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "all", "--preset", "slow"], "unknown preset 'slow': choose from paper, quick"),
        (["reproduce", "figure2", "--preset", "paper"], "with --data-dir"),
        (["reproduce", "figure2", "--dataset", "mnist"], "unknown data set of quick 'mnist'"),
        (["explain", "--curvature", "0"], "curvature must be positive, got 0.0"),
        (["explain", "--alpha", "-1"], "alpha must be finite and non-negative, got -1.0"),
    ],
)
def test_other_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("INNA_DATA", str(tmp_path / "no data sets"))
    where = ["--out", str(tmp_path)] if arguments[0] == "reproduce" else []
    done = inna(*arguments, *where)
    assert done.returncode == 1
    assert done.stderr.startswith("inna: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["train", "reproduce"])
def test_an_unwritable_folder_is_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "out"
    done = digits(out=folder) if command == "train" else inna("reproduce", "figure1", "--out", str(folder))
    assert done.returncode == 1
    assert done.stderr.startswith("inna: ")
    assert str(tmp_path / "file") in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["reproduce", "figure9"], ["train"], ["explain", "--lr", "fast"]])
def test_wrong_usage_has_status_2(arguments: list[str]) -> None:
    done = inna(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
