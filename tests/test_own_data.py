"""Anyone's own images: .npz files and folders of images."""

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy
from PIL import Image

from inna.lab import data
from inna.lab.data import DataError, own

N_TRAIN, N_TEST, HEIGHT, WIDTH = 12, 6, 5, 7
Arrays = dict[str, Any]


def arrays(**changes: Any) -> Arrays:
    """What an .npz in colour, channels last, may hold."""
    rng = np.random.default_rng(0)
    plain: Arrays = {
        "x_train": rng.integers(0, 256, (N_TRAIN, HEIGHT, WIDTH, 3), dtype=np.uint8),
        "y_train": np.arange(N_TRAIN) % 3,
        "x_test": rng.integers(0, 256, (N_TEST, HEIGHT, WIDTH, 3), dtype=np.uint8),
        "y_test": np.arange(N_TEST) % 3,
    }
    return {key: value for key, value in (plain | changes).items() if value is not None}


def npz(folder: Path, content: Arrays) -> str:
    path = folder / "own.npz"
    np.savez(path, **content)
    return str(path)


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x,
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: x / 255,
        lambda x: (x / 255).astype(np.float32),
    ],
    ids=["channels last", "channels first", "float64", "float32"],
)
def test_npz_in_colour(tmp_path: Path, layout: Callable[[Any], Any]) -> None:
    plain = arrays()
    stored = arrays(x_train=layout(plain["x_train"]), x_test=layout(plain["x_test"]))
    loaded = data.load(npz(tmp_path, stored))
    assert loaded.x_train.dtype == np.float32
    assert loaded.y_train.dtype == np.int64
    expected = plain["x_train"].transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(loaded.x_train, expected, atol=1e-7)
    np.testing.assert_array_equal(loaded.y_test, plain["y_test"])
    assert (loaded.classes, loaded.x_test.shape) == (3, (N_TEST, 3, HEIGHT, WIDTH))


def test_npz_in_grey_with_a_column_of_labels(tmp_path: Path) -> None:
    plain = arrays()
    grey = arrays(
        x_train=plain["x_train"][..., 0], x_test=plain["x_test"][..., 0], y_train=plain["y_train"][:, None]
    )
    loaded = data.load(npz(tmp_path, grey), train=4)
    assert loaded.x_train.shape == (4, 1, HEIGHT, WIDTH)
    assert loaded.y_train.tolist() == [0, 1, 2, 0]


