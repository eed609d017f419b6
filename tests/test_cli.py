import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from inna.__main__ import main
from inna.lab import archive, plan, records

Done = subprocess.CompletedProcess[str]


def inna(*arguments: str) -> Done:
    """The command, in this process: a new one would import torch again each time."""
    output, errors, status = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        mock.patch("sys.argv", ["inna", *arguments]),
        mock.patch("sys.path", [*sys.path]),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def a_process(*arguments: str) -> Done:
    return subprocess.run([sys.executable, "-m", "inna", *arguments], capture_output=True, text=True)


OWN = ["--optimizer", "leaving.Own"]
LABELS = ("INNA [a=0.5]", "x [/]", "_hidden :smile:", "γ₀", "$a$")


def a_comparison(out: Path) -> list[str]:
    """The arguments of a comparison that takes a second, with labels that mean something elsewhere."""
    settings = [word for label in LABELS for word in ("--optimizer", f"sgd, label={label}")]
    short = ["--grid", "0.1", "--epochs", "1", "--selection-epochs", "1", "--seeds", "1"]
    return ["compare", *DIGITS, *settings, *short, "--out", str(out)]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    folder = tmp_path_factory.mktemp("compared")
    return folder, inna(*a_comparison(folder))


def test_labels_are_shown_as_they_are(compared: tuple[Path, Done]) -> None:
    folder, done = compared
    assert (done.returncode, done.stderr) == (0, "")
    for shown in (done, inna("report", str(folder)), inna("status", str(folder))):
        assert (shown.returncode, shown.stderr) == (0, "")
        for label in LABELS:
            assert f" {label} " in shown.stdout


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_narrow_encoding_of_the_output_ends_no_command(compared: tuple[Path, Done], encoding: str) -> None:
    folder, done = compared
    wide = [line for line in done.stdout.splitlines() if "γ" in line]
    assert wide
    narrow = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "inna", "report", str(folder)]
    shown = subprocess.run(command, env=narrow, capture_output=True)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert ("γ₀" in shown.stdout.decode(encoding)) == (encoding == "utf-8")
    assert (r"\u03b3" in shown.stdout.decode(encoding)) == (encoding != "utf-8")


@pytest.mark.parametrize(
    "arguments", [["--version"], ["explain"], ["data", "list"], ["explain", "--lr", "x"], ["status", "/no"]]
)
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_status(arguments: list[str], closed: str) -> None:
    command = [sys.executable, "-m", "inna", *arguments]
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command], capture_output=True, text=True)
    assert done.returncode == inna(*arguments).returncode
    assert "Traceback" not in done.stderr


