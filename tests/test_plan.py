import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inna.lab import plan
from inna.lab.plan import Plan, PlanError, Run, validated
from inna.lab.running import optimizers
from inna.lab.running.lookup import looked_up
from made_results import with_the_papers_settings

SOUND: dict[str, Any] = {
    "name": "test",
    "description": "a plan for tests",
    "problems": [{"dataset": "digits", "network": "small"}],
    "settings": [{"label": "SGD", "optimizer": "torch.optim.SGD"}],
    "epochs": 2,
    "selection_epochs": 1,
    "grid": [0.1],
    "max_extensions": 0,
    "seeds": [0],
}


def nested(depth: int) -> Any:
    inner: Any = 1
    for _ in range(depth):
        inner = {"a": inner}
    return inner


def sgd(**change: Any) -> dict[str, Any]:
    return {"settings": [SOUND["settings"][0] | change]}


def test_the_paper_preset_is_section_5_2() -> None:
    paper = plan.load("paper")
    assert [p.name for p in paper.problems] == ["mnist-nin", "cifar10-nin", "cifar100-nin"]
    assert all((p.train, p.test) == (50_000, 10_000) for p in paper.problems)
    assert (paper.epochs, paper.selection_epochs, paper.batch_size, len(paper.seeds)) == (200, 15, 32, 5)
    inna = [s for s in paper.settings if s.role == "candidate"]
    assert [(s.options["alpha"], s.options["beta"], s.q) for s in inna] == [
        (0.1, 0.1, 0.5),
        (0.5, 0.1, 0.5),
        (0.5, 0.5, 0.5),
        (0.5, 1.0, 0.5),
    ]
    assert all(s.options["initial_speed"] == s.options["beta"] for s in inna)  # u_0 = 0
    assert (paper.loss, paper.train_loss) == ("clipped_cross_entropy", "running")
    peers = {s.label: s for s in paper.settings if s.role == "peer"}
    assert {label: s.q for label, s in peers.items()} == {"SGD": 0.5, "ADAGRAD": 0.0, "ADAM": 0.0}
    assert peers["SGD"].options == {}
    assert paper.decays == (0.25, 0.125, 0.0625)


@pytest.mark.parametrize("preset", ["quick", "laptop"])
def test_the_smaller_presets_have_the_same_curves(preset: str) -> None:
    small, paper = with_the_papers_settings(preset), plan.load("paper")
    assert (small.decays, small.grid, small.seeds) == (paper.decays, paper.grid, paper.seeds)
    for ours, theirs in zip(small.settings, paper.settings, strict=True):  # but for the start
        options = {key: value for key, value in theirs.options.items() if key != "initial_speed"}
        assert ours == theirs.model_copy(update={"options": options})


def test_the_laptop_preset_is_on_real_images() -> None:
    laptop = plan.load("laptop")
    assert [(p.name, p.train, p.test) for p in laptop.problems] == [
        ("mnist-lenet5", 5000, 10_000),
        ("cifar10-lenet5", 5000, 10_000),
    ]
    assert (laptop.epochs, laptop.selection_epochs, laptop.batch_size) == (30, 5, 32)