def test_npz_without_a_test_set_is_split_the_same_way_each_time(tmp_path: Path) -> None:
    images = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((20, 5, 5), np.uint8)
    path = npz(tmp_path, {"images": images, "labels": np.arange(20) // 10})
    first = data.load(path)
    assert (len(first.x_train), len(first.x_test)) == (16, 4)
    parts = np.concatenate([first.x_train, first.x_test])[:, 0, 0, 0]
    assert sorted(np.rint(parts * 255).astype(int)) == list(range(20))
    assert set(first.y_train[:8].tolist()) == {0, 1}  # not in the order of the classes
    os.utime(path, ns=(0, 0))  # so that it is read again
    second = data.load(path)
    assert second is not first
    np.testing.assert_array_equal(second.x_train, first.x_train)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = npz(tmp_path, arrays())
    before = data.load(path)
    assert data.load(path) is before
    npz(tmp_path, arrays(x_train=np.zeros((N_TRAIN, HEIGHT, WIDTH, 3), np.uint8)))
    os.utime(path, ns=(0, 0))
    assert data.load(path).x_train.max() == 0


def with_nan() -> Any:
    x = arrays()["x_train"] / 255
    x[0, 0, 0, 0] = np.nan
    return x


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            arrays(y_test=None),
            "holds x_train, y_train, x_test; expected x_train, y_train, x_test, y_test, or",
        ),
        ({"a": np.zeros(3)}, "holds none of these arrays; expected x_train"),
        (arrays(y_train=np.array([{}] * N_TRAIN)), "cannot read y_train: Object arrays cannot be loaded"),
        (arrays(y_train=np.arange(3)), "12 training images but 3 labels"),
        (arrays(y_train=np.arange(N_TRAIN) % 3 + 1), "must be 0..C-1.*got 1, 2, 3: renumber them with"),
        (arrays(y_train=np.arange(N_TRAIN) % 2 * 2), "each must occur, got 0, 2: renumber"),
        (arrays(y_train=np.zeros(N_TRAIN, int)), "C at least 2"),
        (arrays(y_train=np.arange(N_TRAIN) % 3 - 1), "got -1, 0, 1: renumber"),
        (arrays(y_test=np.arange(N_TEST)), r"test labels must lie in 0\.\.2, got 0\.\.5"),
        (arrays(y_train=np.arange(N_TRAIN) % 3 * 1.0), "y_train must be integers, got float64"),
        (
            arrays(y_train=np.eye(3, dtype=int)[np.arange(N_TRAIN) % 3]),
            "one label an image, got an array of 12 x 3",
        ),
        (arrays(x_train=with_nan()), "x_train must lie in .*, 1 of its values are NaN"),
        (arrays(x_train=arrays()["x_train"] * 1.0), r"floats must lie in \[0, 1\], got 0 to 255: scale them"),
        (arrays(x_train=arrays()["x_train"].astype(int)), "must be uint8, or floats in .*, got int64"),
        (arrays(x_train=np.zeros((N_TRAIN, 35), np.uint8)), "must be N x H x W.*, got 12 x 35"),
        (arrays(x_train=np.zeros((0, 5, 7, 3), np.uint8)), "must be N x H x W.*, got 0 x 5 x 7 x 3"),
        (
            arrays(x_train=np.zeros((N_TRAIN, 5, 7, 9), np.uint8)),
            "must have 1 to 4 channels.*got 12 x 5 x 7 x 9",
        ),
        (arrays(x_train=np.zeros((N_TRAIN, 3, 7, 3), np.uint8)), "on one of them only, got 12 x 3 x 7 x 3"),
        (
            arrays(x_test=np.zeros((N_TEST, 5, 5, 3), np.uint8)),
            "training images are 3 x 5 x 7, test images 3 x 5 x 5",
        ),
        ({"images": np.zeros((6, 5, 5), np.uint8), "labels": np.arange(5) % 2}, "6 images but 5 labels"),
        ({"images": np.zeros((4, 5, 5), np.uint8), "labels": np.arange(4) % 2}, "4 images are too few"),
    ],
)
def test_a_wrong_npz(tmp_path: Path, content: Arrays, message: str) -> None:
    path = npz(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        data.load(path)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-200], lambda b: b"", lambda b: b[:300] + bytes(50) + b[350:]]
)
def test_a_damaged_npz(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = Path(npz(tmp_path, arrays()))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"own\.npz"):
        data.load(str(path))


def header(**claim: Any) -> bytes:
    """That of an .npy file with nothing behind it."""
    made = io.BytesIO()
    npy.write_array_header_1_0(made, {"descr": "|u1", "fortran_order": False, "shape": (N_TRAIN,)} | claim)
    return made.getvalue()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (header(shape=(64 * 10**9,)), "its header says 64000000000 of uint8, it holds 0 bytes"),
        (header(shape=(0, 1 << 80)), "cannot read x_train"),
        (header(descr="|S0"), "cannot read x_train"),
        (header(descr="|S0", shape=(1 << 40,)), "cannot read x_train: its header says"),
        (header(descr="|O"), "Object arrays cannot be loaded"),
        (header(shape=(-3, -4)) + bytes(12), "cannot read x_train: "),
        (b"no array", "its header is not that of an array of numbers"),
        (header().replace(b"(12,)", b"(12;)"), "its header is not that of an array of numbers"),
        (header().replace(b"(12,)", b"(12.)"), "its header is not that of an array of numbers"),
        (header().replace(b"'shape'", b"1234567"), "its header is not that of an array of numbers"),
        (header().replace(b"NUMPY\1", b"NUMPY\3"), "its header is not that of an array of numbers"),
        (header().replace(b"|u1", b"|u3"), "its header is not that of an array of numbers"),
        (b"\x93NUMPY\1\0\xe8\3" + b"(" * 1000, "its header is not that of an array of numbers"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff", "its header is not that of an array of numbers"),
    ],
)
def test_an_array_that_is_none(tmp_path: Path, member: bytes, message: str) -> None:
    path = Path(npz(tmp_path, arrays(x_train=None)))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x_train.npy", member)
    with pytest.raises(DataError, match=message) as caught:
        data.load(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("way", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, 99])
