"""Arrays of Python's numbers are those that numpy makes."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.tensors.datatypes import BF16, BOOL, BYTES, DATATYPES, FP16, FP32, FP64, Array, Datatype
from kserve_v2.tensors.numbers import array_maker, array_of_numbers

FLOATS = [FP32, FP64]
INTEGERS = [each for each in DATATYPES if each.dtype.kind in "iu"]
REFUSED = (OverflowError, struct.error)

MOST = float(np.finfo(np.float32).max)
# Half a step above the largest float is where infinity begins: to that tie, the even one is infinity.
EDGES = [
    0.0, -0.0, 1e-45, 7e-46, 1.1754943508222875e-38, 1.1754942106924411e-38, 0.1, 16777217, 2**53 + 1, 2**63, 2**64 - 1, -(2**63),
    MOST, -MOST, np.nextafter(MOST + 2.0**103, 0), MOST + 2.0**103, 3.5e38, -1e39, 1e308, float("inf"), float("-inf"), float("nan"),
]  # fmt: skip


def by_numpy(numbers: list[Any], datatype: Datatype) -> Array | None:
    """None for what does not fit."""
    try:
        with np.errstate(over="raise"):
            return np.array(numbers, datatype.dtype)
    except (FloatingPointError, OverflowError):
        return None


def same(numbers: list[Any], datatype: Datatype) -> None:
    expected = by_numpy(numbers, datatype)
    for make in (
        lambda: array_of_numbers(numbers, datatype.dtype),
        lambda: array_maker(datatype.dtype, (len(numbers),))(numbers),
    ):
        if expected is None:
            with pytest.raises(REFUSED):
                make()
            continue
        array = make()
        assert (array.dtype, array.shape, array.tobytes()) == (
            expected.dtype,
            expected.shape,
            expected.tobytes(),
        )
        assert array.flags.writeable


@settings(deadline=None)
@given(
    st.lists(st.floats() | st.integers(-(2**63), 2**64 - 1) | st.sampled_from(EDGES), max_size=8),
    st.sampled_from(FLOATS),
)
def test_floats(numbers: list[Any], datatype: Datatype) -> None:
    same(numbers, datatype)


@pytest.mark.parametrize("datatype", FLOATS, ids=lambda each: each.name)
def test_floats_at_the_edges(datatype: Datatype) -> None:
    for number in EDGES:
        same([number], datatype)


@settings(deadline=None)
@given(
    st.lists(st.integers(-300, 300) | st.integers(-(2**63) - 1, 2**64), max_size=4), st.sampled_from(INTEGERS)
)
def test_integers(numbers: list[int], datatype: Datatype) -> None:
    same(numbers, datatype)


@pytest.mark.parametrize("datatype", INTEGERS, ids=lambda each: each.name)
def test_integers_at_the_edges(datatype: Datatype) -> None:
    limits = np.iinfo(datatype.dtype)
    for number in (limits.min, limits.max, limits.min - 1, limits.max + 1, 0):
        same([int(number)], datatype)


def test_booleans() -> None:
    same([True, False], BOOL)
    same([], BOOL)


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3], [1, "2"], [1, None], [1, [2]], [1, {}]])
@pytest.mark.parametrize("datatype", [*FLOATS, *INTEGERS], ids=lambda each: each.name)
def test_what_is_none_of_so_many_numbers(numbers: list[Any], datatype: Datatype) -> None:
    with pytest.raises(struct.error):
        array_maker(datatype.dtype, (2,))(numbers)


@pytest.mark.parametrize("datatype", INTEGERS, ids=lambda each: each.name)
def test_what_is_not_whole(datatype: Datatype) -> None:
    with pytest.raises(struct.error):
        array_maker(datatype.dtype, (1,))([1.0])


def test_long_lists() -> None:
    numbers: list[Any] = np.random.default_rng(1).normal(size=20_000).tolist()
    assert np.array_equal(array_of_numbers(numbers, FP32.dtype), np.array(numbers, np.float32))
    for wrong in (1e39, "1", None):
        with pytest.raises(REFUSED):
            array_of_numbers([*numbers[:-1], wrong], FP32.dtype)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3), (1, 1, 4)])
def test_shapes(shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    array = array_maker(FP32.dtype, shape)(list(range(count)))
    assert np.array_equal(array, np.arange(count, dtype=np.float32).reshape(shape))


@pytest.mark.parametrize("datatype", [FP16, BF16, BYTES], ids=lambda each: each.name)
def test_datatypes_that_are_made_otherwise(datatype: Datatype) -> None:
    with pytest.raises(KeyError):
        array_of_numbers([], datatype.dtype)