def test_a_plan_is_read_from_a_file_and_cut_to_a_data_set(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text((plan.PRESETS / "paper.toml").read_text())
    only = plan.load(str(file), datasets=["mnist"], device="meta")
    assert [p.dataset for p in only.problems] == ["mnist"]
    assert only.device == "meta"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"problems": [{"dataset": "imagenet", "network": "nin"}]},
            "unknown data set 'imagenet': choose from",
        ),
        ({"problems": [{"dataset": "digits", "network": "vgg"}]}, "unknown network 'vgg': choose from"),
        ({"problems": []}, r"problems: .*got \[\]"),
        (
            {"settings": [{"label": "x", "optimizer": "torch.optim.Addam"}]},
            "unknown optimizer 'torch.optim.Addam'",
        ),
        ({"settings": [{"label": "x", "optimizer": "no.such.thing"}]}, "unknown optimizer 'no.such.thing'"),
        ({"settings": SOUND["settings"] * 2}, "the label 'SGD' occurs twice"),
        ({"seeds": [3, 3]}, "the seed 3 occurs twice"),
        ({"seeds": [-1]}, "seeds.0: .*got -1"),
        ({"grid": [0.1, -0.1]}, "grid.1: .*greater than 0, got -0.1"),
        ({"grid": [float("nan")]}, "grid.0: .*got nan"),
        ({"epochs": 0}, "epochs: .*got 0"),
        ({"init": "zeros"}, "unknown initialiser 'zeros'"),
        (
            {"epoch": 3},
            "^epoch: Extra inputs are not permitted, got 3; permitted are .*, name, description, problems,",
        ),
        (
            sgd(lable="x"),
            "^settings.0.lable: Extra inputs are not permitted, got 'x'; permitted are label, optimizer,",
        ),
        (
            {"problems": [SOUND["problems"][0] | {"model": 1}]},
            "^problems.0.model: Extra inputs .*; permitted are dataset, network, train, test, task, options$",
        ),
        ({"epochs": True}, "epochs: Input should be a number, got True"),
        ({"grid": [True]}, "grid.0: Input should be a number, got True"),
        ({"seeds": [False]}, "seeds.0: Input should be a number, got False"),
        (sgd(q=True), "settings.0.q: Input should be a number, got True"),
        ({"seeds": [2**64]}, "seeds.0: Input should be less than 184.*, got 18446744073709551616"),
        ({"epochs": 10**400}, r"epochs: Input should be less than 1000000000000, got 1000*\.\.\.0*$"),
        (
            {"threads": 1 << 99999},
            "threads: Input should be less than 1000000000000, got an integer of 100000 bits",
        ),
        (sgd(options={"momentum": 10**400}), "settings.0.options.momentum: Input should be true.*of 64 bits"),
        (
            sgd(options={"momentum": float("inf")}),
            "settings.0.options.momentum: .*a finite number.*, got inf",
        ),
        (sgd(options={"betas": [0.9, float("nan")]}), "settings.0.options.betas: .*a finite number"),
        (sgd(options={"momentum": {}}), r"^settings.0.options.momentum: Input should be true, .*, got {}$"),
        (sgd(schedule={"family": "linear", "steps": 10**400}), "^settings.0.schedule: Input should be"),
        (sgd(schedule={"family": "constant", "then": nested(400)}), "^settings.0.schedule: Input should be"),
        (sgd(schedule={"family": "warmup", "steps": 2, "then": 3}), "settings.0: unknown schedule 3: give a"),
        (
            sgd(schedule=3),
            "^settings.0.schedule: Input should be the name of a schedule, or a table of its.*, got 3$",
        ),
        ({"modules": [3]}, "modules.0: Input should be a valid string, got 3"),
        (
            {"x": nested(400)},
            r"^x: Extra inputs are not permitted, got {'a': {'a': .*\.\.\.}+; permitted are",
        ),
        ({"sampling": "shuffled"}, "sampling: .*'epochs' or 'independent', got 'shuffled'"),
        ({"problems": SOUND["problems"] * 2}, r"the problem \('digits-small', None, None\) occurs twice"),
        ({"problems": [{"dataset": "no.npz", "network": "small"}]}, "problems.0.dataset: .*'?no.npz"),
        (
            {"problems": [{"dataset": "digits", "network": "no_such.net"}]},
            "problems.0.network: network 'no_such.net' must be a function .*cannot import no_such",
        ),
        (
            {"problems": [{"dataset": "digits", "network": "math.pi"}]},
            r"network 'math\.pi' must be a function \(shape, classes\)",
        ),
        ({"decays": [0.5]}, r"the decays \[0\.5\] are for the best candidate"),
        (
            sgd(options={"gamma": 1}),
            r"settings\.0: torch\.optim\.SGD does not take these options: .*'gamma'",
        ),
        (sgd(optimizer="inna", options={"alpha": -1}), r"settings\.0: alpha must be .* got -1"),
        (sgd(grid=[0.1, 0.1]), "the step in the grid 0.1 occurs twice"),
        (sgd(grid=[]), r"settings\.0\.grid: .*got \[\]"),
        (
            sgd(q=0.5, schedule="constant"),
            r"settings\.0: give q or schedule, not both, got 0\.5 and 'constant'",
        ),
        (sgd(schedule="cosinus"), r"settings\.0: unknown schedule 'cosinus': give a family, one of .*cosine"),
        (sgd(schedule="math.pi"), r"schedule 'math\.pi' is no function of k: 3\.14"),
        (sgd(schedule="math.no"), "the module math has no 'no'"),
        (sgd(schedule="math.log"), r"schedule 'math\.log' fails at k = 0 \(ValueError"),
        (sgd(schedule={"family": "cosine"}), r"schedule cosine\(steps\): .*missing"),
        (sgd(schedule={"family": "linear", "steps": 0}), r"schedule linear\(steps\): steps must be .* got 0"),
        (sgd(schedule={"steps": 3}), "unknown schedule None"),
    ],
)
def test_what_is_not_sound_is_named(change: dict[str, Any], message: str) -> None:
    looked_up(validated(Plan, SOUND))
    with pytest.raises(PlanError, match=message):
        looked_up(validated(Plan, SOUND | change))


