"""The documents: every program in them runs, every command is one, every page and public name is found."""

import ast
import csv
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from inna.lab.plan import load

CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs"
PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CONTRIBUTING.md",
    *(page for page in sorted(DOCS.rglob("*.md")) if not page.is_relative_to(DOCS / "gallery")),
]
PICTURES = sorted((DOCS / "pictures").glob("*.py"))
API = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def title(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


def blocks(page: Path, language: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(text) for _, of, text in found if of == language]


def programs() -> Iterator[object]:
    """The Python of a page is one program; tabs of a page, and files that name themselves, are one each."""
    for page in PAGES:
        texts = [text for text in blocks(page, "python") if not re.match(r"# \w+\.py\n", text)]
        if "{tab-set}" in page.read_text(encoding="utf-8"):
            yield from (pytest.param(text, id=f"{title(page)}-{n}") for n, text in enumerate(texts))
        elif texts:
            yield pytest.param("\n".join(texts), id=title(page))


def run(program: str, folder: Path) -> None:
    environment = os.environ | {"MPLBACKEND": "agg", "KERAS_BACKEND": "torch"}
    paths = [str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", list(programs()))
def test_a_pages_program_runs(program: str, tmp_path: Path) -> None:
    run(program, tmp_path)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_of_the_gallery_is_drawn(picture: Path, tmp_path: Path) -> None:
    drawn = '\nassert plt.get_fignums() and plt.gcf().axes\nplt.savefig("picture.png")\n'
    run(picture.read_text(encoding="utf-8") + drawn, tmp_path)
    assert (tmp_path / "picture.png").stat().st_size > 10_000


@pytest.mark.parametrize("of", [0, 1], ids=["AdamW", "SGD"])
def test_a_change_of_the_readmes_trains(tmp_path: Path, of: int) -> None:
    diff = blocks(CHECKOUT / "README.md", "diff")[of]
    after = "\n".join(line[1:] for line in diff.splitlines() if not line.startswith("-"))
    before = """
import torch
import inna
torch.manual_seed(0)
model, loss = torch.nn.Linear(3, 1), torch.nn.functional.mse_loss
inputs = torch.randn(2048, 3)
loader = [(x, x.sum(1, keepdim=True)) for x in inputs.split(8)]
start = loss(model(inputs), inputs.sum(1, keepdim=True)).item()
"""
    check = """
for x, y in 8 * loader:
    optimizer.zero_grad()
    loss(model(x), y).backward()
    optimizer.step()
assert loss(model(inputs), inputs.sum(1, keepdim=True)).item() < 0.5 * start
"""
    run(before + after + check, tmp_path)


def commands() -> Iterator[object]:
    for page in PAGES:
        for text in blocks(page, "sh"):
            for line in text.replace("\\\n", " ").splitlines():
                for part in line.partition(" #")[0].split(" ; "):
                    if part.strip().startswith("inna "):
                        yield pytest.param(part.strip(), id=f"{title(page)}: {part.strip()[:50]}")


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_of_the_documents_is_understood(line: str) -> None:
    """Its name, arguments and options are parsed; nothing is run."""
    import typer

    from inna.cli import app

    command = typer.main.get_command(app)
    name, *words = shlex.split(line)
    while words and words[0] in getattr(command, "commands", {}):
        name, *words = words
        command = command.commands[name]  # type: ignore[attr-defined]
    command.make_context(name, words)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_no_module_stands_twice_on_the_api_pages() -> None:
    modules = re.findall(r"automodule:: (\S+)", API)
    assert sorted(set(modules)) == sorted(modules)


def test_every_page_is_in_the_contents() -> None:
    listed = set()
    for page in DOCS.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / f"{name}.md").resolve() for name in names}
    pages = {page for page in PAGES if page.is_relative_to(DOCS)} - {DOCS / "index.md"}
    assert [title(page) for page in sorted(pages - listed)] == []


def public_modules() -> dict[str, list[str]]:
    """Each module without an underscore that has names in `__all__`, read and not imported."""
    found = {}
    for file in sorted((CHECKOUT / "src" / "inna").rglob("*.py")):
        parts = file.relative_to(CHECKOUT / "src").with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts[1:2] != ("cli",) and not any(part.startswith("_") for part in parts):
            found[".".join(parts)] = names_in_all(file)
    return {module: names for module, names in found.items() if names and module != "inna"}