def test_an_npz_packed_as_numpy_packs_none(tmp_path: Path, way: int) -> None:
    path = Path(npz(tmp_path, arrays(x_train=None)))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA if way == 99 else way) as file:
        file.writestr("x_train.npy", header())
    if way == 99:
        path.write_bytes(path.read_bytes().replace(b"\x0e\0", b"\x63\0"))
    with pytest.raises(
        DataError, match="cannot read x_train: it is packed in a way that NumPy does not write"
    ):
        data.load(str(path))


def test_an_npz_that_unpacks_to_more_than_ten_times_its_length_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    many = arrays(x_train=np.zeros((N_TRAIN, 2000, 2000), np.uint8))
    np.savez_compressed(path, **many)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"own\.npz unpacks to 48,\S+ bytes.*write it with numpy\.savez"):
        data.load(str(path))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_packed_npz_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **arrays(x_train=np.zeros((N_TRAIN, HEIGHT, WIDTH, 3), np.uint8)))
    assert data.load(str(path)).x_train.max() == 0


def picture(path: Path, *, seed: int = 0, mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.convert(mode).save(path)
    return pixels


def test_folder_with_a_test_set(tmp_path: Path) -> None:
    drawn = {}
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(["cats", "dogs"]):
            for i in range(count):
                seed = 100 * (split == "test") + 10 * label + i
                drawn[seed] = (picture(tmp_path / split / name / f"{i}.png", seed=seed), label)
    (tmp_path / "train" / "cats" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".hidden").mkdir()
    loaded = data.load(str(tmp_path))
    assert loaded.classes == 2
    for x, y, seeds in (
        (loaded.x_train, loaded.y_train, [0, 1, 2, 3, 10, 11, 12, 13]),
        (loaded.x_test, loaded.y_test, [100, 101, 110, 111]),
    ):
        held = {
            (np.rint(image * 255).astype(np.uint8).tobytes(), int(label))
            for image, label in zip(x, y, strict=True)
        }
        assert held == {(drawn[s][0].transpose(2, 0, 1).tobytes(), drawn[s][1]) for s in seeds}
    assert set(data.load(str(tmp_path), train=4).y_train.tolist()) == {0, 1}  # the first images are a mixture


@pytest.mark.parametrize("below", ["train", "."])
def test_folder_without_a_test_set(tmp_path: Path, below: str) -> None:
    for name in ("0", "1", "2"):
        for i in range(5):
            picture(tmp_path / below / name / f"{i}.JPG", seed=i, mode="L")
    loaded = data.load(str(tmp_path))
    assert loaded.x_train.shape == (12, 1, HEIGHT, WIDTH)
    assert loaded.x_test.shape == (3, 1, HEIGHT, WIDTH)
    assert sorted([*loaded.y_train, *loaded.y_test]) == [0] * 5 + [1] * 5 + [2] * 5


def test_grey_images_among_coloured_ones_have_three_channels(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(3):
            picture(tmp_path / name / f"{i}.png", mode="L" if i == 0 else "RGB")
    loaded = data.load(str(tmp_path))
    assert loaded.x_train.shape[1:] == (3, HEIGHT, WIDTH)
    everything = np.concatenate([loaded.x_train, loaded.x_test])
    assert sum(bool((image[0] == image[2]).all()) for image in everything) == 2


def folder(root: Path) -> Path:
    for split in ("train", "test"):
        for name in ("a", "b"):
            for i in range(3):
                picture(root / split / name / f"{i}.png")
    return root


def test_what_is_no_image_is_left_alone(tmp_path: Path) -> None:
    """macOS puts a ._x.png beside each x.png on other systems' disks."""
    folder(tmp_path)
    (tmp_path / "train" / "a" / "._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "train" / "a" / "more.png").mkdir()
    os.mkfifo(tmp_path / "train" / "a" / "pipe.png")
    assert len(data.load(str(tmp_path)).x_train) == 6


def test_a_picture_that_unpacks_to_more_than_ten_times_its_length_is_refused_unread(tmp_path: Path) -> None:
    folder(tmp_path)
    Image.new("L", (3000, 3000)).save(tmp_path / "train" / "b" / "1.png")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"b/1\.png is 3000 x 3000 .*make the images smaller"):
        data.load(str(tmp_path))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda r: picture(r / "train/b/1.png", size=(6, 5)),
            r"train/b/1\.png is 6 x 5, but .*train/a/0\.png is 7 x 5",
        ),
        (lambda r: picture(r / "test/b/1.png", size=(9, 9)), r"test/b/1\.png is 9 x 9"),
        (lambda r: (r / "train/b/1.png").write_bytes(b"no image"), r"cannot read .*train/b/1\.png"),
        (
            lambda r: (r / "train/b/1.png").write_bytes((r / "train/b/1.png").read_bytes()[:-40]),
            r"cannot read .*train/b/1\.png",
        ),
        (
            lambda r: picture(r / "train/b/1.png", mode="RGBA"),
            r"b/1\.png has mode RGBA: save it as 8-bit grey or RGB",
        ),
        (lambda r: (r / "train/c").mkdir(), "train/c holds no image"),
        (lambda r: picture(r / "test/c/1.png"), "test/c is no class of the training set: a, b"),
        (lambda r: (r / "train").rename(r / "practice"), "has a folder test but no folder train"),
    ],
)
def test_a_wrong_folder(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(folder(tmp_path))
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path))