def test_unknown_presets_and_files(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="unknown preset 'slow': choose from laptop, paper, quick"):
        plan.load("slow")
    with pytest.raises(PlanError, match="unknown data set of quick 'mnist': choose from mnist5k"):
        plan.load("quick", datasets=["mnist"])
    (tmp_path / "bad.toml").write_text("epochs = ")
    with pytest.raises(PlanError, match="is not a TOML file"):
        plan.load(str(tmp_path / "bad.toml"))


TEXT = """
name = "café"
epochs = 2
selection_epochs = 1
grid = [0.1]
seeds = [18446744073709551615]
problems = [{ dataset = "digits", network = "small" }]
settings = [{ label = "SGD", optimizer = "sgd" }]
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (("x = " + "[" * 9000 + "]" * 9000 + TEXT).encode(), "is not a plan: it is nested too deeply$"),
        (
            ("x = " + "{a=" * 9000 + "1" + "}" * 9000 + TEXT).encode(),
            "is not a plan: it is nested too deeply$",
        ),
        (("x" + ".a" * 3000 + " = 1" + TEXT).encode(), "is not a plan: it is nested too deeply$"),
        (("[x" + " . 'a b'" * 3000 + "]" + TEXT).encode(), "is not a plan: it is nested too deeply$"),
        (("x" + ".a" * 40 + " = 0x" + "f" * 9000 + TEXT).encode(), "^x: Extra inputs are not permitted"),
        (("x = { a = 0x" + "f" * 9000 + "}" + TEXT).encode(), r"^x: .* got {'a': an integer of 36000 bits}"),
        (('"a\\nb" = 1' + TEXT).encode(), r"^'a\\nb': Extra inputs are not permitted"),
        (TEXT.replace("[0.1]", "[1e400]").encode(), "^grid.0: Input should be a finite number, got inf$"),
        (TEXT.replace("= 2", "= " + "9" * 5000).encode(), "plan.toml is not a TOML file: .*4300 digits"),
        (TEXT.replace("= 2", "= 0x" + "f" * 9000).encode(), "^epochs: .* got an integer of 36000 bits$"),
        (
            TEXT.replace("= 2", '= 2\nmodules = [3, "."]').encode(),
            "modules.1: Input should be a valid string, got 3",
        ),
        (
            TEXT.replace("digits", "a" * 300).encode(),
            r"problems.0.dataset: .*(File name too long|unknown data set)",
        ),
        (TEXT.encode("latin-1"), "plan.toml is not a TOML file: 'utf-8' codec"),
        (TEXT.encode() + bytes(1 << 20), "plan.toml holds .* bytes, a plan 1,048,576 at most"),
    ],
)
def test_a_file_that_is_no_plan_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "plan.toml").write_bytes(content)
    with pytest.raises(PlanError, match=message) as caught:
        looked_up(plan.load(str(tmp_path / "plan.toml")))
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert plan.load(str(tmp_path / "plan.toml")).name == "café"


def test_a_folder_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").mkdir()
    with pytest.raises(PlanError, match=r"plan\.toml: .*Is a directory"):
        plan.load(str(tmp_path / "plan.toml"))


@pytest.mark.parametrize("preset", ["a" * 300 + ".toml", "a" * 300, ""])
def test_a_name_that_no_file_can_have(preset: str) -> None:
    with pytest.raises(PlanError, match=r"unknown preset|File name too long"):
        plan.load(preset)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands it inside quotes, nor in a plan."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "parts").mkdir()
    (tmp_path / "own.npz").write_bytes(b"")
    text = TEXT.replace("digits", "~/own.npz").replace("= 2", '= 2\nmodules = ["~/parts"]')
    (tmp_path / "plan.toml").write_text(text, "utf-8")
    loaded = looked_up(plan.load("~/plan.toml"))
    assert loaded.problems[0].dataset == str((tmp_path / "own.npz").resolve())
    assert str(tmp_path / "parts") in loaded.modules


def test_the_package_reads_its_own_files_whatever_the_locale(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(TEXT, "utf-8")
    code = (
        "import locale; print(locale.getpreferredencoding())\n"
        "from inna.lab import plan\n"
        "from inna.lab.gallery import figure1\n"
        "from inna.lab.results import paper\n"
        "from inna.lab.running import provenance\n"
        "plan.load('plan.toml'), figure1.draw(), provenance.environment('cpu')\n"
        "assert paper.printed(plan.load('paper').problems[0], 'train_loss', 'SGD')\n"
    )
    plain = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=plain, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "UTF-8" not in done.stdout


@pytest.mark.parametrize("leaving", ["sys.exit()", "sys.exit(0)", "sys.exit('no')", "raise SystemExit"])
def test_a_module_that_ends_python_is_a_mistake_in_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaving: str
) -> None:
    monkeypatch.delitem(sys.modules, "leaving", raising=False)  # another test may have loaded one
    (tmp_path / "leaving.py").write_text(f"import sys\n{leaving}\n")
    monkeypatch.syspath_prepend(tmp_path)
    for change in (
        {"problems": [{"dataset": "digits", "network": "leaving.net"}]},
        sgd(optimizer="leaving.Own"),
        sgd(schedule="leaving.factor"),
    ):
        with pytest.raises(PlanError, match=r"cannot import leaving \(SystemExit"):
            looked_up(validated(Plan, SOUND | change))


@pytest.mark.parametrize("failure", ["sys.exit()", "raise KeyError('lr')", "1 / 0"])
def test_an_optimizer_or_a_schedule_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    name = f"failing_{len(failure)}"
    code = f"class Own:\n    def __init__(self, params, lr):\n        {failure}\n    def step(self): ...\n"
    (tmp_path / f"{name}.py").write_text(f"import sys\n{code}def factor(k):\n    {failure}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PlanError, match=f"settings.0: {name}.Own does not take these options: "):
        looked_up(validated(Plan, SOUND | sgd(optimizer=f"{name}.Own")))
    with pytest.raises(PlanError, match=f"settings.0: schedule '{name}.factor' fails at k = 0"):
        looked_up(validated(Plan, SOUND | sgd(schedule=f"{name}.factor")))


def test_no_two_runs_share_a_folder_and_a_run_survives_json() -> None:
    quick = plan.load("quick")
    (problem,) = quick.problems
    runs = [
        make(problem, setting, lr, seed)
        for make in (quick.selection_run, quick.long_run)
        for setting in quick.settings
        for lr in quick.grid
        for seed in quick.seeds
    ]
    more_threads = [run.model_copy(update={"threads": 2}) for run in runs]
    folders = [run.folder for run in runs + more_threads]
    assert len(set(folders)) == len(folders)
    assert plan.Run.model_validate_json(runs[0].model_dump_json()) == runs[0]


OWN = """
from torch import nn, optim

