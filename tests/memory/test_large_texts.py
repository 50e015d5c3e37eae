"""BYTES tensors that are read and written in slices are what they are in one go, and so are the errors."""

import asyncio
import threading
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory import large_texts
from kserve_v2.memory.inflight import tensor_bytes
from kserve_v2.memory.large_texts import Gathered, content_bytes_of, is_large, parts_of, read_raw, written_raw
from kserve_v2.scheduling.slices import at_once
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BYTES
from kserve_v2.tensors.strings import decode_bytes_tensor, encode_bytes_tensor, flat_bytes

ELEMENTS = st.one_of(
    st.binary(max_size=8),
    st.just(b""),
    st.sampled_from([b"\xff\xfe", "é".encode(), b"x" * 65_532, b"x" * 65_533, b"y" * 70_000, b"z" * 200_000]),
)


def any_room(_: int) -> bool:
    return True


def by_the_book(announced: AnnouncedInput, data: bytes) -> Any:
    """Read one element after the other."""
    elements, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data):
            return f"expecting 4 bytes but only {len(data) - at}"
        if at + 4 + length > len(data):
            return f"string of length {length} but only {len(data) - at - 4} bytes"
        elements.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    count = announced.element_count()
    return elements if len(elements) == count else f"{len(elements)}"


