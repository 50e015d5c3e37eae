"""Least recently used by bytes, against a plain model of it."""

import hashlib
import tracemalloc
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.caching.entry import Entry, entry_of, sized_entry
from kserve_v2.caching.lru import Generation, LruEntries, cost_of

KEYS = [bytes([number]) * 32 for number in range(6)]


def sized(nbytes: int) -> Entry:
    """An entry that says that it takes so much."""
    return Entry({}, {}, nbytes)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.sampled_from(KEYS)),
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 1500), st.integers(0, 1)),
        st.tuples(st.just("drop"), st.integers(0, 1)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(max_bytes=st.integers(0, 6000), operations=OPERATIONS)
def test_it_does_what_an_ordered_dict_of_sizes_does(max_bytes: int, operations: list[Any]) -> None:
    entries = LruEntries(max_bytes)
    generations = (Generation(), Generation())
    model: OrderedDict[bytes, tuple[Entry, int, int]] = OrderedDict()
    evicted = 0
    for name, *arguments in operations:
        if name == "get":
            [key] = arguments
            if key in model:
                model.move_to_end(key)
            assert entries.get(key) is (model[key][0] if key in model else None)
        elif name == "put":
            key, nbytes, number = arguments
            entry = sized(nbytes)
            cost = cost_of(key, entry)
            assert entries.put(key, entry, generations[number]) is (cost <= max_bytes)
            if cost <= max_bytes:
                model.pop(key, None)
                while sum(each[1] for each in model.values()) + cost > max_bytes:
                    model.popitem(last=False)
                    evicted += 1
                model[key] = (entry, cost, number)
        else:
            [number] = arguments
            entries.drop(generations[number])
            model = OrderedDict((key, each) for key, each in model.items() if each[2] != number)
        assert entries.used_bytes == sum(each[1] for each in model.values()) <= max_bytes
        assert len(entries) == len(model)
        assert entries.evictions == evicted
        for number, generation in enumerate(generations):
            assert generation.keys == {key for key, each in model.items() if each[2] == number}
    assert [key for key in KEYS if key in entries] == [key for key in KEYS if key in model]


def test_an_entry_that_fits_exactly_is_kept_and_one_byte_more_is_not() -> None:
    entry = sized(1000)
    cost = cost_of(KEYS[0], entry)
    assert LruEntries(cost).put(KEYS[0], entry, Generation())
    assert not LruEntries(cost - 1).put(KEYS[0], entry, Generation())


def test_what_is_too_large_leaves_what_is_there() -> None:
    entries, generation = LruEntries(2000), Generation()
    small = sized(10)
    assert entries.put(KEYS[0], small, generation)
    assert not entries.put(KEYS[0], sized(5000), generation)
    assert entries.get(KEYS[0]) is small


@pytest.mark.parametrize("count", [100, 3000])
@pytest.mark.parametrize("shape", [(0,), (16,), (1000,)])
def test_the_memory_that_entries_take_is_not_more_than_what_is_counted(
    count: int, shape: tuple[int, ...]
) -> None:
    entries, generation = LruEntries(2**40), Generation()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            key = hashlib.blake2b(number.to_bytes(4, "little"), digest_size=32).digest()
            outputs = {"OUT": np.zeros(shape, np.float32), "TEXT": np.array([b"%d" % number], object)}
            entries.put(key, entry_of(outputs, {"number": number}), generation)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The tables' first growth is not spread over many entries.
    assert after - before <= entries.used_bytes + 4096
    # And it is not made up: most of it is really taken.
    assert entries.used_bytes <= 1.6 * (after - before)


def test_an_entry_is_a_copy_that_nobody_can_write_to() -> None:
    output = np.arange(6, dtype=np.int32).reshape(2, 3)
    texts = np.array([b"a", b"bc"], object)
    batch = np.arange(100, dtype=np.float32)
    parameters: dict[str, Any] = {"p": 1}
    entry = entry_of({"OUT": output, "TEXT": texts, "PART": batch[3:5]}, parameters)
    output[:] = 0
    texts[0] = b"changed"
    batch[:] = 0
    parameters["p"] = 2
    assert entry.outputs["OUT"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert entry.outputs["TEXT"].tolist() == [b"a", b"bc"]
    assert entry.outputs["PART"].tolist() == [3.0, 4.0]
    # The rest of the batch is not kept alive.
    assert entry.outputs["PART"].base is None
    assert entry.parameters == {"p": 1}
    for array in entry.outputs.values():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_texts_and_parameters_are_counted() -> None:
    def size(*texts: bytes, **parameters: str) -> int:
        return sized_entry({"TEXT": np.array(texts, object)}, parameters).nbytes

    assert size(b"x" * 1000) >= size(b"") + 1000
    assert size(b"", p="x" * 1000) >= size(b"", p="") + 1000