def flat(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))

class Halved(optim.SGD):
    def __init__(self, params, lr, half=True):
        super().__init__(params, lr=lr / 2 if half else lr)

def slower(k):
    return 1 / (1 + k)
"""


def test_what_a_plan_names_is_looked_up_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks, optimizers, schedules and data of the user's own, from any working directory."""
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "own_parts.py").write_text(OWN)
    (tmp_path / "my data.npz").write_bytes(b"")
    (tmp_path / "plan.toml").write_text(
        """
        name = "own"
        init = "own"
        epochs = 2
        selection_epochs = 1
        grid = [0.1]
        seeds = [0]
        problems = [{ dataset = "my data.npz", network = "own_parts.flat" }]

        [[settings]]
        label = "mine"
        optimizer = "own_parts.Halved"
        options = { half = false }
        schedule = "own_parts.slower"
        grid = [0.2, 0.4]

        [[settings]]
        label = "warm"
        optimizer = "torch.optim.Adam"
        options = { betas = [0.8, 0.99] }
        schedule = { family = "warmup", steps = 5, then = { family = "power", q = 0.5 } }
        """
    )
    loaded = looked_up(plan.load(str(tmp_path / "plan.toml")))
    (problem,) = loaded.problems
    assert Path(problem.dataset) == (tmp_path / "my data.npz").resolve()
    assert problem.name == "my_data-own_parts.flat"
    mine, warm = (loaded.long_run(problem, setting, 0.1, 0) for setting in loaded.settings)
    assert mine.folder.parts[1] == "Halved-halfFalse-own_parts.slower"
    assert [optimizers.decay(0, warm.schedule)(k) for k in (0, 4, 8)] == [0.2, 1.0, 0.5]
    assert Run.model_validate_json(warm.model_dump_json()) == warm


