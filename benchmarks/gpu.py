"""What a machine with a GPU can say in ten minutes: one command, its parts in order, each resumable.

    python benchmarks/gpu.py OUT [--plan paper] [--datasets mnist cifar10] [--data-dir DATA] [--seconds 570]

1. machine: versions, the device, its copy bandwidth, whether TF32 is on
2. tests: those marked gpu
3. steps: one step of each optimizer at the size of the NiN, at 1e8 and at 1e9 values
4. seeds: five seeds of NiN together against one after the other
5. slices: the runs of the plan until the time is up

A part that is complete has a file in OUT and is not done again. The slices leave records.tar.gz, which holds
the records of all runs, and a checkpoint of each run that is under way, in files below 16 MB. Take OUT to
another machine, give the same command there, and the runs go on where they were. To try all of it without
a GPU, add `--device cpu --rehearsal`.
"""

import argparse
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
LARGEST_FILE = 16_000_000
RESERVE = 20
"""Seconds before the end in which runs stop, write their checkpoints, and are packed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--plan", default="paper", help="a preset or a TOML file")
    parser.add_argument("--datasets", nargs="+", default=["mnist", "cifar10"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seconds", type=float, default=570.0, help="the whole call takes no longer")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--jobs", type=int, default=5, help="runs at once")
    parser.add_argument(
        "--rehearsal", action="store_true", help="small sizes: only to see that all parts work"
    )
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.seconds - RESERVE
    for name in ("out", "data_dir"):  # the parts run in the repository's folder
        if getattr(arguments, name) is not None:
            setattr(arguments, name, getattr(arguments, name).absolute())
    if arguments.plan.endswith(".toml"):
        arguments.plan = str(Path(arguments.plan).absolute())
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        play(arguments, deadline)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")


def play(arguments: argparse.Namespace, deadline: float) -> None:
    """The parts in order, until the time is up."""
    for name in arguments.parts:
        if (arguments.out / f"{name}.json").exists():
            print(f"{name}: done before", flush=True)
            continue
        begin = time.monotonic()
        found = PARTS[name](arguments, deadline)
        print(f"{name}: {time.monotonic() - begin:.0f} s\n{found['text']}", flush=True)
        if found["complete"]:
            write(arguments.out / f"{name}.json", json.dumps(found, indent=1).encode())
        if time.monotonic() > deadline:
            print("the time is up; the same command goes on from here")
            break


def machine(arguments: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """Versions and the bandwidth of a copy, which every step is held against."""
    device = torch.device(arguments.device)
    values = 2**28 if device.type == "cuda" else 2**24
    source = torch.ones(values, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(12):
        begin = time.perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    bandwidth = 8 * values / sorted(times)[len(times) // 2]
    lines = [
        f"Python {sys.version.split()[0]}, torch {torch.__version__}, CUDA {torch.version.cuda}",
        f"device {torch.cuda.get_device_name(device) if device.type == 'cuda' else 'cpu'}",
        f"a copy moves {bandwidth / 1e9:.0f} GB/s",
        f"TF32 in products: {torch.backends.cuda.matmul.allow_tf32}",
        f"TF32 in convolutions: {torch.backends.cudnn.allow_tf32}",
    ]
    return {"complete": True, "text": "\n".join(lines), "bandwidth": bandwidth}


def tests(arguments: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """The tests that need a GPU."""
    files = [path for path in sorted(REPOSITORY.glob("tests/test_*.py")) if "mark.gpu" in path.read_text()]
    return run(
        [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *files], deadline
    )


def steps(arguments: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """One step of each optimizer, as ratios."""
    sizes = ["rehearsal"] if arguments.rehearsal else ["nin", "1e8", "1e9"]
    return run([sys.executable, HERE / "step_torch.py", "--sizes", *sizes], deadline)


def seeds(arguments: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """Five seeds together against one after the other."""
    epochs = (
        ["--epochs", "1", "--images", "64", "--network", "small"]
        if arguments.rehearsal
        else ["--epochs", "10"]
    )
    options = ["--device", arguments.device, "--jobs", str(arguments.jobs), *epochs]
    return run([sys.executable, HERE / "seeds_gpu.py", *options], deadline)


def slices(arguments: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """The plan's runs, from the checkpoints of an earlier call to the end of this one."""
    folder = arguments.out / "plan"
    unpack(arguments.out, folder)
    command = [
        sys.executable,
        "-m",
        "inna",
        "reproduce",
        "figure3",
        "--preset",
        arguments.plan,
        "--out",
        folder,
    ]
    command += ["--device", arguments.device, "--jobs", str(arguments.jobs)]
    command += [part for name in arguments.datasets for part in ("--dataset", name)]
    if arguments.data_dir:
        command += ["--data-dir", arguments.data_dir]
    try:
        return run(command, deadline)
    finally:
        pack(folder, arguments.out)


PARTS = {"machine": machine, "tests": tests, "steps": steps, "seeds": seeds, "slices": slices}


def run(command: list[Any], deadline: float) -> dict[str, Any]:
    """Run a command until it ends or the time is up; complete means that it ended without a failure.

    Ctrl-C stops it as the end of the time does; a terminal sends it to the command, too.
    """
    arguments = [str(part) for part in command]
    process = subprocess.Popen(
        arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        text, errors = process.communicate(timeout=max(deadline - time.monotonic(), 1))
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as why:
        if isinstance(why, subprocess.TimeoutExpired):
            process.send_signal(signal.SIGINT)
        try:  # a run writes its checkpoint now and then, at least once an epoch
            text, errors = process.communicate(timeout=RESERVE / 2)
        except subprocess.TimeoutExpired:
            process.kill()
            text, errors = process.communicate()
        if isinstance(why, KeyboardInterrupt):
            raise
    complete = process.returncode == 0
    return {"complete": complete, "text": (text if complete else text + errors)[-20_000:]}


def pack(folder: Path, out: Path) -> None:
    """Put the records of all runs into one file, and each checkpoint into as many as it needs."""
    for old in out.glob("checkpoint-*"):
        old.unlink()
    light = [p for p in sorted(folder.rglob("*")) if p.name in ("records.jsonl", "run.json", "plan.json")]
    write(out / "records.tar.gz", archive(folder, light, "w:gz"))
    for k, path in enumerate(sorted(folder.rglob("checkpoint.pt"))):
        content = archive(folder, [path], "w")
        for part, start in enumerate(range(0, len(content), LARGEST_FILE)):
            write(out / f"checkpoint-{k:03}-{part:02}", content[start : start + LARGEST_FILE])


def unpack(out: Path, folder: Path) -> None:
    """Lay out what `pack` wrote, unless the folder is there already."""
    if folder.exists() or not (out / "records.tar.gz").exists():
        return
    contents = [(out / "records.tar.gz").read_bytes()]
    for first in sorted(out.glob("checkpoint-*-00")):
        parts = sorted(out.glob(f"{first.name[:-2]}*"))
        contents.append(b"".join(part.read_bytes() for part in parts))
    for content in contents:
        with tarfile.open(fileobj=io.BytesIO(content)) as file:
            file.extractall(folder, filter="data")


def archive(folder: Path, paths: list[Path], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:  # type: ignore[call-overload]
        for path in paths:
            file.add(path, path.relative_to(folder))
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)


if __name__ == "__main__":
    main()
