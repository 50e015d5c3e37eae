"""Large JSON in slices is what it is in one go: the values, the errors, and what is none."""

import json
import math
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data import lists as lists_module
from kserve_v2.json_data.base64_texts import decode_base64_data
from kserve_v2.json_data.large import (
    BASE64_OBJECTS,
    BASE64_TEXTS,
    TEXTS,
    TEXTS_OR_BASE64,
    Gaps,
    InJson,
    is_large,
    parse_large,
    written,
)
from kserve_v2.json_data.lists import sizes_of
from kserve_v2.json_data.tensors import LargeList, Numbers, Texts, decode_json_data, flatten, with_literals
from kserve_v2.json_data.text import parse_json, parsed
from kserve_v2.json_data.values import as_lists
from kserve_v2.rest.generate_codec import members, read_json, request_of
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import LARGE_BYTES, SLICE_BYTES, at_once
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BF16, BY_DTYPE, BY_NAME
from kserve_v2.v1.codec import Columns, decode_predict
from kserve_v2.v1.examples import decode_examples
from kserve_v2.v1.flavours import FLAVOURS
from kserve_v2.v1.large import parse_examples, parse_values, values

pytestmark = pytest.mark.usefixtures("in_words_of_large_texts")

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2**31, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), 1e39, 3.5e38, -0.0, 16777217]),
)
# With all that is around elements, in elements.
texts = st.text(st.sampled_from('ab,"[]{}:\\ \n1é\U0001f600'), max_size=6) | st.text(max_size=20)


def lists_of(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.lists(elements, max_size=8), lambda inner: st.lists(inner, max_size=6), max_leaves=30
    )


lists = st.one_of(
    lists_of(numbers),
    lists_of(texts),
    lists_of(st.booleans()),
    lists_of(st.one_of(numbers, texts, st.booleans(), st.none())),
)
spaces = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])


def document(data: Any) -> dict[str, Any]:
    return {"id": '"data":[1,2,3,4,5,6]', "inputs": [{"name": "data", "data": data, "shape": [1]}]}


def flat(value: Any) -> Any:
    """A document with flat data, of either kind."""
    for item in value["inputs"]:
        item["data"] = list(item["data"]) if isinstance(item["data"], LargeList) else flatten(item["data"])[0]
    return value


def check_read(found: Any, text: bytes) -> None:
    """What was `found` in slices, if anything, is what is read in one go, or its error."""
    if isinstance(found, InvalidArgumentError):
        assert outcome(lambda: parse_json(text)) == found.message
    elif found is not None:
        assert same(flat(found), flat(orjson.loads(text)))


def same(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)


@settings(deadline=None)
@given(lists, spaces, st.integers(4, 30))
def test_what_is_read_is_what_was_sent(data: Any, separators: tuple[str, str], slice_bytes: int) -> None:
    text = json.dumps(document(data), separators=separators).encode()
    found = at_once(parse_large(text, slice_bytes))
    assert not isinstance(found, InvalidArgumentError)
    check_read(found, text)


@settings(deadline=None, max_examples=200)
@given(lists, spaces, st.integers(4, 30), st.data())
def test_what_is_no_json_is_none_in_slices(
    data: Any, separators: tuple[str, str], slice_bytes: int, more: st.DataObject
) -> None:
    """One byte is another, or too much, or missing."""
    text = bytearray(json.dumps(document(data), separators=separators).encode())
    at = more.draw(st.integers(0, len(text) - 1))
    new = more.draw(st.sampled_from([b"", *(bytes([each]) for each in b',,,[]][{}":0-.e\\ nt')]))
    text[at : at + more.draw(st.integers(0, 1))] = new
    found = at_once(parse_large(bytes(text), slice_bytes))
    event("error" if isinstance(found, InvalidArgumentError) else "none" if found is None else "read")
    check_read(found, bytes(text))


