"""The commands for data sets: data fetch, data list, data verify."""

from typing import Annotated, Any

import typer
from rich.progress import DownloadColumn, TaskID
from rich.table import Table

from ._terminal import DataDirOption, app, at_work, fail, out

data_app = typer.Typer(help="Data sets: download them, see what is there, check it.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(help="Those that `inna data list` shows with a download.")],
    data_dir: DataDirOption = None,
) -> None:
    """Download data sets from their official sources; the same command goes on after an interruption."""
    from ..lab.data import fetch, official

    wanted = {name: _official(name) for name in names}
    failed = False
    with at_work(DownloadColumn(), "left") as progress:
        for name, source in wanted.items():
            task = progress.add_task(name, total=None)

            def tell(doing: str, done: int, total: int, task: TaskID = task, name: str = name) -> None:
                progress.update(task, description=f"{name}: {doing}", completed=done, total=total or None)

            try:
                folder = fetch.fetch(source, official.home(data_dir), on_progress=tell)
            except (official.DataError, OSError) as error:
                failed = True
                fail(f"{name}: {error}", 1)
            else:
                print(f"{name}: {folder}")
    if failed:
        raise typer.Exit(1)


@data_app.command("list")
def data_list(data_dir: DataDirOption = None) -> None:
    """List the data sets: what they hold, and whether the files that are there are the official ones."""
    from ..lab import data
    from ..lab.data import official, sources

    where = official.home(data_dir)
    table = Table("name", "images", "classes", "pixels", "download", "folder", "files")
    for name, entry in data.DATASETS.items():
        channels, height, width = entry.shape
        row = [
            name,
            f"{entry.train:,} + {entry.test:,}",
            f"{entry.classes}",
            f"{height} x {width}" + (f" x {channels}" if channels > 1 else ""),
        ]
        if source := sources.OFFICIAL.get(name):
            size = sum(file.size for file in source.downloads)
            folder = source.find(where)
            row += [f"{size / 1e6:.0f} MB", str(folder.relative_to(where)) if folder else "-"]
            row += [_summary(source.states(where))]
        else:
            row += ["-", "-", "in a package"]
        table.add_row(*row)
    print(f"data sets in {where}")
    out.print(table)


@data_app.command("verify")
def data_verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which data sets; the default is all that are there.")
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Compare every file with the official one by its SHA-256; exit with 1 if one differs or is missing."""
    from ..lab.data import official, sources

    where = official.home(data_dir)
    here = [name for name, source in sources.OFFICIAL.items() if source.find(where)]
    if not (names or here):
        raise ValueError(f"found no data set in {where}: get one with `inna data fetch`, or use --data-dir")
    meaning = {
        official.State.official: "the official file",
        official.State.differs: "NOT the official file: damaged, or another copy",
        official.State.unpacked: "not checked: unpacked, checksums are published for the .gz only",
        official.State.missing: "MISSING",
    }
    states = set()
    for name in names or here:
        source = _official(name)
        for file, state in source.states(where).items():
            print(f"{source.find(where) or where / source.folder}/{file.name}: {meaning[state]}")
            states.add(state)
    if states & {official.State.differs, official.State.missing}:
        raise typer.Exit(1)


def _official(name: str) -> Any:
    from ..lab.data import sources

    if name in sources.EMBEDDED:
        raise ValueError(f"{name} comes with a package: there is nothing to fetch or verify")
    if name not in sources.OFFICIAL:
        raise ValueError(f"no source for the data set {name!r}: choose from {', '.join(sources.OFFICIAL)}")
    return sources.OFFICIAL[name]


def _summary(states: dict[Any, Any]) -> str:
    """One word or two for all files of a data set."""
    found = set(states.values())
    if "missing" in found:
        return "not here" if len(found) == 1 else "incomplete"
    return ", ".join("not official" if state == "differs" else state for state in sorted(found))