def names_in_all(file: Path) -> list[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


@pytest.mark.parametrize("module", list(public_modules()))
def test_every_public_name_is_on_the_api_pages(module: str) -> None:
    """A page shows the names in `__all__` of a module that have a docstring, constants included."""
    assert re.search(rf"^.. automodule:: {re.escape(module)}$", API, re.MULTILINE)
    path = CHECKOUT / "src" / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert [name for name in names_in_all(file) if silent(name, file)] == []


def silent(name: str, file: Path) -> bool:
    """Whether the file defines a function, a class or a constant of this name without a docstring."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_docstring(node) is None
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if [ast.unparse(target) for target in targets if target] == [name]:
            return not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant))
    return False


def test_the_api_pages_name_modules_that_exist() -> None:
    named = re.findall(r"^.. automodule:: (.*)$", API, re.MULTILINE)
    assert len(named) > 30
    files = [CHECKOUT / "src" / Path(*module.split(".")) for module in named]
    assert [str(file) for file in files if not (file.is_dir() or file.with_suffix(".py").is_file())] == []


def test_the_tables_of_the_papers_runs_are_those_of_the_records() -> None:
    script = CHECKOUT / "benchmarks" / "paper_table.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    tables = re.findall(r"(?:^\|.*\n)+", done.stdout, flags=re.MULTILINE)
    assert len(tables) == 4  # CIFAR-10 and MNIST, J and accuracies
    page = (DOCS / "paper.md").read_text(encoding="utf-8")
    assert [table for table in tables if table not in page] == []


def test_the_tables_of_the_studies_are_those_of_their_runs() -> None:
    """Computed once more, from the ends of all runs that are committed."""
    page = (DOCS / "studies.md").read_text(encoding="utf-8")
    digests = sorted((CHECKOUT / "studies").glob("*/runs.csv"))
    assert digests
    for digest in digests:
        plan = load(str(digest.with_name("plan.toml")))
        with digest.open(encoding="utf-8") as file:
            ends = list(csv.DictReader(file))
        long = [one for one in ends if one["evaluate"] == "every epoch"]
        assert len(long) == len(plan.problems) * len(plan.settings) * len(plan.seeds)
        if plan.trials:
            short = {(one["problem"], one["optimizer"]): 0 for one in ends}
            for one in ends:
                short[one["problem"], one["optimizer"]] += one["evaluate"] != "every epoch"
            assert set(short.values()) <= {plan.trials, plan.trials - 1}  # two draws may be alike
        losses: dict[tuple[str, str], list[float]] = {}
        for problem in plan.problems:
            cells = []
            for setting in plan.settings:
                given = json.loads(json.dumps(setting.options)).items()
                mine = [
                    one
                    for one in long
                    if (one["problem"], one["optimizer"])
                    == (problem.name, setting.optimizer.rpartition(".")[2])
                    and given <= json.loads(one["options"]).items()
                ]
                mine.sort(key=lambda one: int(one["seed"]))
                assert len(mine) == len(plan.seeds)
                losses[problem.name, setting.label] = [float(one["test_loss"]) for one in mine]
                mean = stats.gmean(losses[problem.name, setting.label])
                cells.append(f"{mean:.4g}")
                if len(plan.problems) == 1:
                    assert f"| {setting.label} | {mean:.4f} |" in page
            if len(plan.problems) > 1:
                assert f"| {problem.caption} | {' | '.join(cells)} |" in page.replace("**", "")
        tests = [
            (told, problem.name, stats.ttest_1samp(np.log(a) - np.log(b), 0, alternative="less").pvalue)
            for problem in plan.problems
            for told in plan.hypotheses
            for a, b in [(losses[problem.name, told.ahead], losses[problem.name, told.of])]
        ]
        order = sorted(tests, key=lambda test: test[2])
        most = 0.0
        for rank, (told, where, p) in enumerate(order):
            most = max(most, min(1.0, p * (len(order) - rank)))
            said = f"{told.ahead} is ahead of {told.of} in test loss on {where}: "
            assert said + ("found" if most < plan.level else "not found") in page
