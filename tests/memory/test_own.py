"""Which outputs are copied: all whose memory somebody else may hold."""

import mmap
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np
import pytest

from kserve_v2.memory.own import copy_shared
from kserve_v2.tensors.datatypes import Array

KEPT: list[Any] = []
"""What a model holds after it has answered."""


def kept(value: Any) -> Any:
    KEPT.append(value)
    return value


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    KEPT.clear()


def address(array: Array) -> int:
    # Not by `ctypes`, which holds on to the array.
    return int(array.__array_interface__["data"][0])


class Subclass(np.ndarray[Any, Any]):
    """An array of a library's own kind."""


def with_weak_reference(array: Array) -> Array:
    KEPT.append(ref(array))
    return array


FRESH: dict[str, Callable[[], Any]] = {
    "made anew": lambda: np.arange(4.0),
    "the result of an operation": lambda: np.arange(4.0) * 2,
    "a view of what is gone": lambda: np.arange(8.0)[2:6],
    "a view of a view of what is gone": lambda: np.arange(8.0).reshape(2, 4)[1][:3],
    "another dtype's view": lambda: np.arange(4.0).view(np.uint64),
    "strings": lambda: np.array([b"a", b"b"], object),
    "over bytes, which do not change": lambda: np.frombuffer(kept(b"12345678"), np.uint8),
    "a scalar": lambda: np.asarray(np.float64(2)),
    "nothing": lambda: np.empty((0, 3)),
}

SHARED: dict[str, Callable[[], Any]] = {
    "kept": lambda: kept(np.arange(4.0)),
    "a view of what is kept": lambda: kept(np.arange(8.0))[:4],
    "a view of a view of what is kept": lambda: kept(np.arange(8.0))[:6][1:5].reshape(2, 2),
    "a view is kept": lambda: kept(np.arange(8.0)[:4]).reshape(2, 2),
    "its base is seen by another view": lambda: (whole := np.arange(8.0), kept(whole[6:]))[0][:4],
    "a subclass": lambda: kept(np.arange(4.0).view(Subclass)).view(np.ndarray),
    "kept as a buffer": lambda: (array := np.arange(4.0), kept(memoryview(array)))[0],
    "over a bytearray": lambda: np.frombuffer(kept(bytearray(8)), np.uint8),
    "over a bytearray that is gone, as far as can be seen": lambda: np.frombuffer(bytearray(8), np.uint8),
    "over mapped memory": lambda: np.frombuffer(kept(mmap.mmap(-1, 4096)), np.uint8)[:8],
    "weakly kept": lambda: with_weak_reference(np.arange(4.0)),
    "a view of what is weakly kept": lambda: with_weak_reference(np.arange(4.0))[:2],
}


@pytest.mark.parametrize("make", FRESH.values(), ids=FRESH)
def test_what_is_new_is_not_copied(make: Callable[[], Array]) -> None:
    outputs = {"y": make()}
    before = address(outputs["y"])
    copy_shared(outputs)
    assert address(outputs["y"]) == before


@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
def test_what_may_be_shared_is_copied(make: Callable[[], Array]) -> None:
    outputs = {"y": make()}
    before = outputs["y"].tolist()
    place = address(outputs["y"])
    copy_shared(outputs)
    assert address(outputs["y"]) != place
    assert outputs["y"].tolist() == before
    assert outputs["y"].flags.c_contiguous
    assert outputs["y"].flags.owndata


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(12.0).reshape(3, 4).T,
        lambda: np.arange(12.0).reshape(3, 4)[:, ::2],
        lambda: np.arange(12.0)[::-1],
        lambda: np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        lambda: np.broadcast_to(np.arange(4.0), (3, 4)),
    ],
)
def test_what_lies_otherwise_is_put_in_order(make: Callable[[], Array]) -> None:
    outputs = {"y": make()}
    copy_shared(outputs)
    assert outputs["y"].flags.c_contiguous
    assert outputs["y"].tolist() == make().tolist()


def test_what_the_model_holds_in_the_mapping_that_it_returned_is_copied() -> None:
    returned = kept({"y": np.arange(4.0)})
    outputs = dict(returned)
    copy_shared(outputs)
    KEPT[0]["y"][:] = -1
    assert outputs["y"].tolist() == [0, 1, 2, 3]


def test_outputs_that_share_memory_stay_right() -> None:
    whole = np.arange(8.0)
    outputs = {"a": whole[:4], "b": whole[4:], "c": whole}
    del whole
    copy_shared(outputs)
    assert [array.tolist() for array in outputs.values()] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [0, 1, 2, 3, 4, 5, 6, 7],
    ]


def test_whoever_knows_the_owner_is_asked_only_where_nobody_else_has_it() -> None:
    asked: list[object] = []

    def knows(owner: object) -> bool:
        asked.append(type(owner))
        return len(asked) == 1

    outputs = {
        "free": np.frombuffer(bytearray(8), np.uint8),
        "kept": kept(np.frombuffer(bytearray(8), np.uint8)),
        "held elsewhere": np.frombuffer(bytearray(8), np.uint8),
    }
    before = {name: address(array) for name, array in outputs.items()}
    copy_shared(outputs, knows)
    assert [name for name, array in outputs.items() if address(array) != before[name]] == [
        "kept",
        "held elsewhere",
    ]
    assert len(asked) == 2


def private(size: int = 4) -> Array:
    """As the server makes the input of a large request: over memory that is not an array's."""
    return np.ndarray((size,), np.float64, memoryview(bytearray(8 * size)))


def read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (private, lambda x: x),
        (private, lambda x: x[:2]),
        (private, lambda x: x.reshape(2, 2)[1:]),
        (lambda: np.arange(4.0), lambda x: x),
        (lambda: np.arange(4.0), lambda x: x.reshape(2, 2)[1:]),
        (lambda: np.arange(4.0).reshape(2, 2), lambda x: x),
    ],
)
def test_an_input_that_is_ours_alone_may_be_the_answer(
    make: Callable[[], Array], answer: Callable[[Array], Array]
) -> None:
    inputs = {"x": make()}
    outputs = {"y": answer(inputs["x"])}
    before = address(outputs["y"])
    copy_shared(outputs, inputs=inputs)
    assert address(outputs["y"]) == before


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (private, kept),
        (private, lambda x: kept(x)[:2]),
        (private, lambda x: (kept(x[2:]), x[:2])[1]),
        (lambda: np.arange(4.0), lambda x: (kept(x[2:]), x[:2])[1]),
        (lambda: np.arange(4.0).reshape(2, 2), lambda x: (kept(x[1:]), x)[1]),
        (lambda: kept(np.arange(4.0)), lambda x: x),
        (lambda: kept(np.arange(4.0))[:], lambda x: x),
        # A client's, which we may only read.
        (lambda: read_only(private()), lambda x: x),
        (lambda: read_only(private()), lambda x: x[:2]),
        (private, with_weak_reference),
    ],
)
def test_an_input_that_somebody_else_has_is_copied(
    make: Callable[[], Array], answer: Callable[[Array], Array]
) -> None:
    inputs = {"x": make()}
    outputs = {"y": answer(inputs["x"])}
    before = address(outputs["y"])
    copy_shared(outputs, inputs=inputs)
    assert address(outputs["y"]) != before
    assert outputs["y"].flags.writeable
