"""Damaged and lying files: a reader gives a value or one clear error, and takes memory by the file's length.

The cases are drawn with a fixed seed, so they are the same everywhere; INNA_FUZZ sets how many a reader gets.
"""

import gzip
import io
import json
import os
import random
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inna.lab import plan, records
from inna.lab.data import DataError, formats, own
from inna.lab.running.lookup import looked_up

CASES = int(os.environ.get("INNA_FUZZ", "500"))
SLACK = 1 << 20
"""For what does not depend on the file: an exception with its traceback, the objects of an open archive."""

Chance = random.Random
Write = Callable[[Path, Chance], Path]
"""Writes a case below a folder, and returns what the reader is given."""


def spoilt(content: bytes, chance: Chance) -> bytes:
    """Some bytes changed, cut out, doubled or put in."""
    made = bytearray(content)
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(6):
            case 0:
                made[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                made[at : at + 4] = chance.choice(
                    (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80")
                )
            case 2:
                del made[at:]
            case 3:
                del made[at : at + chance.randrange(64)]
            case 4:
                made[at:at] = made[: chance.randrange(64)]
            case 5:
                made[at:at] = chance.randbytes(chance.randrange(8))
    return bytes(made)


def size(chance: Chance) -> int:
    """A length that a header may claim."""
    return chance.choice(
        (0, 1, 2, 3, 4, 8, 28, 255, 1 << 10, 1 << 16, 1 << 31, (1 << 32) - 1, chance.getrandbits(32))
    )


def an_npz(folder: Path, chance: Chance) -> Path:
    """Arrays with their headers, or others', packed in some way."""
    shape = chance.choice(((12, 5, 7), (12, 5, 7, 3), (12, 1, 5, 5)))
    forms: tuple[dict[str, tuple[int, ...]], ...] = (
        {"x_train": shape, "y_train": shape[:1], "x_test": shape, "y_test": shape[:1]},
        {"images": shape, "labels": shape[:1]},
    )
    path = folder / "own.npz"
    ways = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    (packed,) = chance.choices(ways, (10, 10, 1, 1))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w", packed) as file:
        for key, true_shape in chance.choice(forms).items():
            if chance.random() < 0.95:
                file.writestr(f"{key}.npy", an_array(true_shape, chance))
        if chance.random() < 0.05:
            file.writestr("images.npy", bytes(chance.choice((1 << 20, 8 << 20))))
    if chance.random() < 0.5:
        path.write_bytes(spoilt(path.read_bytes(), chance))
    return path


def an_array(shape: tuple[int, ...], chance: Chance) -> bytes:
    dtype = np.dtype(
        chance.choice(("u1", "u1", "u1", "f4", "f8", "f2", "i8", "O", "U3", "S0", "M8[s]", "c8", "?"))
    )
    made = io.BytesIO()
    if chance.random() < 0.7:
        values = np.arange(np.prod(shape)).reshape(shape) % 2
        np.save(made, values.astype(dtype if len(shape) > 1 and chance.random() < 0.5 else "u1"))
        return spoilt(made.getvalue(), chance) if chance.random() < 0.3 else made.getvalue()
    claimed = chance.choice(
        (shape, tuple(size(chance) for _ in shape), (-1, *shape[1:]), (size(chance),) * 33)
    )
    descr = chance.choice(
        (dtype.str, "|O", "<f99", [("a", "<f4")], ("<f4", (99999999,)), "((" * 400, "|V2000000000", 7)
    )
    header = repr({"descr": descr, "fortran_order": chance.random() < 0.5, "shape": claimed}).encode()
    header = chance.choice((header,) * 8 + (b"(" * 500, b"{" * 300, b"[]", b"{1: 2, 'a': 3}", header[:-3]))
    version = chance.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\0"))
    length = struct.pack("<I" if version[0] > 1 else "<H", len(header))
    return b"\x93NUMPY" + version + length + header + chance.randbytes(chance.choice((0, 12, 420)))


def read_idx(folder: Path) -> Any:
    return formats.read_idx(folder / "images", folder / "labels")


def two_idx(folder: Path, chance: Chance) -> Path:
    """A pair of IDX files, gzipped or not, with headers that may claim anything."""
    for name, dimensions in (("images", 3), ("labels", 1)):
        shape = [6, 5, 4][:dimensions]
        content = chance.randbytes(int(np.prod(shape)))
        if chance.random() < 0.3:
            shape = [size(chance) for _ in shape]
        if chance.random() < 0.05:
            shape = [1 << 32 - 1, 1 << 31, 8][:dimensions]  # 2^65: nothing, to a product of 64 bits
            content = b""
        if chance.random() < 0.05:
            content = bytes(chance.choice((1 << 20, 8 << 20)))
        whole = struct.pack(f">4B{dimensions}I", 0, 0, 8, dimensions, *shape) + content
        for path in (folder / name, folder / f"{name}.gz"):
            path.unlink(missing_ok=True)
        if chance.random() < 0.5:
            (folder / f"{name}.gz").write_bytes(spoilt(gzip.compress(spoilt(whole, chance), 1), chance))
        else:
            (folder / name).write_bytes(spoilt(whole, chance))
    return folder


def read_cifar(folder: Path) -> Any:
    return formats.read_cifar([folder / "1.bin", folder / "2.bin"], label_bytes=1)


def two_cifar(folder: Path, chance: Chance) -> Path:
    """CIFAR's binary files, gzipped or not."""
    for name in ("1.bin", "2.bin"):
        whole = chance.randbytes(3073 * chance.randrange(3))
        if chance.random() < 0.05:
            whole = bytes(chance.choice((3073 * 400, 3073 * 4000)))
        for path in (folder / name, folder / f"{name}.gz"):
            path.unlink(missing_ok=True)
        if chance.random() < 0.5:
            (folder / f"{name}.gz").write_bytes(spoilt(gzip.compress(whole, 1), chance))
        else:
            (folder / name).write_bytes(whole if chance.random() < 0.5 else spoilt(whole, chance))
    return folder


def a_class_folder(folder: Path, chance: Chance) -> Path:
    """Two classes of three pictures, one of them drawn anew for each case."""
    root = folder / "classes"
    if not root.exists():
        for name in ("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(a_picture("PNG", (5, 4)))
    for path in (root / "b").glob("new*"):
        path.unlink()
    form = chance.choice(("PNG", "JPEG"))
    content = a_picture(form, (5, 4), mode=chance.choice(("L", "RGB", "P", "1", "RGBA", "I;16", "CMYK")))
    if form == "PNG" and chance.random() < 0.5:
        content = content[:16] + struct.pack(">II", size(chance), size(chance)) + content[24:]
        content = content[:29] + struct.pack(">I", zlib.crc32(content[12:29])) + content[33:]
    if form == "PNG" and chance.random() < 0.1:
        text = b"zTXta\0\0" + zlib.compress(bytes(chance.choice((1 << 18, 1 << 23))))
        chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
        content = content[:33] + chunk * chance.randrange(1, 4) + content[33:]
    name = chance.choice(("new.png", "new.jpg", ".new.png", "._new.png", "new.JPEG", "new.txt"))
    (root / "b" / name).write_bytes(content if chance.random() < 0.3 else spoilt(content, chance))
    return root


def a_picture(form: str, of: tuple[int, int], mode: str = "L") -> bytes:
    mode = {"PNG": {"CMYK": "LA"}, "JPEG": {"P": "L", "RGBA": "RGB", "I;16": "L"}}[form].get(mode, mode)
    made = io.BytesIO()
    Image.new(mode, of).save(made, form)
    return made.getvalue()


PLAN: dict[str, dict[str, str]] = {
    "": {
        "name": '"plan"',
        "epochs": "2",
        "selection_epochs": "1",
        "grid": "[0.1, 0.2]",
        "seeds": "[0, 1]",
        "decays": "[0.25]",
        "modules": '["."]',
        "init": '"own"',
        "batch_size": "32",
        "threads": "1",
    },
    "[[problems]]": {"dataset": '"digits"', "network": '"small"', "train": "100"},
    "[[settings]]": {
        "label": '"INNA"',
        "optimizer": '"inna"',
        "options": "{ alpha = 0.5, beta = 0.1 }",
        "schedule": '{ family = "warmup", steps = 5, then = { family = "power", q = 0.5 } }',
        "role": '"candidate"',
        "grid": "[0.1]",
    },
}


ODD = [
    *("1e400", "-1", "0", "true", "nan", "-inf", "9" * 30, "9" * 5000, "0x" + "f" * 5000, "1979-05-27"),
    *('""', "'...'", '"a.b"', '"\\u0000"', '"' + "a" * 300 + '"', "[]", "{}", "[[1]]", "{ a = 1 }"),
    *('[{ family = "x" }]', "{ family = 3, q = [{}] }"),
    *("[" * 3000 + "]" * 3000, "{ a = " * 300 + "1" + "}" * 300),
]


def a_plan(folder: Path, chance: Chance) -> Path:
    """A plan of which some fields are others, missing or unknown, and some bytes damaged."""
    lines = []
    for table, fields in PLAN.items():
        lines.append(table)
        for key, value in fields.items():
            if chance.random() < 0.98:
                key, value = (chance.choice(ODD) if chance.random() < 0.02 else text for text in (key, value))
                lines.append(f"{key} = {value}")
        if chance.random() < 0.05:
            lines.append(".".join("x" * chance.choice((1, 3, 2000))) + f" = {chance.choice(ODD)}")
    content = "\n".join(lines).encode(chance.choice(("utf-8", "utf-8-sig")))
    path = folder / "plan.toml"
    path.write_bytes(spoilt(content, chance) if chance.random() < 0.5 else content)
    return path


RECORD: dict[str, Any] = {
    **{"epoch": 0, "train_loss": 2.3, "train_loss_running": None, "train_accuracy": 0.1, "test_loss": 2.3},
    **{
        "test_accuracy": 0.1,
        "lr": 0.1,
        "diverged": False,
        "seconds": 0.5,
        "time": "2026-01-01T00:00:00+00:00",
    },
    **{"host": "here", "process": 1, "worker": "local-0"},
}


def some_records(folder: Path, chance: Chance) -> Path:
    """A run's records, of which an epoch is missing or twice, a field another, or some bytes damaged."""
    epochs = [epoch for epoch in range(chance.randrange(6)) for _ in range(chance.choice([1] * 30 + [0, 2]))]
    odd: tuple[Any, ...] = (
        float("nan"),
        float("inf"),
        10**400,
        -1,
        True,
        None,
        "",
        [],
        {},
        "2026",
        "2026-01-01T00:00:00",
    )
    lines = []
    for epoch in epochs:
        record = {
            key: chance.choice(odd) if chance.random() < 0.005 else value
            for key, value in (RECORD | {"epoch": epoch}).items()
            if chance.random() < 0.998
        }
        lines.append(json.dumps(record).encode() + chance.choice((b"\n",) * 30 + (b"", b"\r\n", b"\n\n")))
    if chance.random() < 0.05:
        lines.insert(
            0, chance.choice((b"[" * 9000, b'{"epoch":' * 9000, b"9" * 9000, b"null", b"\xff")) + b"\n"
        )
    path = folder / "records.jsonl"
    path.write_bytes(b"".join(lines) if chance.random() < 0.5 else spoilt(b"".join(lines), chance))
    return path


READERS: dict[str, tuple[Write, Callable[[Path], Any]]] = {
    "npz": (an_npz, own.read_npz),
    "idx": (two_idx, read_idx),
    "cifar": (two_cifar, read_cifar),
    "folder": (a_class_folder, own.read_folder),
    "plan": (a_plan, lambda path: looked_up(plan.load(str(path)))),
    "records": (some_records, records.read),
}


def refusal(read: Callable[[Path], Any], given: Path) -> str | None:
    try:
        read(given)
    except (DataError, plan.PlanError, records.RecordError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("reader", READERS)
def test_a_value_or_one_clear_line_and_at_most_ten_times_the_files_length(
    reader: str, tmp_path: Path
) -> None:
    write, read = READERS[reader]
    looked_up(plan.load("quick"))  # which loads PyTorch's optimizers
    refused = 0
    for case in range(CASES):
        given = write(tmp_path, Chance(f"{reader} {case}"))
        length = sum(path.stat().st_size for path in (given, *given.rglob("*")) if path.is_file())
        tracemalloc.start()
        try:
            line = refusal(read, given)
        except BaseException as error:
            error.add_note(f"case {case}")
            raise
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < formats.room(length) + SLACK, (case, peak, length)
        if line is not None:
            refused += 1
            if reader == "plan":  # a line for each mistake
                assert all(": " in part for part in line.split("\n")), (case, line)
            else:
                assert "\n" not in line, (case, line)
                assert str(tmp_path) in line, (case, line)
    assert 0 < refused < CASES


@pytest.mark.parametrize(
    ("read", "length", "heads"),
    [
        (read_cifar, 3073 * 4000, {"1.bin": b"", "2.bin": b""}),
        (
            read_idx,
            3073 * 7000,
            {
                "images": struct.pack(">4B3I", 0, 0, 8, 3, 7000, 3073, 1),
                "labels": struct.pack(">4BI", 0, 0, 8, 1, 3073 * 7000),
            },
        ),
    ],
)
def test_files_that_are_read_together_share_the_room(
    tmp_path: Path, read: Callable[[Path], Any], length: int, heads: dict[str, bytes]
) -> None:
    for name, head in heads.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(head + bytes(length), 1))
    tracemalloc.start()
    with pytest.raises(DataError):
        read(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < formats.room(0) + SLACK
