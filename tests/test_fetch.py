"""Downloads against a server in this process that fails on purpose."""

import hashlib
import io
import multiprocessing
import shutil
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from inna import cli
from inna.lab.data import fetch, sources
from inna.lab.data.official import DataError, File, Source

AT_ONCE = (0.0, 0.0, 0.0)
BOUND = 300  # seconds that only a hang takes
FILES = {
    f"part{i}.bin": np.random.default_rng(i).integers(0, 256, 300_000 + i, dtype=np.uint8).tobytes()
    for i in range(2)
}
WHOLE = len(FILES["part0.bin"])


class Server:
    """Serves `content` by path; `misbehave` holds what it does wrong, one a request, before it does well."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.misbehave: list[str] = []
        self.requests: list[tuple[str, str | None]] = []
        self.arrived, self.go_on, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self.go_on.set()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/"

    def stop(self) -> None:
        self.go_on.set()
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                server.requests.append((self.path.lstrip("/"), asked))
                wrong = server.misbehave.pop(0) if server.misbehave else "nothing"
                body = server.content.get(self.path.lstrip("/"))
                server.arrived.set()
                server.go_on.wait(BOUND)
                if wrong.isdigit() or body is None:
                    return self.send_error(int(wrong) if wrong.isdigit() else 404)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                if wrong == "ignores ranges":
                    start = 0
                self.send_response(206 if start else 200)
                if start:
                    told = 0 if wrong == "sends another range" else start
                    self.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
                if wrong != "ends early":  # without a length the end of the connection is the end of the file
                    self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                rest = body[start:]
                half = wrong in ("cuts", "ends early", "stalls")
                self.wfile.write(rest[: len(rest) // 2] if half else rest)
                if wrong == "stalls":
                    server.stopped.wait(BOUND)

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    running.content = dict(FILES)
    yield running
    running.stop()


def described(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def plain(*mirrors: str) -> Source:
    return Source("set", mirrors, tuple(described(name, content) for name, content in FILES.items()))


def only_the_set(home: Path) -> bool:
    """Whether `home` holds the whole data set and, but for the lock, nothing else."""
    held = {path.name for path in home.iterdir()} - {".set.lock"}
    files = {path.name: path.read_bytes() for path in (home / "set").iterdir()}
    return held == {"set"} and files == FILES


def nothing_in_place(home: Path) -> bool:
    return not (home / "set").exists()


def test_files_arrive_and_are_not_fetched_again(server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    home = tmp_path / "not" / "there yet"
    folder = fetch.fetch(plain(server.url), home, on_progress=lambda *now: told.append(now), pauses=AT_ONCE)
    assert folder == home / "set"
    assert only_the_set(home)
    total = sum(map(len, FILES.values()))
    assert told[-1] == ("part1.bin", total, total)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    fetch.fetch(plain(server.url), home)
    assert server.requests == [("part0.bin", None), ("part1.bin", None)]


def test_a_connection_cut_in_the_middle_is_resumed(server: Server, tmp_path: Path) -> None:
    server.misbehave = ["cuts"]
    fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert server.requests[:2] == [("part0.bin", None), ("part0.bin", f"bytes={WHOLE // 2}-")]
    assert only_the_set(tmp_path)


def test_as_long_as_bytes_arrive_patience_does_not_end(server: Server, tmp_path: Path) -> None:
    server.misbehave = ["cuts"] * 10
    fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert only_the_set(tmp_path)


def test_a_server_that_cannot_resume_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.misbehave = ["cuts", "ignores ranges"]
    fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert server.requests[1] == ("part0.bin", f"bytes={WHOLE // 2}-")
    assert only_the_set(tmp_path)


@pytest.mark.parametrize("failure", ["500", "503", "429", "ends early"])
def test_a_passing_failure_is_tried_again(server: Server, tmp_path: Path, failure: str) -> None:
    server.misbehave = [failure]
    fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert only_the_set(tmp_path)


def test_a_failure_that_lasts_is_told(server: Server, tmp_path: Path) -> None:
    server.misbehave = ["cuts"] + ["500"] * 20
    with pytest.raises(DataError, match=r"cannot fetch part0\.bin: http://127.*HTTP 500; 150,000 of 300,000"):
        fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert len(server.requests) == 1 + len(AT_ONCE)
    assert nothing_in_place(tmp_path)


def test_a_stale_part_is_thrown_away(server: Server, tmp_path: Path) -> None:
    """Resumed, the file is wrong; fetched once more from its beginning, it is right."""
    part = tmp_path / ".set.part" / "part0.bin.part"
    part.parent.mkdir()
    part.write_bytes(bytes(1000))
    fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert server.requests[:2] == [("part0.bin", "bytes=1000-"), ("part0.bin", None)]
    assert only_the_set(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * WHOLE, "wrong SHA-256"),
        (FILES["part0.bin"][:-1], "299,999 bytes where 300,000 are expected"),
        (FILES["part0.bin"] + b"x", "300,001 bytes where 300,000 are expected"),
        (None, "HTTP 404"),
    ],
    ids=["other bytes", "truncated", "too long", "absent"],
)
def test_a_wrong_file(server: Server, tmp_path: Path, content: bytes | None, message: str) -> None:
    good = f"{server.url}good/"
    server.content |= {f"good/{name}": whole for name, whole in FILES.items()}
    if content is None:
        del server.content["part0.bin"]
    else:
        server.content["part0.bin"] = content
    with pytest.raises(DataError, match=message):
        fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert nothing_in_place(tmp_path)
    assert server.requests == [("part0.bin", None)]  # no use asking again
    fetch.fetch(plain(server.url, good), tmp_path, pauses=AT_ONCE)
    assert only_the_set(tmp_path)


def test_a_wrong_range_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.misbehave = ["cuts", "sends another range"]
    with pytest.raises(DataError, match="another range than the one asked for"):
        fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert only_the_set(tmp_path)


def test_a_file_without_end_does_not_fill_the_disk(server: Server, tmp_path: Path) -> None:
    server.misbehave = ["ends early"]  # half of what follows, of no announced length
    server.content["part0.bin"] = bytes(4 * WHOLE)
    with pytest.raises(DataError, match="more than the expected 300,000 bytes"):
        fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert not list((tmp_path / ".set.part").iterdir())


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    server.stop()
    with pytest.raises(DataError, match=r"no connection \(ConnectionError\)"):
        fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)


def test_only_what_is_missing_is_fetched_and_nothing_is_overwritten(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "part0.bin").write_bytes(FILES["part0.bin"])
    fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert server.requests == [("part1.bin", None)]
    assert only_the_set(tmp_path)
    (folder / "part1.bin").write_bytes(b"somebody's own")
    with pytest.raises(DataError, match=r"part1\.bin is not the official file .* move it away"):
        fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert (folder / "part1.bin").read_bytes() == b"somebody's own"


def test_a_full_disk_is_foreseen(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"has 0 MB free, 1 MB are needed"):
        fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert server.requests == []


def fetch_elsewhere(source: Source, home: Path, parent: Connection) -> None:
    """Fetch when told to, in a process of its own, and tell what is done."""
    parent.send("ready")
    parent.recv()
    fetch.fetch(source, home, on_progress=lambda doing, done, _: parent.send((doing, done)), pauses=AT_ONCE)
    parent.send("the end")


@pytest.fixture
def command(server: Server, tmp_path: Path) -> Iterator[Callable[[], tuple[BaseProcess, Connection]]]:
    """Start another process that is ready to fetch; what is sent to its connection sets it off."""
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = []

    def start() -> tuple[BaseProcess, Connection]:
        here, there = context.Pipe()
        process = context.Process(target=fetch_elsewhere, args=(plain(server.url), tmp_path, there))
        process.start()
        processes.append(process)
        assert here.poll(BOUND)
        assert here.recv() == "ready"
        return process, here

    yield start
    for process in processes:
        process.kill()
        process.join()


def test_two_commands_at_once(
    server: Server, tmp_path: Path, command: Callable[[], tuple[BaseProcess, Connection]]
) -> None:
    (one, to_one), (other, to_other) = command(), command()
    server.go_on.clear()
    to_one.send("go")
    assert server.arrived.wait(BOUND)
    to_other.send("go")
    assert to_other.poll(BOUND)
    assert to_other.recv() == ("waiting for another command", 0)
    server.go_on.set()
    one.join(BOUND)
    other.join(BOUND)
    assert (one.exitcode, other.exitcode) == (0, 0)
    assert to_other.recv() == "the end"  # it had nothing left to fetch
    assert sorted(server.requests) == [("part0.bin", None), ("part1.bin", None)]
    assert only_the_set(tmp_path)


def test_a_killed_command_is_resumed_by_the_next(
    server: Server, tmp_path: Path, command: Callable[[], tuple[BaseProcess, Connection]]
) -> None:
    server.misbehave = ["stalls"]
    process, connection = command()
    connection.send("go")
    while connection.poll(BOUND) and connection.recv()[1] == 0:
        pass
    process.kill()
    process.join(BOUND)
    assert nothing_in_place(tmp_path)
    kept = (tmp_path / ".set.part" / "part0.bin.part").stat().st_size
    assert 0 < kept < WHOLE
    fetch.fetch(plain(server.url), tmp_path, pauses=AT_ONCE)
    assert server.requests[1] == ("part0.bin", f"bytes={kept}-")
    assert only_the_set(tmp_path)


def packed(*extra: tarfile.TarInfo, files: dict[str, bytes] = FILES) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info, io.BytesIO(bytes(info.size)) if info.isfile() else None)
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 3 if kind == tarfile.REGTYPE else 0
    return info


def archived(server: Server, content: bytes) -> Source:
    server.content["set.tar.gz"] = content
    return Source("set", (server.url,), plain().files, archive=described("set.tar.gz", content))


def test_an_archive_is_unpacked(server: Server, tmp_path: Path) -> None:
    server.misbehave = ["cuts"]
    source = archived(server, packed(member("set", tarfile.DIRTYPE)))
    assert fetch.fetch(source, tmp_path, pauses=AT_ONCE) == tmp_path / "set"
    assert only_the_set(tmp_path)
    (tmp_path / "set" / "part1.bin").unlink()
    (tmp_path / "set" / "notes.txt").write_text("mine")
    fetch.fetch(source, tmp_path, pauses=AT_ONCE)
    assert (tmp_path / "set" / "part1.bin").read_bytes() == FILES["part1.bin"]
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "trap",
    [
        lambda outside: member("set/../../escaped"),
        lambda outside: member("../escaped"),
        lambda outside: member(str(outside)),
        lambda outside: member("other/escaped"),
        lambda outside: member("set/link", tarfile.SYMTYPE, str(outside)),
        lambda outside: member("set/link", tarfile.LNKTYPE, "set/part0.bin"),
        lambda outside: member("set/device", tarfile.CHRTYPE),
        lambda outside: member("set/pipe", tarfile.FIFOTYPE),
    ],
    ids=["out and up", "up", "absolute", "beside", "symbolic link", "hard link", "device", "pipe"],
)
def test_an_archive_that_leads_elsewhere(
    server: Server, tmp_path: Path, trap: Callable[[Path], tarfile.TarInfo]
) -> None:
    home, outside = tmp_path / "a" / "home", tmp_path / "escaped"
    source = archived(server, packed(trap(outside)))
    with pytest.raises(DataError, match="no plain file in set/: nothing of it is unpacked"):
        fetch.fetch(source, home, pauses=AT_ONCE)
    assert not list(tmp_path.rglob("escaped"))
    assert not list(tmp_path.rglob("part0.bin"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed()[:-50_000], "cannot be unpacked"),
        (b"no archive", "cannot be unpacked"),
        (packed(files={"part0.bin": FILES["part0.bin"]}), r"does not hold part1\.bin of 300,001 bytes"),
    ],
    ids=["truncated", "no archive", "a file is missing"],
)
def test_an_archive_that_is_not_what_it_should_be(
    server: Server, tmp_path: Path, content: bytes, message: str
) -> None:
    """As its checksum is right, somebody published it so: nothing is in place, and it is told."""
    with pytest.raises(DataError, match=message):
        fetch.fetch(archived(server, content), tmp_path, pauses=AT_ONCE)
    assert nothing_in_place(tmp_path)


def inna(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in this process, where the sources can be exchanged."""
    monkeypatch.setattr(sys, "argv", ["inna", "data", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.run()
    return int(exit_.value.code or 0)


def test_the_command(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INNA_DATA", str(tmp_path))
    monkeypatch.setattr(
        sources, "OFFICIAL", {"mnist": plain(server.url), "cifar10": plain(server.url + "no/")}
    )
    assert inna(monkeypatch, "verify") == 1
    assert "found no data set in" in capsys.readouterr().err
    assert inna(monkeypatch, "fetch", "cifar10", "mnist") == 1  # the one that fails does not stop the other
    told = capsys.readouterr()
    assert told.out == f"mnist: {tmp_path / 'set'}\n"
    assert told.err.startswith("inna: cifar10: cannot fetch part0.bin: http://127.0.0.1")
    assert told.err.count("\n") == 1
    assert inna(monkeypatch, "verify", "mnist") == 0
    assert capsys.readouterr().out.count("the official file\n") == 2
    (tmp_path / "set" / "part0.bin").write_bytes(bytes(WHOLE))
    (tmp_path / "set" / "part1.bin").unlink()
    assert inna(monkeypatch, "verify", "mnist", "--data-dir", str(tmp_path)) == 1
    told = capsys.readouterr()
    assert "part0.bin: NOT the official file: damaged, or another copy" in told.out
    assert "part1.bin: MISSING" in told.out
    assert inna(monkeypatch, "list") == 0
    assert "incomplete" in capsys.readouterr().out
    assert inna(monkeypatch, "fetch", "digits") == 1
    assert "digits comes with a package: there is nothing to fetch or verify" in capsys.readouterr().err
    assert inna(monkeypatch, "fetch", "svhn") == 1
    assert "no source for the data set 'svhn': choose from mnist, cifar10" in capsys.readouterr().err
