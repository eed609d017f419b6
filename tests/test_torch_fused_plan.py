"""The plan of a step on a GPU, made without one: what goes together, what is copied, what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from inna.torch import _fused_plan
from inna.torch._fused_plan import LARGE, PIECE, Launch, fact, plan

Columns = dict[str, list[Tensor]]


def columns_of(*params: Tensor) -> Columns:
    return {
        "params": list(params),
        "grads": [torch.zeros_like(p) for p in params],
        "momentum_buffers": [torch.zeros_like(p) for p in params],
        "exp_avg_sqs": [torch.zeros_like(p) for p in params],
        "compensations": [torch.zeros_like(p) for p in params],
        "steps": [torch.zeros(()) for _ in params],
    }


def planned(columns: Columns) -> tuple[list[int], list[Launch]]:
    return plan(tuple((name, tuple(map(fact, column))) for name, column in columns.items()))


def rows(columns: Columns) -> list[tuple[int, ...]]:
    return [launch.rows for launch in planned(columns)[1]]


def empty(*shape: int) -> Tensor:
    """A tensor whose memory nobody touches."""
    return torch.empty(shape)


def test_many_small_parameters_share_launches_of_32():
    columns = columns_of(*(torch.zeros(16) for _ in range(70)))
    assert rows(columns) == [tuple(range(32)), tuple(range(32, 64)), tuple(range(64, 70))]


def test_large_parameters_are_launched_singly():
    columns = columns_of(torch.zeros(16), empty(LARGE), torch.zeros(32), empty(LARGE - 16), empty(LARGE))
    assert sorted(rows(columns)) == [(0, 2, 3), (1,), (4,)]


def test_what_the_compiler_tells_apart_is_launched_apart():
    columns = columns_of(
        torch.zeros(16), torch.zeros(7), torch.zeros(1), torch.zeros(16).double(), torch.zeros(17)[1:]
    )
    assert rows(columns) == [(0,), (1,), (2,), (3,), (4,)]


def test_a_parameter_without_values_is_in_no_launch():
    assert rows(columns_of(torch.zeros(2, 0))) == []


def test_offsets_within_a_piece_fit_into_32_bits(monkeypatch):
    monkeypatch.setattr(_fused_plan, "PIECE", 32)
    columns = columns_of(torch.arange(70.0))
    launches = planned(columns)[1]
    pieces = [
        (begin, size, tensor.data_ptr())
        for launch in launches
        for begin, size, tensor in zip(launch.begins, launch.sizes, launch.of(columns["params"]), strict=True)
    ]
    address = columns["params"][0].data_ptr()
    assert sorted(pieces) == [(0, 32, address), (32, 32, address + 128), (64, 6, address + 256)]
    assert PIECE * 2 <= 2**31


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(4, 6).t(),
        lambda: torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
        lambda: torch.zeros(5, 4, 1, 1).to(memory_format=torch.channels_last),
        lambda: torch.zeros(40)[8:].view(4, 8),
        lambda: torch.zeros(()),
    ],
)
def test_a_dense_layout_is_walked_as_it_is(make):
    assert planned(columns_of(make()))[0] == []


def test_a_dimension_of_one_value_may_have_any_stride():
    columns = columns_of(torch.zeros(5, 4, 1, 1))
    columns["grads"][0] = columns["grads"][0].to(memory_format=torch.channels_last)
    assert planned(columns)[0] == []


def test_other_layouts_are_copied():
    columns = columns_of(torch.zeros(4, 6), torch.zeros(4, 6, 2)[..., 0], torch.zeros(4, 6))
    columns["grads"][0] = torch.zeros(6, 4).t()
    columns["grads"][2] = torch.zeros(1, 1).expand(4, 6)
    assert planned(columns)[0] == [0, 1, 2]


def test_a_plan_is_made_once_and_again_when_something_has_changed():
    columns = columns_of(torch.zeros(4, 6), torch.zeros(3))
    first = planned(columns)
    columns["grads"] = [torch.zeros_like(g) for g in columns["grads"]]
    assert planned(columns) is first
    columns["grads"][0] = torch.zeros(6, 4).t()
    assert planned(columns) is not first
    columns["params"][0].data = torch.zeros(5000)
    with pytest.raises(RuntimeError, match="does not belong to a parameter of shape"):
        planned(columns)


def freed(tensor: Tensor) -> Tensor:
    tensor.untyped_storage().resize_(0)
    return tensor


DAMAGED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "shorter": (lambda t: t[:-1], r"of shape \[3\] does not belong to a parameter of shape \[4\]"),
    "of another rank": (lambda t: t[None], "does not belong"),
    "of one byte": (lambda t: t.to(torch.float8_e4m3fn), "float8_e4m3fn: use foreach=True"),
    "complex": (lambda t: t + 0j, "complex64: use foreach=True"),
    "of integers": (lambda t: t.int(), "int32: use foreach=True"),
    "elsewhere": (lambda t: t.to("meta"), "lies on meta, its parameter on cpu"),
    "without memory": (freed, "is gone: its storage has been resized"),
}


@pytest.mark.parametrize("name", ["grads", "momentum_buffers", "exp_avg_sqs", "compensations"])
@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_what_does_not_fit_is_refused_by_name(name, damage, message):
    columns = columns_of(torch.zeros(4), torch.zeros(4))
    columns[name][1] = damage(columns[name][1])
    with pytest.raises(RuntimeError, match=name.removesuffix("s") + ".*" + message):
        planned(columns)


@pytest.mark.parametrize("name", ["params", "momentum_buffers", "exp_avg_sqs", "compensations"])
def test_one_memory_location_for_several_values_is_refused(name):
    columns = columns_of(torch.zeros(4))
    columns[name][0] = torch.zeros(1).expand(4)
    with pytest.raises(RuntimeError, match="single memory location"):
        planned(columns)


@pytest.mark.parametrize("step", [torch.zeros(2), torch.zeros(()).double(), torch.zeros((), device="meta")])
def test_a_step_is_one_float32_number_beside_its_parameter(step):
    columns = columns_of(torch.zeros(4))
    columns["steps"][0] = step
    with pytest.raises(RuntimeError, match="step must be one float32 number on cpu"):
        planned(columns)