@pytest.mark.parametrize("kind", ["npz", "png"])
def test_whatever_damage_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    """Bytes are changed at random: the file is read, or refused with its name, and nothing else happens."""
    name = npz(tmp_path, arrays()) if kind == "npz" else str(folder(tmp_path / "folder"))
    spoilt = Path(name) if kind == "npz" else Path(name) / "train" / "b" / "1.png"
    whole = spoilt.read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    for _ in range(120):
        content = bytearray(whole)
        for at in rng.integers(len(content), size=4):
            content[at] = rng.integers(256)
        spoilt.write_bytes(content)
        try:
            (own.read_npz if kind == "npz" else own.read_folder)(Path(name))
        except DataError as error:
            refusals.append(str(error))
    assert len(refusals) > 40
    assert all(spoilt.name in refusal for refusal in refusals)


def test_a_folder_that_is_no_image_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder of images for each class, at least two; found 0"):
        data.load(str(tmp_path))
    picture(tmp_path / "a" / "0.png")
    with pytest.raises(DataError, match="at least two; found 1"):
        data.load(str(tmp_path))


def test_names(tmp_path: Path) -> None:
    for name in [*data.DATASETS, str(tmp_path), npz(tmp_path, arrays())]:
        assert data.check_name(name) == name
    with pytest.raises(DataError, match=r"there is no file absent\.npz"):
        data.check_name("absent.npz")
    for name in ("imagenet", "", str(tmp_path / "absent")):
        with pytest.raises(
            DataError, match=r"unknown data set .*choose from mnist5k.* or give the path of an \.npz"
        ):
            data.check_name(name)
