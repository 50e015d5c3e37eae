"""Long texts in JSON: what is read in slices is what is read in one go, or is left to that."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.broken import or_error
from kserve_v2.json_data.large import data_of_inputs
from kserve_v2.json_data.long_texts import parse_long_texts, values
from kserve_v2.json_data.tensors import Texts
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.rest.codec import decode_request
from kserve_v2.rest.generate_codec import members
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import SLICE_BYTES, at_once
from kserve_v2.v1 import large
from tests.json_data.test_large import of_generate, of_v1, shown

pytestmark = pytest.mark.usefixtures("in_words_of_large_texts")


def signature(kind: str, name: str = "x", more: str = "") -> ModelSignature:
    return ModelSignature(
        parse_config(
            f'name: "m" max_batch_size: 8 input {{ name: "{name}" data_type: TYPE_{kind} dims: [ -1 ] }} {more} '
            'output { name: "y" data_type: TYPE_FP32 dims: 1 }',
            "test",
        )
    )


SIGNATURES = [
    signature("STRING"),
    signature("FP32"),
    signature("STRING", "b64"),
    signature("STRING", "b64", 'input { name: "x" data_type: TYPE_STRING dims: 1 optional: true }'),
]


def infer(text: bytes, document: Any, signature: ModelSignature) -> Any:
    return shown(decode_request(text, None, signature, "", SharedMemoryRegions(enabled=False), document)[0])


READERS = [
    (infer, values(data_of_inputs, coded=True)),
    (of_generate, values(members, coded=False, alone=True)),
    (of_v1, values(large.values, coded=False)),
]


def outcome(read: Any, text: bytes, document: Any, signature: ModelSignature) -> Any:
    try:
        return read(text, document, signature)
    except InvalidArgumentError as error:
        return error.message


def check_the_same(text: bytes, blocks: tuple[int, ...] = (1, 2, 3, 7, 16)) -> int:
    """Returns how often it was read in slices."""
    times = 0
    for read, fill in READERS:
        for each in SIGNATURES:
            expected = outcome(read, text, None, each)
            for size in blocks:
                document = at_once(or_error(parse_long_texts(text, lambda _: True, fill, size)))
                if document is not None:
                    times += 1
                    assert outcome(read, text, document, each) == expected, (read, size)
    return times


CODED = base64.b64encode(bytes(range(200))).decode()
TEXTS = [
    CODED + "====", CODED[:-4] + "=" * 70, CODED[:-3] + "=" * 70, CODED[:-2] + "=" * 70 + "a", CODED[:-4] + "!" + CODED + "é", "=" + CODED,
    CODED[:-3], CODED[:-4] + "a\n", CODED + "\u3000", CODED + "=\u00e9", CODED[:-4] + "=a" * 40,
    CODED, CODED[:-1], CODED + "=", CODED + "==", CODED[:-2] + "==" + CODED, " " + CODED, CODED.replace("A", "A "),
    CODED.replace("+", "-").replace("/", "_"), CODED.replace("/", "é"), "=" * 40, "é€𝄞" * 20, "a" * 64, "a" * 63, "a" * 65,
    "a" * 66 + "=", "data:image/png;base64," + CODED, "a,:[{" * 9 + ":", "[1,2,3]" * 9, "a\n" * 20, "a\\" * 20, "a/" * 20,
]  # fmt: skip


def item(data: Any, **more: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "BYTES", "shape": [1, 1], "data": data, **more}


ENCODED = {"parameters": {"content_type": "base64"}}


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_any_kind(text: str) -> None:
    given, times = {"b64": text}, 0
    for document in (
        {"inputs": [item([text])]},
        {"inputs": [item([text], **ENCODED)]},
        {"inputs": [item([text, "x"], **ENCODED, shape=[1, 2]), item([[text]], name="y")]},
        {"inputs": [item([text, "YQ=="], **ENCODED, shape=[2, 1])], "id": text},
        {"inputs": [item([text, 1])]},
        {"inputs": [item([text], datatype="FP32", **ENCODED)]},
        {"inputs": [item([text], shape=[1, 2])]},
        {"inputs": [item([given])], "parameters": {"a": given}},
        {"x": given}, {"x": [given, "a", given]}, {"x": [[given]]}, {"x": {"b64": text, "more": 1}}, {"x": [given, 1]},
        {"x": "a", "p": given}, {"x": "a", "parameters": {"p": given}}, {"x": "a", "id": text}, {"x": text},
        {"x": "a", "p": text}, {"p": text}, {"x": "a", "parameters": text}, {"x": "a", "parameters": {"p": text}},
        given, {"b64": given}, {"b64": text, "x": "a"}, {text: given}, {"x": {text: 1}}, {"x": {"b64": [text]}},
        {"instances": [given]}, {"instances": [given, "a"]}, {"instances": [{"x": given}, {"x": "a"}]},
        {"instances": [{"b64": given}, {"b64": text}]}, {"instances": [given, {"x": given}]}, {"instances": given},
        {"inputs": given}, {"inputs": [given]}, {"inputs": {"x": given}}, {"inputs": {"b64": given}}, {"inputs": {"b64": [given]}},
        {"inputs": {"x": [given]}, "parameters": {"p": given}}, [given], text,
    ):  # fmt: skip
        for ascii_only in (False, True):
            for written in (
                json.dumps(document, ensure_ascii=ascii_only),
                json.dumps(document, ensure_ascii=ascii_only, separators=(" ,\n", " : ")),
            ):
                times += check_the_same(written.encode())
    if text in (CODED, "a" * 64):
        assert times


@pytest.mark.parametrize(
    "text", [text for text in TEXTS if not text.isascii() or text.startswith("=") or "!" in text]
)
def test_what_is_no_base64_is_refused_in_slices(text: str) -> None:
    for document, (read, fill) in (
        ({"inputs": [item(["YQ==", text, CODED], **ENCODED, shape=[3, 1])]}, READERS[0]),
        ({"x": [{"b64": CODED}, {"b64": text}]}, READERS[1]),
    ):
        written = json.dumps(document).encode()
        found = at_once(parse_long_texts(written, lambda _: True, fill, 16))
        assert found is not None
        assert "element 1 is no base64" in outcome(read, written, found, SIGNATURES[0])


@pytest.mark.parametrize("before", [("A", 4 * SLICE_BYTES), ("AAA\n", SLICE_BYTES), ("AAA", 1), ("", 0)])
@pytest.mark.parametrize(
    "after", [("A", 1), ("A", 2), ("A=", 1), ("AA=", 1), ("AA===", 1), ("=", 3 * SLICE_BYTES), ("AA==", SLICE_BYTES), ("!", SLICE_BYTES)]
)  # fmt: skip
@pytest.mark.parametrize("end", ["", "é"])
def test_where_base64_is_wrong(before: tuple[str, int], after: tuple[str, int], end: str) -> None:
    """In the words of Python's decoder, which has all of it."""
    text = before[0] * before[1] + after[0] * after[1] + end
    for document in ({"x": {"b64": text}}, {"inputs": [item([text], **ENCODED)]}):
        check_the_same(json.dumps(document).encode(), (16 * 1024,))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("wrong", [b"\\x", b"]", b"~", b","])