def test_a_run_keeps_its_folder_when_its_data_move_with_it(tmp_path: Path) -> None:
    folders = set()
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "own.npz").write_bytes(b"")
        moved = {"problems": [{"dataset": str(tmp_path / place / "own.npz"), "network": "small"}]}
        loaded = validated(Plan, SOUND | moved)
        folders.add(loaded.long_run(loaded.problems[0], loaded.settings[0], 0.1, 0).folder)
    assert len(folders) == 1


def test_optimizers_are_found_by_path_and_by_name_in_any_case() -> None:
    import torch

    import inna.torch

    assert optimizers.resolve("INNA") is optimizers.resolve("inna") is inna.torch.INNA
    assert optimizers.resolve("adamw") is optimizers.resolve("torch.optim.AdamW") is torch.optim.AdamW
    for wrong in ("Lion", "torch.optim.lr_scheduler", "torch.nn.Linear", "inna.torch.inna"):
        with pytest.raises(ValueError, match=f"unknown optimizer '{wrong}'"):
            optimizers.resolve(wrong)


def test_fields_that_older_runs_did_not_have_leave_their_folders_alone() -> None:
    plan = validated(Plan, SOUND)
    run = plan.long_run(plan.problems[0], plan.settings[0], 0.1, 0)
    assert run.folder.name.startswith("lr0.1-seed0-")
    for change in ({"loss": "clipped_cross_entropy"}, {"train_loss": "running"}):
        assert run.model_copy(update=change).folder != run.folder


def test_nothing_is_chosen_from_grids_of_one_step() -> None:
    assert validated(Plan, SOUND | {"selection_epochs": 0, "grid": [0.1]}).selection_epochs == 0
    with pytest.raises(PlanError, match=r"the grid of plan has 2 steps: give it one step"):
        validated(Plan, SOUND | {"selection_epochs": 0, "grid": [0.1, 0.2]})