BROKEN = ["[1,2,3,,4,5,6]", "[1,2,3,]", "[[1,2,],[3,4]]", "[[1,2],[,3,4]]", "[[1,2]3,4]", "[1,2]]", "[[1,2,3,4]", "[,1,2,3]",
          "[1 2,3,4]", "[01,2,3]", "[1,2,[],,3]", "[[],,[1,2,3]]", "[1,2,Nan,3]", "[Infinity1,2,3]", '["a","b",,"c"]',
          '["a","b",]', '["a" "b","c"]', '["a","b]', '["a","b"', '["a",{"b":"c"},"d"]', '["a","\\x","b"]', '[1,2,"\\ud800",3]',
          '["a",b,"c"]', "[1,2,{},3]"]  # fmt: skip


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_left_to_others_or_is_said(data: str) -> None:
    text = f'{{"inputs":[{{"name":"x","data":{data},"shape":[3]}}]}}'.encode()
    for slice_bytes in range(1, 12):
        found = at_once(parse_large(text, slice_bytes))
        assert found is None or isinstance(found, InvalidArgumentError)
        check_read(found, text)


def test_nested_lists_and_large_numbers_are_not_left_to_others() -> None:
    for data in ("[[1,2.5],[3,4]]", " [ [1 , 2] ,\n[3,4 ] ] ", "[1,-0.0,2e3,4]", "[[[1],[2]],[[3],[4]]]"):
        text = f'{{"inputs":[{{"name":"x","data":{data},"shape":[3]}},{{"data":[9,9,9,9]}}]}}'.encode()
        for kind in (bytes, bytearray, memoryview):
            found = at_once(parse_large(kind(text), 4))
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
    assert at_once(parse_large(memoryview(text), 30, room)) is not None
    # Its text once more, to search in; all numbers, and what is between them but for where it was cut.
    assert asked[0] == len(text)
    assert sum(asked[1:]) == 8 * 150 + (150 - 1) + 2 - (len(asked) - 2)
    for most in range(len(asked)):
        asked.clear()
        assert at_once(parse_large(memoryview(text), 30, room)) is None
        assert len(asked) == most + 1


@pytest.mark.parametrize("datatype", sorted(BY_NAME))
@settings(deadline=None, max_examples=25)
@given(data=lists, slice_bytes=st.integers(4, 30))
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
                content = array.tolist() if array.dtype == np.object_ else array.tobytes()
                outcomes.append((array.dtype, array.shape, content))
            except InvalidArgumentError as error:
                outcomes.append(error.message)
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(("datatype", "count"), [("FP32", 5), ("INT32", 4), ("BYTES", 4), ("BOOL", 4)])
def test_what_is_wrong_with_all_of_them_is_said_without_looking_at_each(datatype: str, count: int) -> None:
    """Which takes seconds for a large list, and is not done in slices."""

    class Opaque(Numbers):
        def lists(self) -> list[Any]:
            raise AssertionError

    text, firsts = memoryview(b"[1,2,3,4.5]"), {int: (0, 1), float: (3, 4.5)}
    numbers = Opaque(text, 4, (4,), firsts, [np.array([1, 2]), np.array([3, 4.5])])
    with pytest.raises(InvalidArgumentError, match=r"attempt to access JSON non-|'data' has 4"):
        decode_json_data(AnnouncedInput("x", BY_NAME[datatype], [count], "m", ""), numbers)


@settings(deadline=None, max_examples=60)
@given(
    data=lists | lists_of(st.sampled_from(["", "QQ==", "Q Q==", "//4=", "no base64", "é"])),
    slice_bytes=st.integers(4, 30),
)
def test_base64_of_large_lists(data: Any, slice_bytes: int) -> None:
    text = json.dumps({"inputs": [{"data": data}]}).encode()
    found = at_once(parse_large(text, slice_bytes))
    if found is None:
        return
    announced = AnnouncedInput("x", BY_NAME["BYTES"], [len(flatten(data)[0])], "m", "")
    outcomes = [
        outcome(lambda each=each: decode_base64_data(announced, each["inputs"][0]["data"]).tolist())
        for each in (found, orjson.loads(text))
    ]
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("last", ['"1"', "null", "true", "[1]", '"a,]"'])
@pytest.mark.parametrize("datatype", ["FP32", "INT32", "BYTES", "BOOL"])
def test_what_is_wrong_is_found_in_slices(datatype: str, last: str) -> None:
    """In lists of elements that no tensor takes together."""
    text = b'{"inputs":[{"data":[1,2,3,4,5,6,%b],"shape":[7]}]}' % last.encode()
    for slice_bytes in range(4, 12):
        found = at_once(parse_large(text, slice_bytes))["inputs"][0]["data"]
        announced = AnnouncedInput("x", BY_NAME[datatype], [7], "m", "")
        plain = outcome(lambda: decode_json_data(announced, orjson.loads(text)["inputs"][0]["data"]))  # noqa: B023
        in_slices = outcome(lambda: decode_json_data(announced, found))  # noqa: B023
        assert repr(in_slices) == repr(plain)