def outcome(make: Any) -> Any:
    try:
        array = make()
    except InvalidArgumentError as error:
        return error.message
    return array.shape, array.tolist()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(ELEMENTS, max_size=40),
    st.integers(1, 3),
    st.sampled_from([0, 0, 1, -1]),
    st.integers(-9, 9) | st.just(0),
    st.binary(max_size=6) | st.just(b""),
)
@example([b"a"] * 40_000, 1, 0, 0, b"")
@example([b""] * 40_000, 1, 0, 0, b"")
@example([b"abc"] * 30_000, 1, 0, -1, b"")
@example([b"abc"] * 30_000, 1, 0, 0, b"\1")
@example([b"abc"] * 30_000, 1, 0, 0, b"\4\0\0\0abc")
@example([b"abc"] * 30_000, 1, -1, 0, b"")
@example([b"abc"] * 30_000, 3, 0, 0, b"\xff\xff\xff\xff")
def test_what_is_read_in_slices(
    elements: list[bytes], columns: int, fewer: int, cut: int, behind: bytes
) -> None:
    data = encode_bytes_tensor(elements)
    data = (data[:cut] if cut < 0 else data[cut:]) + behind
    shape = [(len(elements) - fewer) // columns, columns]
    announced = AnnouncedInput("x", BYTES, [max(0, shape[0]), columns], "m", "id")
    expected = by_the_book(announced, data)
    for kind in (bytes, memoryview):
        whole = outcome(lambda: decode_bytes_tensor(announced, kind(data)))  # noqa: B023
        texts = at_once(read_raw(memoryview(data), any_room))
        assert outcome(lambda: texts.tensor(announced)) == whole  # noqa: B023
        if isinstance(expected, list):
            assert [*chain.from_iterable(whole[1])] == expected
        else:
            assert expected in whole


@settings(deadline=None, max_examples=60)
@given(st.lists(ELEMENTS, max_size=30), st.booleans())
@example([b"word"] * 30_000, True)
@example([b"a" * 3000] * 10_000, False)
def test_what_is_written_in_slices(elements: list[bytes], transposed: bool) -> None:
    array = flat_bytes(elements)
    if transposed and len(elements) % 2 == 0:
        array = array.reshape(-1, 2).T
    expected = encode_bytes_tensor(array.reshape(-1))
    assert b"".join(at_once(written_raw(array))) == expected
    assert [*chain.from_iterable(parts_of(array))] == array.reshape(-1).tolist()


def test_long_elements_are_not_all_in_one_slice() -> None:
    array = flat_bytes([b"x" * 10_000] * 1000)
    assert max(sum(map(len, part)) for part in parts_of(array)) < 1_000_000
    assert max(map(len, parts_of(flat_bytes([b"x"] * 100_000)))) == large_texts.SLICE_ELEMENTS


def test_without_room_nothing_is_read() -> None:
    data = encode_bytes_tensor([b"text"] * 50_000)
    asked: list[int] = []

    def room(size: int) -> bool:
        asked.append(size)
        return len(asked) <= most

    most = 1000
    assert at_once(read_raw(memoryview(data), room)) is not None
    # Its bytes, the objects that have them, and where these are.
    assert sum(asked) == 50_000 * (4 + 40 + 16)
    for most in range(len(asked)):
        asked.clear()
        assert at_once(read_raw(memoryview(data), room)) is None
        assert len(asked) == most + 1


def read(count: int) -> Any:
    gathered = Gathered()
    for start in range(0, count, 1000):
        gathered.add([b"element %d" % number for number in range(start, start + 1000)])
    return at_once(gathered.in_one())


@pytest.fixture
def others() -> set[int]:
    """Of which arrays it is known already: other tests may have some still."""
    return set(large_texts._known)


def test_how_many_bytes_are_in_it_is_known_as_long_as_it_is_there(others: set[int]) -> None:
    array = read(10_000)
    size = sum(map(len, array.tolist()))
    assert content_bytes_of(array) == content_bytes_of(array.reshape(-1, 2)) == size
    assert content_bytes_of(array[1:]) is None
    assert tensor_bytes({"x": array.reshape(100, 100)}) == array.nbytes + 40 * array.size + size
    assert tensor_bytes({"x": array[5:7]}) == 2 * 8 + 2 * 40 + sum(map(len, array[5:7].tolist()))
    other = flat_bytes([b"a"] * 10_000)
    assert content_bytes_of(other) is None
    at_once(written_raw(other))
    # It may be its model's, which may change it.
    assert content_bytes_of(other) is None
    assert len(large_texts._known.keys() - others) == 2
    at_once(written_raw(other))
    at_once(written_raw(array))
    assert len(large_texts._known.keys() - others) == 2
    del array, other
    assert not large_texts._known.keys() - others


class Loop(asyncio.SelectorEventLoop):
    """Notes what it is asked to free, turn by turn."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[int] = []

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        if callback is large_texts._free:
            self.left.append(len(args[1]))
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        if callback is large_texts._free:
            self.left.append(len(args[1]))
        return super().call_soon_threadsafe(callback, *args, context=context)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_its_elements_are_freed_in_turns_of_the_loop(others: set[int], elsewhere: bool) -> None:
    """Whichever thread lets it go."""

    async def main() -> None:
        held: list[Any] = [read(20_000)]
        if elsewhere:
            thread = threading.Thread(target=held.clear)
            thread.start()
            thread.join()
        else:
            held.clear()
        assert not large_texts._known.keys() - others
        for _ in range(10):
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
        loop = runner.get_loop()
        assert isinstance(loop, Loop)
        assert loop.left == [20, 12, 4]


@pytest.mark.parametrize("steps", [1, 30, 60])
def test_what_is_given_up_is_freed_in_turns_of_the_loop(steps: int) -> None:
    """While it is being read, or put together."""
    data = memoryview(encode_bytes_tensor([b""] * 500_000))

    async def main() -> None:
        slices = read_raw(data, any_room)
        for _ in range(steps):
            next(slices)
        slices.close()
        for _ in range(10):
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
        loop = runner.get_loop()
        assert isinstance(loop, Loop)
        pieces = min(steps, -(-len(data) // (64 * 1024)))
        assert loop.left == (list(range(pieces, 0, -8)) if pieces > 8 else [])


def test_what_somebody_keeps_is_not_freed() -> None:
    async def main() -> None:
        array = read(20_000)
        kept = array[7], array[10:13]
        expected = [b"element 10", b"element 11", b"element 12"]
        del array
        await asyncio.sleep(0.01)
        assert kept[0] == b"element 7"
        assert kept[1].tolist() == expected

    asyncio.run(main())


def test_it_may_outlive_its_loop(others: set[int]) -> None:
    async def main() -> Any:
        return read(20_000)

    array = asyncio.run(main())
    assert array[-1] == b"element 19999"
    del array
    assert not large_texts._known.keys() - others


def test_what_is_large() -> None:
    assert is_large(flat_bytes([b""] * 10_000))
    assert not is_large(flat_bytes([b""] * 100))
    assert not is_large(np.zeros(10_000))
