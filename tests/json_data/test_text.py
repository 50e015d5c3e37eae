"""JSON as clients send it: in UTF-8, and of two members with one name the last counts, however they are written."""

import codecs
import json
import re
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.text import leading_object_bytes, parse_json
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.rest.codec import decode_request
from kserve_v2.scheduling.signature import ModelSignature

FAILED = "failed to parse the request JSON buffer: "
CONFIG = 'name: "m" max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 2 }'
SIGNATURE = ModelSignature(text_format.Parse(CONFIG, ModelConfig()))


def error_of(body: bytes) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_json(body)
    assert caught.value.message.startswith(FAILED)
    return caught.value.message.removeprefix(FAILED)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_other_encodings(encoding: str) -> None:
    assert error_of('{"inputs":[1]}'.encode(encoding)) == "it is not UTF-8, but looks like UTF-16 or UTF-32"


def test_a_byte_order_mark_is_skipped() -> None:
    mark = b"\xef\xbb\xbf"
    assert parse_json(mark + b'{"a":[1,2.5,"\xc3\xa9"]}') == {"a": [1, 2.5, "é"]}
    assert parse_json(mark + b"[NaN]")[0] != 0
    assert error_of(mark) == "The document is empty. at 0"
    assert error_of(mark * 100_000).startswith("Unexpected UTF-8 BOM")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"a":1,"\\u0061":2}', {"a": 2}),
        (b'{"\\u0061":2,"a":1}', {"a": 1}),
        (b'{"a":NaN,"a":2}', {"a": 2}),
        (b'{"a":18446744073709551616,"\\u0061":2}', {"a": 2}),
        (b'\xef\xbb\xbf{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_the_last_of_several_members_with_one_name_counts(body: bytes, expected: Any) -> None:
    """The same for the parser of what is usual and for that of what is not."""
    assert parse_json(body) == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "The document is empty. at 0"),
        (b'{"a":"', "Unterminated string starting at 5"),
        (b'{"a":"\1"}', "Invalid control character at 6"),
        (b'{"a":1} x', "Extra data at 8"),
        (b'{"a":"\xff"}', "invalid UTF-8 at 6"),
        (b'{"a":1e999}', "Number too big to be stored in double."),
        (b'{"a":"\\ud800"}', "The surrogate pair in string is invalid."),
    ],
)
def test_what_is_wrong_and_where(body: bytes, reason: str) -> None:
    assert error_of(body) == reason


@given(st.text(max_size=20) | st.binary(max_size=20))
def test_no_text_says_at_at(text: str | bytes) -> None:
    body = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    try:
        parse_json(body)
    except InvalidArgumentError as error:
        assert not re.search(r"\bat at\b", error.message)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (b"{}", 2),
        (b'{"a":[1]}\xff\0', 9),
        (b"[1]x", 0),
        (b"", 0),
        (b"x", 0),
        (b"{", 0),
        (b"[" * 100_000, 0),
        (b'{"a":"%b"}' % (b"x" * 65_536), 0),
    ],
)
def test_where_an_object_ends(text: bytes, size: int) -> None:
    assert leading_object_bytes(text) == size


def infer_error(body: bytes, header: bytes | None) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        decode_request(body, header, SIGNATURE, "", SharedMemoryRegions(enabled=False))
    return caught.value.message


HEADER = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}'


@pytest.mark.parametrize("tail", [b"\0\0\x80\x3f\0\0\0\x40", b"\xff" * 8, bytes(8)])
def test_a_length_header_that_was_forgotten(tail: bytes) -> None:
    message = infer_error(HEADER + tail, None)
    assert message.startswith(FAILED)
    assert message.endswith(
        f" (the JSON ends at {len(HEADER)}, and 8 bytes follow it: if they are binary tensors, the header "
        f"'Inference-Header-Content-Length: {len(HEADER)}' is missing)"
    )


@pytest.mark.parametrize("wrong", [-3, 3])
def test_a_length_header_that_is_wrong(wrong: int) -> None:
    length = len(HEADER) + wrong
    message = infer_error(HEADER + b"\xff" * 8, b"%d" % length)
    assert message.endswith(
        f" (Inference-Header-Content-Length says that {length} of the body's {len(HEADER) + 8} bytes are JSON)"
    )


@pytest.mark.parametrize("body", [b'{"inputs":', b'{"id":"\xff"} \n', b'{"id":"\xff"}', b"x" * 20])
def test_nothing_is_made_up_about_bodies_without_tensors(body: bytes) -> None:
    assert "Inference-Header" not in infer_error(body, None)


@pytest.mark.parametrize("value", [b"1_0", b" 1", b"+1", b"", b"-", b"--1", b"1.0", b"9" * 5000, b"\xc2\xb2"])
def test_a_length_header_that_is_no_number(value: bytes) -> None:
    assert infer_error(HEADER, value).startswith("Unable to parse Inference-Header-Content-Length, got: ")


@pytest.mark.parametrize("levels", [2, 50, 51, 99, 100, 150])
@pytest.mark.parametrize("kinds", [[b"["], [b'{"a":'], [b"[", b'{"a":']])
@pytest.mark.parametrize("beside", [b"", b"[[],{}]," * 200])
def test_as_many_levels_as_triton_takes(levels: int, kinds: list[bytes], beside: bytes) -> None:
    """99 of them."""
    opened = (kinds * levels)[: levels - 1]
    closed = [b"]" if each == b"[" else b"}" for each in reversed(opened)]
    text = b"[%b%b1%b]" % (beside, b"".join(opened), b"".join(closed))
    if levels < 100:
        assert parse_json(text)
        return
    with pytest.raises(InvalidArgumentError, match=r"nesting depth exceeds maximum allowed limit \(100\)"):
        parse_json(text)


NUMBERS = b'{"data":[' + b"0.5," * 100_000


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (b"", "unexpected end of data at 400009"),
        (b"1 2]}", "unexpected character, expected ',' or ']' at 400011"),
        (b"1]} x", "unexpected content after document at 400013"),
    ],
)
def test_large_text_that_is_no_json_is_read_once(
    end: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's parser would hold the loop for most of a second to say the same."""
    monkeypatch.setattr(json, "loads", None)
    assert error_of(NUMBERS + end) == reason


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity"])
def test_large_text_with_literals_of_python(literal: bytes) -> None:
    assert len(parse_json(NUMBERS + literal + b"]}")["data"]) == 100_001


def test_large_text_in_other_encodings() -> None:
    text = NUMBERS + b"1]}"
    assert len(parse_json(codecs.BOM_UTF8 + text)["data"]) == 100_001
    assert "UTF-16" in error_of(text.decode().encode("utf-16-le"))
    assert "UTF-16" in error_of(text.decode().encode("utf-16-be"))
    assert error_of(NUMBERS + b'"\xff"]}').startswith("invalid UTF-8")


@pytest.mark.parametrize("member", ["inputs", "outputs"])
def test_tensors_that_no_model_has_are_not_decoded(member: str) -> None:
    """Nothing else is said of them, whatever they are."""
    body = json.dumps({"inputs": [], member: [{"name": "x"}] * 1000}).encode()
    assert infer_error(body, None).startswith(
        f"expected at most {1 if member == 'inputs' else 0} {member} but got 1000"
    )