ESCAPED = [
    "a",
    ",",
    '","',
    '"',
    '",',
    "\\",
    '\\"',
    '\\",',
    "]",
    '"]',
    "[",
    "",
    "\n",
    "é",
    "\U0001f600",
    "}",
    ":",
    "\\u0041",
]


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", " :\t")])
@pytest.mark.parametrize(
    "nest", [lambda each: each, lambda each: [each, each], lambda each: [[[one, one]] for one in each]]
)
def test_texts_of_any_letters(
    nest: Callable[[list[str]], list[Any]], separators: tuple[str, str], ascii_only: bool
) -> None:
    for number in range(len(ESCAPED)):
        data = nest(ESCAPED[number:] + ESCAPED[:number])
        text = json.dumps(document(data), separators=separators, ensure_ascii=ascii_only).encode()
        plain, _ = flatten(data)
        for slice_bytes in range(3, 40):
            found = at_once(parse_large(text, slice_bytes))
            if found is None:
                continue
            elements = found["inputs"][0]["data"]
            assert isinstance(elements, Texts)
            assert [each.decode() for each in elements.elements] == plain
            assert len(elements) == len(plain)
            assert same(elements.lists(), data)


def test_long_texts_and_sentences_are_read_in_slices() -> None:
    for word in ("a, b, c", "x" * 30_000, '"quoted", and so on', ","):
        data = [word] * (1_000_000 // len(word) // 4)
        text = json.dumps(document(data)).encode()
        found = at_once(parse_large(text))
        assert found["inputs"][0]["data"].elements.tolist() == [word.encode()] * len(data)


def test_texts_that_there_is_no_room_for_are_left_to_others() -> None:
    text = json.dumps(document(["a text", "b"] * 50)).encode()
    asked: list[int] = []

    def room(size: int) -> bool:
        asked.append(size)
        return len(asked) <= most

    most = 1000
    assert at_once(parse_large(text, 30, room)) is not None
    assert sum(asked) > 100 * (40 + 8 + 8)
    for most in range(len(asked)):
        asked.clear()
        assert at_once(parse_large(text, 30, room)) is None
        assert len(asked) == most + 1


SHAPES = [
    (80_000,),
    (2, 40_000),
    (40_000, 2),
    (1, 3, 30_000),
    (30_000, 1, 2),
    (5, 16_385),
    (3, 8192),
    (1, 1, 1, 20_000),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "<u1", "?", "<f2", BF16.dtype])
@pytest.mark.parametrize("odd", [False, True])
def test_what_is_written_is_what_is_written_in_one_go(dtype: Any, shape: tuple[int, ...], odd: bool) -> None:
    array = (np.arange(prod(shape)) * 0.37).astype(dtype).reshape(shape)
    if odd and array.dtype.kind not in "biu":
        array.reshape(-1)[[7, -1]] = np.nan, -np.inf
    array = array.swapaxes(0, -1)
    gaps = Gaps()
    first, second = gaps.gap(at_once(written(array, "y"))), gaps.gap(at_once(written(array[:, ...], "y")))
    text = b"".join(gaps.fill(orjson.dumps({"a": first, "b": [second], "c": 1})))
    value = with_literals(as_lists(array))
    assert text == orjson.dumps({"a": value, "b": [value], "c": 1}, option=orjson.OPT_SERIALIZE_NUMPY)
    assert array.dtype in BY_DTYPE


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("as_json", [TEXTS, TEXTS_OR_BASE64, BASE64_OBJECTS, BASE64_TEXTS])
def test_texts_are_written_as_in_one_go(shape: tuple[int, ...], as_json: InJson) -> None:
    array = np.array([str(number).encode() for number in range(prod(shape))], object).reshape(shape)
    array.reshape(-1)[[0, 3, -1]] = b"", '"é\\'.encode(), b"\xff" if as_json.around else b"last"
    array = array.swapaxes(0, -1)
    gaps = Gaps()
    text = b"".join(gaps.fill(orjson.dumps({"a": gaps.gap(at_once(written(array, "y", as_json))), "c": 1})))
    expected = np.empty(array.size, object)
    expected[:] = [as_json.element(each) for each in array.reshape(-1)]
    assert text == orjson.dumps({"a": expected.reshape(array.shape).tolist(), "c": 1})


