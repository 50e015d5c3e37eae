"""Entries as bytes: all that was written is read, and nothing else is."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.caching import wire
from kserve_v2.caching.entry import Entry, entry_of
from kserve_v2.caching.wire import dump_entry, load_entry
from tests.integration.support import EDGE_VALUES, same

KEY, OTHER_KEY = b"k" * 32, b"o" * 32

ENTRY = entry_of(
    {
        "NUMBERS": np.arange(6, dtype=np.float32).reshape(2, 3),
        "TEXTS": np.array([[b"a"], [b"\x00\xff"]], object),
        "NONE": np.empty((0, 4), np.int8),
        "SCALAR": np.array(2.5),
        "BRAIN": np.array([1.5], ml_dtypes.bfloat16),
    },
    {"flag": True, "count": 1, "ratio": 1.0, "text": "ü\ud800", "nan": float("inf")},
)


def assert_equal(entry: Entry | None, expected: Entry) -> None:
    assert entry is not None
    assert list(entry.outputs) == list(expected.outputs)
    assert all(same(entry.outputs[name], array) for name, array in expected.outputs.items())
    assert list(entry.parameters.items()) == list(expected.parameters.items())
    assert [type(value) for value in entry.parameters.values()] == [
        type(v) for v in expected.parameters.values()
    ]


def test_what_was_written_is_read() -> None:
    entry = load_entry(KEY, dump_entry(KEY, ENTRY))
    assert_equal(entry, ENTRY)
    assert entry is not None
    for array in entry.outputs.values():
        assert not array.flags.writeable
        assert array.flags.aligned


@pytest.mark.parametrize("datatype", EDGE_VALUES)
def test_every_datatype_keeps_its_bits(datatype: str) -> None:
    entry = entry_of({"OUT": EDGE_VALUES[datatype]}, {})
    assert_equal(load_entry(KEY, dump_entry(KEY, entry)), entry)


def test_an_entry_under_another_key_is_none() -> None:
    assert load_entry(OTHER_KEY, dump_entry(KEY, ENTRY)) is None


def test_every_single_byte_counts() -> None:
    data = dump_entry(KEY, ENTRY)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x20
        assert load_entry(KEY, bytes(changed)) is None, position


def test_what_is_cut_off_or_longer_is_none() -> None:
    data = dump_entry(KEY, ENTRY)
    assert [length for length in range(len(data)) if load_entry(KEY, data[:length]) is not None] == []
    assert load_entry(KEY, data + b"\0") is None


@given(st.binary(max_size=200))
def test_anything_else_is_none(data: bytes) -> None:
    assert load_entry(KEY, data) is None


def with_right_sum(head: bytes, contents: bytes, length: int | None = None) -> bytes:
    """What another program might write that knows the form but not its rules."""
    size = len(head) if length is None else length
    body = KEY + wire._LENGTH.pack(size) + head + contents
    return wire._MAGIC + wire._sum(body) + body


FINE = {"outputs": [["OUT", "INT32", [2], 8]], "parameters": {}}


def test_the_form_of_such_programs_is_the_right_one() -> None:
    entry = load_entry(KEY, with_right_sum(json.dumps(FINE).encode(), bytes(8)))
    assert entry is not None
    assert entry.outputs["OUT"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "head",
    [
        {"outputs": [["OUT", "INT32", [3], 8]]},
        {"outputs": [["OUT", "INT32", [2], 9]]},
        {"outputs": [["OUT", "INT32", [2], 4]]},
        {"outputs": [["OUT", "INT32", [-1], 8]]},
        {"outputs": [["OUT", "INT32", ["2"], 8]]},
        {"outputs": [["OUT", "INT32", 2.5, 8]]},
        {"outputs": [["OUT", "INT32", [2], -8]]},
        {"outputs": [["OUT", "INT99", [2], 8]]},
        {"outputs": [[1, "INT32", [2], 8]]},
        {"outputs": [["OUT", "BYTES", [1], 8]]},
        {"outputs": [["OUT", "BYTES", [2**62], 8]]},
        {"outputs": [["OUT", "INT32", [2]]]},
        {"outputs": {"OUT": 1}},
        {"outputs": 1},
        {"parameters": {"p": None}},
        {"parameters": {"p": [1]}},
        {"parameters": []},
        {"parameters": 1},
    ],
    ids=str,
)
def test_a_head_that_says_what_is_not_there_is_none(head: dict[str, Any]) -> None:
    assert load_entry(KEY, with_right_sum(json.dumps(FINE | head).encode(), bytes(8))) is None


@pytest.mark.parametrize("head", [b"", b"[]", b"null", b"{", b"[" * 10_000, b"\xff"])
def test_a_head_that_is_none_is_none(head: bytes) -> None:
    assert load_entry(KEY, with_right_sum(head, b"")) is None


@pytest.mark.parametrize("length", [0, 1, 2**32 - 1])
def test_a_head_of_another_length_is_none(length: int) -> None:
    assert load_entry(KEY, with_right_sum(json.dumps(FINE).encode(), bytes(8), length)) is None


SHAPES = st.lists(st.integers(0, 3), max_size=3)


@settings(deadline=None)
@given(shape=SHAPES, texts=st.lists(st.binary(max_size=5), max_size=5), seed=st.integers(0, 2**31))
def test_any_entry_is_read_as_it_was_written(shape: list[int], texts: list[bytes], seed: int) -> None:
    numbers = np.random.default_rng(seed).standard_normal(shape)
    elements = np.empty(len(texts), object)
    elements[:] = texts
    entry = entry_of({"A": np.asarray(numbers), "B": elements}, {"seed": seed})
    assert_equal(load_entry(KEY, dump_entry(KEY, entry)), entry)