def test_what_is_wrong_between_long_texts_is_found_in_slices(place: int, wrong: bytes) -> None:
    parts = [
        b'{"p":',
        b'"%b"' % ("é" * 99).encode(),
        b',"x":[',
        b'"%b"' % CODED.encode(),
        b"],",
        b'"q":',
        b"1}",
    ]
    parts.insert([0, 2, 3, 5][place] + 1, wrong)
    text = b"".join(parts)
    read, fill = READERS[1]
    found = at_once(or_error(parse_long_texts(text, lambda _: True, fill, 16)))
    assert isinstance(found, InvalidArgumentError)
    assert found.message == outcome(read, text, None, SIGNATURES[0])


def test_a_text_without_a_list_is_read_in_slices() -> None:
    read, fill = READERS[1]
    for document in ({"x": CODED}, {"x": CODED, "p": CODED}):
        text = json.dumps(document).encode()
        found = at_once(parse_long_texts(text, lambda _: True, fill, 16))
        assert type(found["x"]) is Texts
        assert outcome(read, text, found, SIGNATURES[0]) == outcome(read, text, None, SIGNATURES[0])


LETTERS = st.text('aA+/="\\:,[]{} \n1é', max_size=30)
VALUES = st.recursive(
    st.sampled_from([CODED, CODED[:-1], 1, None, {"b64": CODED}]) | LETTERS,
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(
            st.sampled_from(["b64", "x", "inputs", "instances", "data"]) | LETTERS, each, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(VALUES, st.data())
def test_anything(value: Any, more: st.DataObject) -> None:
    for document in (
        {"x": value},
        {"instances": value},
        {"inputs": value},
        {"inputs": [item(value, **ENCODED)]},
        value,
    ):
        text = json.dumps(document, ensure_ascii=False).encode()
        at = more.draw(st.integers(0, len(text)))
        wrong = more.draw(st.sampled_from([b"", b'"', b"\\", b",", b"\xff", b"\x00", b"{", b"]", b'"a":"']))
        check_the_same(text[:at] + wrong + text[at:], (1, 4, 9))


@pytest.mark.parametrize(
    "size", [SLICE_BYTES - 1, SLICE_BYTES, 3 * SLICE_BYTES, 3 * SLICE_BYTES + 1, 400_000]
)
@pytest.mark.parametrize("end", ["", "=", "==", "a", "é", "\x7f", "\ud800"])
def test_long_ones(size: int, end: str) -> None:
    """Of several slices."""
    for text in (
        base64.b64encode(b"x" * size).decode() + end,
        "𝄞" * (size // 4) + end,
        "a" + "é" * (size // 2) + end,
    ):
        for document in (
            {"x": {"b64": text}},
            {"inputs": [item([text], **ENCODED)]},
            {"inputs": [item([text])]},
        ):
            check_the_same(
                json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"), (16 * 1024,)
            )


def test_what_there_is_no_room_for() -> None:
    for document in (
        {"x": {"b64": CODED}},
        {"inputs": [item([CODED])]},
        {"inputs": [item([CODED], **ENCODED)]},
    ):
        text = json.dumps(document).encode()
        assert at_once(parse_long_texts(text, lambda _: True, READERS[0][1], 16)) is not None
        assert at_once(parse_long_texts(text, lambda _: False, READERS[0][1], 16)) is None


def test_what_is_not_mostly_long_texts_is_left_to_others() -> None:
    numbers = json.dumps({"inputs": [item([1] * SLICE_BYTES), item([CODED])]}).encode()
    assert at_once(parse_long_texts(numbers, lambda _: True, READERS[0][1], 64)) is None