LETTERS = 'é€𝄞\\\n"a\x7f\u2028'.encode()
LONG = [
    *(b"a" * shift + LETTERS * (SLICE_BYTES // 4) for shift in range(5)),
    *(b"b" * (SLICE_BYTES * times + more) for times in (1, 3, 6) for more in (-1, 0, 1, 2)),
    *(b"c" * (SLICE_BYTES - 1) + LETTERS + wrong + b"d" * SLICE_BYTES for wrong in (b"\xff", b"\x80" * 5, b"\xed\xa0\x80")),
    b"e" * 2 * SLICE_BYTES + "𝄞".encode()[:-1],
    b"\x80" * 2 * SLICE_BYTES,
    bytes(range(256)) * 2048,
]  # fmt: skip


@pytest.mark.parametrize("as_json", [TEXTS, TEXTS_OR_BASE64, BASE64_OBJECTS, BASE64_TEXTS])
@pytest.mark.parametrize("element", LONG, ids=range(len(LONG)))
def test_long_texts_are_written_as_in_one_go(element: bytes, as_json: InJson) -> None:
    arrays = [
        np.array(elements, object).reshape(shape)
        for elements, shape in (([element], ()), ([element], (1, 1)), ([b"x", element, element, b""], (2, 2)))
    ]
    for array in arrays:
        expected = np.empty(array.size, object)
        try:
            expected[:] = [as_json.element(each) for each in array.reshape(-1)]
        except UnicodeDecodeError:
            with pytest.raises(InvalidArgumentError, match="output 'y' has an element that is not UTF-8"):
                at_once(written(array, "y", as_json))
            continue
        assert b"".join(at_once(written(array, "y", as_json))) == orjson.dumps(
            expected.reshape(array.shape).tolist()
        )
    assert is_large(arrays[-1]) == (2 * len(element) + 1 >= LARGE_BYTES)


def test_a_text_that_json_cannot_carry() -> None:
    array = np.array([b"a"] * 9999 + [b"\xff"], object)
    with pytest.raises(InvalidArgumentError, match="output 'y' has an element that is not UTF-8"):
        at_once(written(array, "y"))


def test_each_list_stands_where_it_belongs_whatever_the_order_of_the_text() -> None:
    gaps = Gaps()
    document = {str(number): gaps.gap([b"[%d" % number, b"]"]) for number in reversed(range(12))}
    text = b"".join(gaps.fill(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)))
    assert orjson.loads(text) == {str(number): [number] for number in range(12)}


numerals = st.one_of(
    numbers, texts, st.sampled_from([float("nan"), float("inf"), True, None, "1", [], {}, [[1]]])
)
nested = st.recursive(
    st.lists(numerals, max_size=6), lambda inner: st.lists(inner, max_size=5), max_leaves=20
)


@st.composite
def tables(draw: st.DrawFn) -> Any:
    """Lists in lists of numbers, or of texts, equally long on each level, or nearly so."""
    elements = draw(st.sampled_from([numbers | st.just(math.nan), texts]))
    value: Any = draw(st.lists(elements, min_size=1, max_size=5))
    for _ in range(draw(st.integers(0, 3))):
        value = [json.loads(json.dumps(value)) for _ in range(draw(st.integers(1, 4)))]
    if draw(st.booleans()):
        at = value
        while isinstance(at[0], list) and draw(st.booleans()):
            at = at[draw(st.integers(0, len(at) - 1))]
        at.insert(draw(st.integers(0, len(at))), draw(numerals))
    return value


def outcome(make: Any) -> Any:
    """What is made, or the error."""
    try:
        return make()
    except InvalidArgumentError as error:
        return error.message


SIGNATURES = [
    ModelSignature(
        parse_config(
            f'name: "m" max_batch_size: {batch} input {{ name: "x" data_type: TYPE_{kind} dims: [ {dims} ] }} {more} '
            'output { name: "y" data_type: TYPE_FP32 dims: 1 }',
            "test",
        )
    )
    for kind in ("FP32", "FP16", "BF16", "FP64", "INT8", "UINT64", "BOOL", "STRING")
    for batch, dims in ((0, "-1"), (8, "2, -1"), (0, "-1, -1"), (8, "1"))
    for more in ("", 'input { name: "z" data_type: TYPE_INT32 dims: -1 optional: true }')
]


def shown(request: Any) -> Any:
    return [
        (name, array.dtype, array.shape, array.tobytes() if array.dtype != np.object_ else array.tolist())
        for name, array in request.inputs.items()
    ] + sorted(request.parameters.items())


def of_generate(text: bytes, document: Any, signature: ModelSignature) -> Any:
    said = read_json(text, signature, document)
    found = request_of(said, signature, "m", "")
    return shown(found), said.layout, found.id


def of_v1(text: bytes, document: Any, signature: ModelSignature) -> Any:
    document = parsed(text, document)
    found = decode_predict(document, signature, "", FLAVOURS["kserve"])
    return shown(found.request), found.by_row


def perhaps_damaged(text: str, more: st.DataObject) -> bytes:
    """A text, in which a byte may be missing, or be another, or one more."""
    damaged = bytearray(text.encode())
    if more.draw(st.booleans()):
        at = more.draw(st.integers(0, len(damaged) - 1))
        new = more.draw(st.sampled_from([b"", *(bytes([each]) for each in b',,[]][{}":0-.e\\ nt\xff')]))
        damaged[at : at + more.draw(st.integers(0, 1))] = new
    return bytes(damaged)


def check_the_same(
    found: Any, text: bytes, read: Callable[[bytes, Any, ModelSignature], Any], signature: ModelSignature
) -> None:
    """What was `found` in slices, if anything was, is what is read in one go, or its error."""
    if found is None:
        return
    if isinstance(found, str):
        assert outcome(lambda: parse_json(text)) == found
        return
    in_slices, whole = (outcome(lambda each=each: read(text, each, signature)) for each in (found, None))
    assert repr(in_slices) == repr(whole)


@pytest.mark.parametrize("protocol", ["generate", "v1"])
@settings(deadline=None, max_examples=400)
@given(
    st.one_of(tables(), nested),
    st.sampled_from(['{"x":%s}', '{"z":5,"x":%s,"p":"[1,2,3,4,5,6]"}', '{"x":1,"x":%s}', '{"parameters":{"p":%s},"x":[1,2]}',
                     '{"x":%s,"x":[1,2]}', '{"id":%s,"x":[1,2]}', '{"x":[1,2,3],"other":%s}', '{"x":{"y":%s}}', '%s']),
    st.sampled_from(['{"instances":%s}', '{"inputs":%s}', '{"inputs":{"x":%s}}', '{"inputs":{"x":%s,"z":[1,2,3]}}',
                     '{"instances":[{"x":%s},{"x":%s}]}', '{"signature_name":%s,"inputs":[1]}', '{"inputs":[1],"instances":%s}',
                     '{"parameters":{"p":%s},"inputs":[1]}', '{"inputs":{"x":[1],"w":%s}}', '{"else":%s,"inputs":[1,2]}']),
    spaces, st.integers(4, 20), st.sampled_from(SIGNATURES), st.data(),
)  # fmt: skip
def test_requests_by_name_and_of_v1(
    protocol: str,
    data: Any,
    by_name: str,
    v1: str,
    separators: tuple[str, str],
    slice_bytes: int,
    signature: ModelSignature,
    more: st.DataObject,
) -> None:
    """What they are, and the errors, are the same whether a body was read in slices or in one go."""
    form, places, read = (by_name, members, of_generate) if protocol == "generate" else (v1, values, of_v1)
    text = perhaps_damaged(form.replace("%s", json.dumps(data, separators=separators)), more)
    found = outcome(lambda: at_once(parse_large(text, slice_bytes, places=places)))
    event("in slices" if found is not None else "in one go")
    check_the_same(found, text, read, signature)


@pytest.mark.parametrize(("data", "sizes"), [
    ("[1,2,3,4,5]", (5,)), ("[[1,2,3],[4,5,6]]", (2, 3)), ("[[[1],[2]],[[3],[4]]]", (2, 2, 1)), ("[[[1,2]]]", (1, 1, 2)),
    ("[[1,2],[3,4,5]]", None), ("[[1,2],3,4]", None), ("[1,[2,3],4]", None), ("[[1],[],[3]]", None), ("[[1,2],[[3,4]]]", None),
    ("[[1,2],[3,4],[]]", None), ("[[1, 2],\n [3, 4]]", (2, 2)), ("[true,false]", (2,)), ("[[NaN,1],[2,3]]", (2, 2)),
])  # fmt: skip
def test_the_sizes_of_lists(data: str, sizes: tuple[int, ...] | None) -> None:
    for slice_bytes in range(4, len(data)):
        text = b'{"x":%b}' % data.encode()
        found = at_once(parse_large(text, slice_bytes, places=members))
        assert found["x"].sizes == sizes
        assert same(found["x"].lists(), json.loads(data))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=6),
    st.sampled_from(["", "[],", "1,", "[1],", "],[", "[", "]", ","]),
    st.data(),
)
def test_sizes_are_found_in_slices(shape: list[int], more: str, draw: st.DataObject) -> None:
    """Also where one or more of the lists differ."""
    text = json.dumps(np.zeros(shape, np.int64).tolist(), separators=(",", ":"))
    at = draw.draw(st.integers(1, len(text) - 1))
    text = text[:at] + more + text[at:]
    try:
        given = json.loads(text)
    except ValueError:
        return
    flat, _ = flatten(given)
    try:
        wanted = np.array(given).shape
    except ValueError:
        wanted = None
    structure = text.translate({ord("0"): None, ord("1"): None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists_module, "COPIED_BYTES", draw.draw(st.integers(16, 24)))
        assert at_once(sizes_of(structure.encode(), len(flat))) == (wanted if flat else None)


@pytest.mark.parametrize("shape", [(3 * SLICE_BYTES, 1, 1, 1), (1, 1, 3 * SLICE_BYTES), (2, SLICE_BYTES, 1)])
def test_very_many_lists(shape: tuple[int, ...]) -> None:
    """Of one number, or a few."""
    given = np.arange(prod(shape)).reshape(shape).tolist()
    text = json.dumps({"x": given}, separators=(",", ":")).encode()
    found = at_once(parse_large(text, places=members))["x"]
    assert found.sizes == shape
    assert np.concatenate(found.pieces).tolist() == list(range(prod(shape)))
    given.append(0)
    assert at_once(parse_large(json.dumps({"x": given}).encode(), places=members))["x"].sizes is None


ROWS = ModelSignature(
    parse_config(
        'name: "m" max_batch_size: 8 input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }, '
        '{ name: "n" data_type: TYPE_INT32 dims: [ 1 ] }, { name: "o" data_type: TYPE_BOOL dims: [ 1 ] optional: true } ] '
        'output { name: "y" data_type: TYPE_FP32 dims: 1 }',
        "test",
    )
)
cells = st.one_of(numerals, st.lists(numbers, max_size=3))


@st.composite
def rows_by_name(draw: st.DrawFn) -> Any:
    """Rows of one form, or nearly so."""
    count, width = draw(st.integers(3, 9)), draw(st.integers(0, 3))
    rows: list[Any] = []
    flag = draw(st.booleans())
    for _ in range(count):
        row: dict[str, Any] = {
            "x": draw(st.lists(numbers, min_size=width, max_size=width)),
            "n": draw(st.integers(-9, 9)),
        }
        rows.append(row | ({"o": draw(st.booleans())} if flag else {}))
    if draw(st.booleans()):
        odd = draw(st.integers(0, count - 1))
        rows[odd] = draw(
            st.one_of(cells, st.dictionaries(st.sampled_from(["x", "n", "o", "w", "b64"]), cells))
        )
    return rows


@settings(deadline=None, max_examples=400)
@given(
    rows_by_name(), st.sampled_from(['{"instances":%s}', '{"instances":%s,"parameters":{"p":"]"}}', '{"p":"\\"instances\\":[","instances":%s}',
                            '{"signature_name":"","instances":%s}', '{"instances":%s,"instances":[1]}', '{"inputs":[1],"instances":%s}',
                            '{"p":{"instances":%s}}', '{"parameters":{"p":NaN},"instances":%s}']),
    spaces, st.integers(12, 40), st.sampled_from([ROWS, *SIGNATURES[:3]]), st.data(),
)  # fmt: skip
def test_rows_by_name(
    rows: Any,
    form: str,
    separators: tuple[str, str],
    slice_bytes: int,
    signature: ModelSignature,
    more: st.DataObject,
) -> None:
    text = perhaps_damaged(form.replace("%s", json.dumps(rows, separators=separators)), more)
    found = outcome(lambda: at_once(parse_values(text, lambda _: True, slice_bytes)))
    rowwise = isinstance(found, dict) and isinstance(found.get("instances"), Columns)
    event("by rows" if rowwise else "in slices" if found is not None else "in one go")
    check_the_same(found, text, of_v1, signature)


def of_examples(text: bytes, document: Any, signature: ModelSignature) -> Any:
    document = parsed(text, document)
    return shown(decode_examples(document, "regress", signature, "y", "", FLAVOURS["kserve"]))


@settings(deadline=None, max_examples=400)
@given(
    rows_by_name(), st.sampled_from(['{"examples":%s}', '{"examples":%s,"context":{"n":3}}', '{"context":{"n":[3],"w":1},"examples":%s}',
                            '{"context":{"x":[1,2]},"signature_name":"","examples":%s}', '{"examples":%s,"context":{"o":1}}',
                            '{"examples":%s,"examples":[1]}', '{"context":[1],"examples":%s}', '{"examples":%s,"context":{"n":"a"}}']),
    st.sampled_from([(), ("n",), ("o",)]), spaces, st.integers(12, 40), st.sampled_from([ROWS, *SIGNATURES[:3]]), st.data(),
)  # fmt: skip
def test_examples(
    rows: Any,
    form: str,
    without: tuple[str, ...],
    separators: tuple[str, str],
    slice_bytes: int,
    signature: ModelSignature,
    more: st.DataObject,
) -> None:
    """What they are, and the errors, are the same whether they were read in slices or in one go."""
    rows = [
        {name: row[name] for name in row if name not in without} if isinstance(row, dict) else row
        for row in rows
    ]
    text = perhaps_damaged(form.replace("%s", json.dumps(rows, separators=separators)), more)
    found = outcome(lambda: at_once(parse_examples(text, lambda _: True, slice_bytes)))
    event("in slices" if found is not None else "in one go")
    check_the_same(found, text, of_examples, signature)


def test_rows_that_are_read_by_rows() -> None:
    for data in (
        '[{"x":[1,2],"n":1},{"x":[3,4],"n":2}]',
        ' [ {"x" : 1, "n":[true]} ,\n {"x" : 2.5, "n":[false]} ] ',
    ):
        text = b'{"instances":%b,"parameters":{"p":1}}' % data.encode()
        found = at_once(parse_values(text, lambda _: True, 12))
        assert isinstance(found["instances"], Columns)
        assert same({name: each.lists() for name, each in found["instances"].values.items()},
                    {name: [row[name] for row in json.loads(data)] for name in "xn"})  # fmt: skip
        assert at_once(parse_values(text, lambda _: False, 12)) is None
