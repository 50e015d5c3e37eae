"""Large JSON in slices is what it is in one go: the values, the errors, and what is none."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.rest.json_tensor import Numbers, decode_json_data, flatten
from kserve_v2.rest.large_json import Gaps, parse_large, written
from kserve_v2.scheduling.slices import at_once
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BY_DTYPE, BY_NAME

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2**31, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), 1e39, 3.5e38, -0.0, 16777217]),
)
lists = st.recursive(st.lists(numbers, max_size=8), lambda inner: st.lists(inner, max_size=6), max_leaves=30)
spaces = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])


def document(data: Any) -> dict[str, Any]:
    return {"id": '"data":[1,2,3,4,5,6]', "inputs": [{"name": "data", "data": data, "shape": [1]}]}


def flat(value: Any) -> Any:
    """A document with flat data, of either kind."""
    for item in value["inputs"]:
        item["data"] = item["data"].flat() if isinstance(item["data"], Numbers) else flatten(item["data"])[0]
    return value


def same(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)


@settings(deadline=None)
@given(lists, spaces, st.integers(1, 30))
def test_what_is_read_is_what_was_sent(data: Any, separators: tuple[str, str], slice_bytes: int) -> None:
    text = json.dumps(document(data), separators=separators).encode()
    found = at_once(parse_large(text, slice_bytes))
    if found is not None:
        assert same(flat(found), flat(orjson.loads(text)))


@settings(deadline=None, max_examples=200)
@given(lists, spaces, st.integers(1, 30), st.data())
def test_what_is_no_json_is_none_in_slices(
    data: Any, separators: tuple[str, str], slice_bytes: int, more: st.DataObject
) -> None:
    """One byte is another, or too much, or missing."""
    text = bytearray(json.dumps(document(data), separators=separators).encode())
    at = more.draw(st.integers(0, len(text) - 1))
    new = more.draw(st.sampled_from([b"", *(bytes([each]) for each in b',,,[]][{}":0-.e\\ nt')]))
    text[at : at + more.draw(st.integers(0, 1))] = new
    found = at_once(parse_large(bytes(text), slice_bytes))
    if found is not None:
        assert same(flat(found), flat(orjson.loads(text)))


BROKEN = ["[1,2,3,,4,5,6]", "[1,2,3,]", "[[1,2,],[3,4]]", "[[1,2],[,3,4]]", "[[1,2]3,4]", "[1,2]]", "[[1,2,3,4]", "[,1,2,3]",
          "[1 2,3,4]", "[01,2,3]", "[1,2,[],,3]", "[[],,[1,2,3]]", "[1,2,3,true,5]", "[1,2,null,3]", "[NaN,1,2,3]"]  # fmt: skip


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_left_to_others(data: str) -> None:
    text = f'{{"inputs":[{{"name":"x","data":{data},"shape":[3]}}]}}'.encode()
    for slice_bytes in range(1, 12):
        assert at_once(parse_large(text, slice_bytes)) is None


def test_nested_lists_and_large_numbers_are_not_left_to_others() -> None:
    for data in ("[[1,2.5],[3,4]]", " [ [1 , 2] ,\n[3,4 ] ] ", "[1,-0.0,2e3,4]", "[[[1],[2]],[[3],[4]]]"):
        text = f'{{"inputs":[{{"name":"x","data":{data},"shape":[3]}},{{"data":[9,9,9,9]}}]}}'.encode()
        for kind in (bytes, bytearray, memoryview):
            found = at_once(parse_large(kind(text), 2))
            assert isinstance(found["inputs"][0]["data"], Numbers)
            assert isinstance(found["inputs"][1]["data"], Numbers)
            assert same(flat(found), flat(orjson.loads(text)))


def test_data_that_is_not_an_input_s() -> None:
    for text in (b'{"data":[1,2,3,4]}', b'{"inputs":[{"parameters":{"data":[1,2,3,4]}}]}', b'[{"data":[1,2,3,4]}]',
                 b'{"inputs":[{"data":[1,2,3,4],"data":[5]}]}'):  # fmt: skip
        assert at_once(parse_large(text, 2)) is None


class Searched(bytes):
    """Counts the bytes that are looked at to find something."""

    looked_at = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        end = len(self) if end is None else end
        found = super().find(sub, start, end)
        self.looked_at += (found if found >= 0 else end) - start
        return found


def test_many_short_lists_are_passed_over_in_slices() -> None:
    """Their object ends behind the last one: to look for its end from each of them would take minutes for a few MB."""
    text = Searched(b'{"inputs":[{%b}]}' % b",".join([b'"data":[1]'] * 5000))
    assert sum(1 for _ in parse_large(text)) >= 5000 // 500
    assert text.looked_at < 4 * len(text)


def test_what_there_is_no_room_for_is_left_to_others() -> None:
    text = json.dumps(document([1, 2.5, 3] * 50)).encode()
    asked: list[int] = []

    def room(size: int) -> bool:
        asked.append(size)
        return len(asked) <= most

    most = 1000
    assert at_once(parse_large(bytearray(text), 30, room)) is not None
    # Its text once more, to search in, and all numbers.
    assert (asked[0], sum(asked[1:])) == (len(text), 8 * 150)
    for most in range(len(asked)):
        asked.clear()
        assert at_once(parse_large(bytearray(text), 30, room)) is None
        assert len(asked) == most + 1


@pytest.mark.parametrize("datatype", sorted(BY_NAME))
@settings(deadline=None, max_examples=25)
@given(data=lists, slice_bytes=st.integers(1, 30))
def test_arrays_and_errors_are_those_of_lists(datatype: str, data: Any, slice_bytes: int) -> None:
    text = json.dumps({"inputs": [{"data": data}]}).encode()
    found = at_once(parse_large(text, slice_bytes))
    if found is None:
        return
    plain = orjson.loads(text)["inputs"][0]["data"]
    for count in {len(flatten(plain)[0]), 3}:
        announced = AnnouncedInput("x", BY_NAME[datatype], [count], "m", "")
        outcomes: list[Any] = []
        for given_data in (found["inputs"][0]["data"], plain):
            try:
                array = decode_json_data(announced, given_data)
                outcomes.append((array.dtype, array.shape, array.tobytes()))
            except InvalidArgumentError as error:
                outcomes.append(error.message)
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(("datatype", "count"), [("FP32", 5), ("INT32", 4), ("BYTES", 4), ("BOOL", 4)])
def test_what_is_wrong_with_all_of_them_is_said_without_looking_at_each(datatype: str, count: int) -> None:
    """Which takes seconds for a large list, and is not done in slices."""

    class Opaque(Numbers):
        def flat(self) -> list[Any]:
            raise AssertionError

    numbers = Opaque(memoryview(b"[1,2,3,4.5]"), [np.array([1, 2]), np.array([3, 4.5])], {int, float})
    with pytest.raises(InvalidArgumentError, match=r"attempt to access JSON non-|'data' has 4"):
        decode_json_data(AnnouncedInput("x", BY_NAME[datatype], [count], "m", ""), numbers)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "<u1", "?"])
def test_what_is_written_is_what_is_written_in_one_go(dtype: str) -> None:
    array = (np.arange(40_000).reshape(2, -1) * 0.37).astype(dtype)
    gaps = Gaps()
    first, second = gaps.gap(at_once(written(array))), gaps.gap(at_once(written(array[1:])))
    text = b"".join(gaps.fill(orjson.dumps({"a": first, "b": [second], "c": 1})))
    whole = {"a": array.reshape(-1), "b": [array[1].reshape(-1)], "c": 1}
    assert text == orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY)
    assert array.dtype in BY_DTYPE


def test_numbers_that_are_not_finite_are_written_as_literals() -> None:
    array = np.arange(40_000, dtype=np.float32)
    array[[7, 30_000]] = np.nan, -np.inf
    text = b"".join(at_once(written(array)))
    assert np.array_equal(np.array(json.loads(text), np.float32), array, equal_nan=True)