def test_what_is_printed_into_a_closed_output_reaches_no_file(tmp_path: Path) -> None:
    """The number of a closed descriptor goes to the next file that is opened, a lock or a record."""
    (tmp_path / "loud.py").write_text(
        "import os, torch\n"
        "class Loud(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        os.write(1, b'printed')\n"
        "        return super().step(closure)\n"
    )
    arguments = [
        "train",
        *DIGITS,
        "--epochs",
        "1",
        "--optimizer",
        "loud.Loud",
        "--out",
        str(tmp_path / "out"),
    ]
    command = [sys.executable, "-m", "inna", *arguments]
    done = subprocess.run(["sh", "-c", '"$@" <&- >&-', "sh", *command], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert not [path for path in files if b"printed" in path.read_bytes()]


def test_a_forced_colour_puts_no_progress_bars_into_logs(tmp_path: Path) -> None:
    colour = os.environ | {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}
    command = [sys.executable, "-m", "inna", "train", *DIGITS, "--epochs", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, env=colour, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_tilde_is_the_home_folder(
    compared: tuple[Path, Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = compared
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.chdir(tmp_path)
    there = f"~/{folder.name}"
    assert inna("run", f"{there}/plan.toml", "--out", there).returncode == 0
    assert inna("explorer", "--out", there).stdout == f"{folder / 'explorer.html'}\n"
    assert inna("status", there).stdout.endswith("Everything is done.\n")
    assert inna("export", there).stdout == f"{folder / 'records.csv'}\n"
    assert f"{folder / 'plan.toml'} is another plan" in inna(*a_comparison(Path(there))).stderr
    assert digits(out=Path(there)).stdout.splitlines()[-1].startswith(str(folder))
    assert not list(tmp_path.iterdir())


def test_tensorboard_onto_a_file_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    (tmp_path / "tensorboard").write_text("in the way")
    done = digits("--tensorboard", out=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"inna: [Errno 17] File exists: '{tmp_path / 'tensorboard'}'\n"


@pytest.mark.parametrize(
    ("code", "use"),
    [
        ("sys.exit()", ["--network", "leaving.net"]),
        ("def net(shape, classes):\n    sys.exit()", ["--network", "leaving.net"]),
        ("class Own:\n    def __init__(self, params, lr):\n        sys.exit()\n    def step(self): ...", OWN),
        ("class Own(torch.optim.SGD):\n    def step(self, closure=None):\n        sys.exit()", OWN),
    ],
)
def test_a_users_module_cannot_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, use: list[str]
) -> None:
    (tmp_path / "leaving.py").write_text(f"import sys, torch\n{code}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "leaving", raising=False)
    done = digits(*use, out=tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "SystemExit" in done.stderr


DIGITS = ["--dataset", "digits", "--network", "small", "--train-images", "100", "--test-images", "50"]


def digits(*arguments: str, out: Path) -> Done:
    return inna("train", *DIGITS, "--epochs", "2", "--out", str(out), *arguments)


def test_explain_says_what_a_setting_means() -> None:
    told = inna("explain", "--lr", "0.01", "--alpha", "0.5", "--beta", "0.1", "--curvature", "400")
    assert told.returncode == 0
    for fact in ("0.02", "0.995", "overdamped", "0.0853893", "stable"):
        assert fact in told.stdout


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["--from", "adamw", "--lr", "0.004", "--direct", "0.3"], ["INNAprop(lr=0.02, alpha=5, beta=0.06,"]),
        (["--from", "sgd", "--nesterov"], ["INNA(lr=0.316228, alpha=0.316228, beta=0.600833,", "10 steps"]),
        (["--step", "3", "--memory", "20", "--direct", "0.12"], ["INNA(lr=0.387298,", "20 steps", "0.12 (<"]),
    ],
)
def test_explain_translates(arguments: list[str], facts: list[str]) -> None:
    told = inna("explain", *arguments)
    assert [fact for fact in facts if fact not in told.stdout] == []


def test_explain_wants_a_memory_with_a_step() -> None:
    told = inna("explain", "--step", "3")
    assert (told.returncode, told.stderr) == (1, "inna: --step needs --memory and --direct\n")


def test_train_records_a_run_and_is_quiet_without_a_terminal(tmp_path: Path) -> None:
    options = ["--lr", "0.5", "-o", "alpha=0.5", "-o", "beta=0.5", "-o", "decoupled_weight_decay=true"]
    done = a_process("train", *DIGITS, "--epochs", "2", "--out", str(tmp_path), *options)
    assert (done.returncode, done.stderr) == (0, "")
    summary, path = done.stdout.splitlines()
    assert summary.startswith("epoch 2: training loss ")
    assert [record["epoch"] for record in records.read(Path(path))] == [0, 1, 2]
    assert digits(*options, out=tmp_path).stdout == done.stdout


def test_a_diverged_run_is_no_crash(tmp_path: Path) -> None:
    done = digits("--lr", "1e9", out=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("diverged in epoch 1: try a smaller lr than 1e+09")


def test_what_a_users_optimizer_raises_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import torch\n\nclass Broken(torch.optim.SGD):\n    def step(self):\n        return None + 1\n"
    (tmp_path / "broken_parts.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    done = digits("--optimizer", "broken_parts.Broken", out=tmp_path)
    assert done.returncode == 1
    assert "broken_parts.Broken fails (TypeError: unsupported operand" in done.stderr
    assert "broken_parts.py, line 5)" in done.stderr
    assert done.stderr.count("\n") == 1


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
        (["-o", "beta=nan"], "options.beta: Input should be true, false, a finite number"),
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
        (["--sampling", "once"], "sampling: Input should be 'epochs' or 'independent', got 'once'"),
        (["--schedule", "math.pi"], "schedule 'math.pi' is no function of k"),
        (["--network", "math.sqrt"], "network 'math.sqrt' must be a function (shape, classes)"),
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
        (["reproduce", "all", "--preset", "slow"], "unknown preset 'slow': choose from laptop, paper"),
        (["reproduce", "figure2", "--preset", "paper"], "with --data-dir"),
        (["reproduce", "figure2", "--dataset", "mnist"], "unknown data set of quick 'mnist'"),
        (
            ["run", "no.toml"],
            "unknown preset 'no.toml': choose from laptop, paper, quick, or name a .toml file",
        ),
        (["run", "paper"], "with --data-dir"),
        (["run", "quick", "--device", "tpu9"], "device 'tpu9' is not to be had"),
        (["run", "quick", "--device", "cuda:99"], "device 'cuda:99' is not to be had: torch sees"),
        (["status"], "no plan in"),
        (["compare", *DIGITS, "--optimizer", "lion"], "unknown optimizer 'lion'"),
        (
            ["compare", *DIGITS, "--optimizer", "sgd, grid=0"],
            "settings.0.grid.0: Input should be greater than 0",
        ),
        (["explain", "--curvature", "0"], "curvature must be positive and finite"),
        (["explain", "--alpha", "-1"], "alpha must be finite and non-negative, got -1.0"),
    ],
)
def test_other_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("INNA_DATA", str(tmp_path / "no data sets"))
    where = {"explain": [], "status": [str(tmp_path)]}.get(arguments[0], ["--out", str(tmp_path / "out")])
    done = inna(*arguments, *where)
    assert done.returncode == 1
    assert done.stderr.startswith("inna: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_progress_of_a_plan_that_is_not_begun(tmp_path: Path) -> None:
    archive.keep_plan(tmp_path, plan.load("quick"))
    done = inna("status", str(tmp_path))
    assert done.returncode == 0
    assert "0 of 50" in done.stdout
    assert done.stdout.endswith("nothing can be said yet about the time that is left.\n")


def test_a_read_only_folder_is_one_line_and_its_records_stay(tmp_path: Path) -> None:
    done = digits(out=tmp_path)
    log = Path(done.stdout.splitlines()[-1])
    before = log.read_bytes()
    log.parent.chmod(0o555)
    try:
        if os.access(log.parent, os.W_OK):
            pytest.skip("this user may write anywhere")
        other = digits("--seed", "1", out=log.parent)
    finally:
        log.parent.chmod(0o755)
    assert other.returncode == 1
    assert other.stderr.count("\n") == 1
    assert str(log.parent) in other.stderr
    assert log.read_bytes() == before


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
