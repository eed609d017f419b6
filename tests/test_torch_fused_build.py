"""The fused step on a CPU is built once and kept; whatever stands in the way of that is one clear error."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from inna.torch import _fused_cpu


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


STEP = """
import torch
from inna.torch import INNA
p = torch.ones(3)
p.grad = p.clone()
INNA([p], fused=True).step()
"""


@pytest.fixture(scope="module")
def built() -> Path:
    return _fused_cpu._library(_fused_cpu._cache_directory())


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("INNA_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def compiler(tmp_path, monkeypatch, built) -> Iterator[Path]:
    """It notes its arguments and then "compiles" what is there already."""
    path = script(
        tmp_path / "c++",
        f'echo "$@" >> {tmp_path}/calls\nwhile [ "$1" != -o ]; do shift; done\ncp {built} "$2"\n',
    )
    monkeypatch.setenv("CXX", str(path))
    return path


def script(path: Path, commands: str) -> Path:
    path.write_text(f"#!/bin/sh\n{commands}")
    path.chmod(0o755)
    return path


def library() -> Path:
    return _fused_cpu._library(_fused_cpu._cache_directory())


def test_without_a_compiler_the_error_says_what_to_do(cache):
    done = run(STEP, PATH="/nowhere", CXX="")
    assert done.returncode == 1
    assert "needs a C++ compiler and found none: install g++ or clang++" in done.stderr.splitlines()[-1]


def test_a_failing_compiler_is_quoted_and_leaves_no_file(cache, compiler):
    script(compiler, "echo no such thing >&2; exit 1\n")
    done = run(STEP)
    assert done.returncode == 1
    assert "no such thing" in done.stderr
    assert not list(cache.iterdir())


def test_processes_that_start_together_build_once_and_say_so_once(cache, compiler):
    script(compiler, "sleep 1\n" + compiler.read_text().removeprefix("#!/bin/sh\n"))
    together = [
        subprocess.Popen([sys.executable, "-c", STEP], stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    errors = [p.communicate()[1] for p in together]
    assert [p.returncode for p in together] == [0, 0]
    assert len((cache.parent / "calls").read_text().splitlines()) == 1
    assert "".join(errors).count("inna: building the fused step") == 1
    assert run(STEP, CXX="/nowhere").stderr == ""


def test_the_library_is_keyed_by_source_torch_and_processor(cache, compiler, monkeypatch):
    names = {library().name}
    for owner, name, value in [
        (torch, "__version__", "0"),
        (_fused_cpu, "_processor", lambda: "another"),
        (_fused_cpu, "_FLAGS", ["-O0"]),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            names.add(library().name)
    assert len(names) == 4


def test_a_library_cut_short_or_corrupted_is_built_again(cache, compiler, built):
    for damage in (lambda whole: whole[: len(whole) // 2], lambda whole: whole[:-1] + b"x", lambda _: b""):
        path = library()
        path.write_bytes(damage(path.read_bytes()))
        assert library().read_bytes() == built.read_bytes()
        assert list(cache.iterdir()) == [path]
    path.write_bytes(b"")
    assert run(STEP).returncode == 0


def test_a_folder_that_may_only_be_read_serves_the_library_that_is_there(cache, compiler, monkeypatch):
    path = library()
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(_fused_cpu, "_build", refuse)
    assert library() == path


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


WAY_OUT = (
    r"cannot be used \(.*\): name a folder in the environment variable INNA_CACHE_DIR, or use foreach=True"
)


def test_a_cache_that_cannot_be_written_is_one_clear_error(cache, compiler, monkeypatch):
    monkeypatch.setattr(_fused_cpu.tempfile, "mkdtemp", refuse)
    with pytest.raises(RuntimeError, match=WAY_OUT.replace(".*", "Read-only file system")):
        library()


@pytest.mark.parametrize("folder", ["file", "file/below", "x" * 300, "/proc/inna"])
def test_a_cache_that_cannot_be_a_folder_is_one_clear_error(tmp_path, monkeypatch, folder):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INNA_CACHE_DIR", str(tmp_path / folder))
    with pytest.raises(RuntimeError, match=WAY_OUT):
        library()


def test_without_a_home_directory_the_error_says_what_to_do(monkeypatch):
    for name in ("INNA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}[0])  # a user that no file knows
    with pytest.raises(
        RuntimeError, match=r"no home directory: name a folder in .*INNA_CACHE_DIR, or use foreach"
    ):
        library()


def test_a_tilde_in_the_cache_directory_is_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INNA_CACHE_DIR", "~/x")
    assert _fused_cpu._cache_directory() == tmp_path / "x"


def test_a_file_system_without_locks_builds_without(cache, compiler, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert library().exists()


def test_what_a_compiler_says_may_be_in_any_encoding(cache, compiler):
    script(compiler, "printf 'erreur : \\351chec' >&2; exit 1\n")
    with pytest.raises(RuntimeError, match="erreur : \N{REPLACEMENT CHARACTER}chec"):
        library()


def test_cxx_may_have_arguments(cache, compiler, monkeypatch):
    monkeypatch.setenv("CXX", f"{compiler} -m64 -D'A B'")
    assert library().exists()
    assert (cache.parent / "calls").read_text().startswith("-m64 -DA B ")


@pytest.mark.parametrize("command", ["/no/such/c++", "no-such-c++ -O2", "'open"])
def test_a_missing_compiler_in_cxx_is_not_ignored(cache, monkeypatch, command):
    monkeypatch.setenv("CXX", command)
    with pytest.raises(RuntimeError, match=r"CXX names.*: correct CXX, unset it, or use foreach=True"):
        library()


@pytest.mark.parametrize("contents", ["", "no script\n"])
def test_a_compiler_that_cannot_run_or_builds_nothing_is_one_clear_error(cache, compiler, contents):
    compiler.write_text(contents)
    with pytest.raises(RuntimeError, match="could not be built, use foreach=True"):
        library()


def test_a_library_that_cannot_be_loaded_is_one_clear_error(cache, compiler, monkeypatch):
    monkeypatch.setattr(torch.ops, "load_library", refuse)
    with pytest.raises(RuntimeError, match=WAY_OUT):
        _fused_cpu._operation.__wrapped__()


def test_of_a_killed_build_the_next_one_leaves_nothing(cache, compiler):
    quick = compiler.read_text()
    script(compiler, f"echo $$ > {cache.parent}/at-work\nexec sleep 60\n")
    killed = subprocess.Popen([sys.executable, "-c", STEP], stderr=subprocess.DEVNULL)
    while not (at_work := cache.parent / "at-work").exists() or not at_work.read_text():
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    os.kill(int(at_work.read_text()), signal.SIGKILL)
    compiler.write_text(quick)
    path = library()
    assert list(cache.iterdir()) == [path]
