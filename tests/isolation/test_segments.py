"""Blocks of segments: none overlap, all of the room comes back, and only so many segments are made."""

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve_v2_child.channel.memory import create
from kserve_v2_child.channel.messages import MessageError, ProtocolError
from kserve_v2_child.channel.recent import Recent
from kserve_v2_child.channel.segments import MAX_SEGMENTS, Block, Pool


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_blocks_never_overlap_and_all_room_comes_back(data: st.DataObject) -> None:
    pool = Pool()
    held: list[Block] = []
    for _ in range(data.draw(st.integers(1, 40))):
        if held and data.draw(st.booleans()):
            block = held.pop(data.draw(st.integers(0, len(held) - 1)))
            if data.draw(st.booleans()):
                pool.release(block.number)
            else:
                pool.returned.append(pool.take_back(block.number))
        else:
            size = data.draw(st.sampled_from([1, 64, 65, 100_000, 1 << 20, 3 << 20]))
            block = pool.allocate(size)
            assert block.size >= size and block.offset % 64 == 0
            assert 0 <= block.offset <= block.segment.size - block.size
            held.append(block)
        for index, one in enumerate(held):
            for other in held[:index]:
                apart = one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
                assert one.segment is not other.segment or apart
    for block in held:
        pool.release(block.number)
    assert pool.drop_idle(0.0, 5.0) == []
    assert all(segment.is_idle for segment in pool.segments())
    pool.drop_idle(5.0, 5.0)
    assert len(pool) == 0


def test_a_segment_that_is_used_again_meanwhile_is_not_dropped() -> None:
    pool = Pool()
    pool.release(pool.allocate(1).number)
    pool.drop_idle(0.0, 5.0)
    pool.release(pool.allocate(1).number)
    assert pool.drop_idle(5.0, 5.0) == []
    assert len(pool.drop_idle(10.0, 5.0)) == 1
    pool.close()


def test_a_block_that_is_not_lent_cannot_come_back() -> None:
    pool = Pool()
    block = pool.allocate(1)
    pool.release(block.number)
    for number in (block.number, block.number + 1, block.segment.number, 0):
        with pytest.raises(ProtocolError, match=f"block {number} is given back, which is not lent"):
            pool.release(number)
    pool.close()


def test_segments_grow_so_that_few_suffice() -> None:
    """Of any size: the sizes are what counts, no memory is touched."""
    pool = Pool()
    for _ in range(3000):
        pool.allocate(1 << 20)
    assert len(pool) < MAX_SEGMENTS
    used = 3000 << 20
    assert used <= sum(segment.size for segment in pool.segments()) <= 1.2 * used
    pool.close()


def test_too_many_segments_are_an_error_until_some_are_given_back() -> None:
    pool = Pool()
    first = pool.allocate(1 << 50)
    with pytest.raises(
        MessageError, match=r"tensors in 64 segments of \d+ bytes in all have not been given back"
    ):
        for _ in range(10_000):
            pool.allocate(1 << 50)
    assert len(pool) == MAX_SEGMENTS
    pool.release(first.number)
    assert pool.allocate(1 << 50).segment is first.segment
    pool.close()


@pytest.mark.parametrize("size", [2**63, 2**70])
def test_more_memory_than_there_can_be_is_an_error(size: int) -> None:
    pool = Pool()
    with pytest.raises(MessageError, match=f"no shared memory of {size} bytes"):
        pool.allocate(size)
    assert len(pool) == 0


def test_memory_cannot_be_made_shorter_or_longer_or_unsealed() -> None:
    fd = create(4096)
    try:
        for size in (0, 4095, 4097):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)
        assert os.fstat(fd).st_nlink == 0
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 5))
def test_what_was_asked_for_lately_is_kept(keys: list[int], size: int) -> None:
    recent: Recent[int, Any] = Recent(size)
    order: list[int] = []
    for key in keys:
        known = recent.get(key)
        assert known in (None, (key,))
        if key in order[-size:]:
            assert known is not None
        if known is None:
            recent.put(key, (key,))
        order = [other for other in order if other != key] + [key]
        assert len(recent) <= 2 * size
