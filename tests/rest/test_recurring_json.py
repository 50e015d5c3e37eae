"""Numbers in JSON: what is read by a form is what is read in full, whatever has come before."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.forms import Forms
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.messages import InferRequest, same_request
from kserve_v2.rest.codec import ALL_JSON, ResponseFormat, decode_request
from kserve_v2.rest.heads import InferHead, InferHeads
from kserve_v2.rest.recurring import MAX_JSON_BYTES, RestForm, key_of, note
from kserve_v2.scheduling.signature import ModelSignature

REGIONS = SharedMemoryRegions(enabled=False)
HEADS = InferHeads(10**7)


def signature(*inputs: tuple[str, str, str]) -> ModelSignature:
    text = "".join(
        f'input {{ name: "{name}" data_type: TYPE_{datatype} dims: {dims} }}'
        for name, datatype, dims in inputs
    )
    return ModelSignature(text_format.Parse(f'name: "m" max_batch_size: 8 {text}', ModelConfig()))


DATATYPES = ["FP32", "FP64", "INT32", "INT64", "UINT8", "BOOL"]
ONE = {datatype: signature(("A", datatype, "[ -1 ]")) for datatype in DATATYPES}
TWO = signature(("A", "INT32", "[ 2 ]"), ("B", "FP32", "[ 1, 2 ]"))


def head_for(body: bytes, json_bytes: int | None = None) -> InferHead:
    more = b"" if json_bytes is None else b"Inference-Header-Content-Length: %d\r\n" % json_bytes
    lines = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n" % (len(body), more)
    head = HEADS.read(lines)
    assert head is not None
    return head


class Server:
    """Reads requests by their forms, and in full, and has those noted that are right."""

    def __init__(self, against: ModelSignature) -> None:
        self.forms: Forms[ResponseFormat] = Forms()
        self.against = against
        self.recalled = 0

    def full(self, body: bytes, json_bytes: int | None) -> tuple[InferRequest, ResponseFormat] | None:
        """None for a request that is refused."""
        length = None if json_bytes is None else b"%d" % json_bytes
        try:
            request, response_format = decode_request(body, length, self.against, "", REGIONS)
            request.rows, request.batch_key = self.against.check(request)
        except InvalidArgumentError:
            return None
        request.checked = True
        return request, response_format

    def find(self, head: InferHead, body: bytes | memoryview) -> tuple[RestForm, InferRequest] | None:
        key = key_of(head, body)
        return None if key is None else self.forms.find(key, body)

    def ask(self, body: bytes, json_bytes: int | None = None, *, view: bool = False) -> InferRequest | None:
        """The request, which is the same both ways."""
        head, expected = head_for(body, json_bytes), self.full(body, json_bytes)
        found = self.find(head, memoryview(body) if view else body)
        if found is not None:
            form, request = found
            assert expected is not None
            assert same_request(request, expected[0])
            assert form.wanted == expected[1]
            assert form.signature is self.against
            self.recalled += 1
        elif expected is not None:
            note(self.forms, head, body, expected[0], self.against, expected[1])
        return None if expected is None else expected[0]

    def recalls(self, body: bytes, json_bytes: int | None = None) -> bool:
        """Whether a form was found."""
        before = self.recalled
        self.ask(body, json_bytes)
        return self.recalled > before

    def learn(self, body: bytes, json_bytes: int | None = None) -> None:
        """Ask until the form is known."""
        for _ in range(2):
            assert self.ask(body, json_bytes) is not None
        assert self.recalls(body, json_bytes)


def request_text(data: str, datatype: str = "FP32", count: int = 3, start: str = "") -> bytes:
    return b'{%b"inputs":[{"name":"A","shape":[1,%d],"datatype":"%b","data":%b}]}' % (
        start.encode(), count, datatype.encode(), data.encode(),
    )  # fmt: skip


# --- numbers --------------------------------------------------------------------------------------------------------

# Texts whose values are known: by IEEE 754, rounded to the nearest double and then to the nearest float.
HARD = [
    "0", "-0.0", "0e0", "1E+2", "1e-2", "0.1", "0.3", "123456789012345678901234567890", "16777217", "16777219",
    "3.4028234663852886e38", "3.4028235677973362e38", "1.4e-45", "7.0e-46", "7.1e-46", "1e-46",
    "1.17549435e-38", "1.1754942e-38", "2.2250738585072011e-308", "4.9e-324", "1e-400", "9007199254740993",
    "1.00000005960464477539062500", "1.00000005960464477539062501", "1.00000017881393432617187499",
    "0.50000000000000000000000000000000000000000000000001", "18446744073709551615", "-9223372036854775808",
]  # fmt: skip
REFUSED = [
    "NaN", "Infinity", "-Infinity", "nan", "01", "+1", "1.", ".5", "1e", "--1", "0x10", "1_0", "１", "1e39", "-1e39", "1e999",
    "true", "null", '"1"', "[1]", "{}", "", "1 2", "1,", "3.4028235677973366e+38",
]  # fmt: skip


@pytest.mark.parametrize("text", HARD)
def test_a_number_is_rounded_as_by_python(text: str) -> None:
    server = Server(ONE["FP32"])
    server.learn(request_text("[1,2.5,-3]"))
    assert server.recalls(request_text(f"[{text},0,1]"))
    request = server.ask(request_text(f"[{text},0,1]"))
    assert request is not None
    expected = np.array([[float(text), 0, 1]], np.float32)
    assert request.inputs["A"].tobytes() == expected.tobytes()


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_number_is_not_read(text: str) -> None:
    for datatype in ("FP32", "INT32"):
        server = Server(ONE[datatype])
        server.learn(request_text("[1,2,3]", datatype))
        assert not server.recalls(request_text(f"[{text},0,1]", datatype))
        assert server.recalls(request_text("[4,5,6]", datatype))


@pytest.mark.parametrize(
    ("datatype", "known", "wrong"),
    [
        ("INT32", "[1,2,3]", "[1,2,2147483648]"), ("INT32", "[1,2,3]", "[1,2,3.0]"), ("INT32", "[1,2,3]", "[1,2,1e2]"),
        ("UINT8", "[1,2,3]", "[1,2,256]"), ("UINT8", "[1,2,3]", "[1,2,-1]"), ("INT64", "[1,2,3]", "[1,2,9223372036854775808]"),
        ("BOOL", "[true,false,true]", "[1,0,1]"), ("BOOL", "[true,false,true]", "[true,false,null]"),
        ("INT32", "[1,2,3]", "[1,2,true]"), ("FP64", "[1,2,3]", "[1,2,false]"), ("FP32", "[1,2,3]", "[1,2]"),
        ("FP32", "[1,2,3]", "[1,2,3,4]"), ("FP32", "[1,2,3]", "[[1,2,3]"), ("FP32", "[1,2,3]", "1"), ("FP32", "[1,2,3]", "null"),
        ("FP32", "[[1,2,3]]", "[[1,2],[3]"), ("FP32", "[[1,2,3]]", "[[1,2,[3]]]"), ("FP32", "[[1,2,3]]", '[["a"]]'),
    ],
)  # fmt: skip
def test_what_the_datatype_does_not_take(datatype: str, known: str, wrong: str) -> None:
    server = Server(ONE[datatype])
    server.learn(request_text(known, datatype))
    assert not server.recalls(request_text(wrong, datatype))


@pytest.mark.parametrize("data", ["[[[[1,2,3]]]]", "[[1],[2],[3]]", "[ 1 , 2\n,\t3 ]", "[[1,2.5,3e0]]"])
def test_lists_of_any_nesting(data: str) -> None:
    server = Server(ONE["FP32"])
    server.learn(request_text(data))
    for number in ("1", "7.25", "-1e-3"):
        assert server.recalls(request_text(data.replace("1", number, 1)))


# --- ids ------------------------------------------------------------------------------------------------------------

IDS = [
    "a", "", "x" * 300, "data", 'a\\"b', '\\\\"', "\\u00e9", "é", "\\ud83d\\ude00", "😀", '","inputs":[],"id":"', "]}]}", "[1,2]", "}",
    '\\",\\"inputs\\":[]', "a\\nb", "\\/",
]  # fmt: skip
BROKEN_IDS = [
    b'"a',
    b'"a\nb"',
    b'"\xff"',
    b'"\\ud800"',
    b'"\\x"',
    b"5",
    b"null",
    b'["a"]',
    b'"a"b"',
    b'""a"',
    b"'a'",
]


@pytest.mark.parametrize("text", IDS)
def test_an_id_of_any_kind(text: str) -> None:
    """By its form, or because it is left to the full way: `ask` compares."""
    for place in ("before", "behind"):

        def body(request_id: str, place: str = place) -> bytes:
            member = f'"id":"{request_id}"'
            if place == "before":
                return request_text("[1,2,3]", start=f"{member},")
            return request_text("[1,2,3]")[:-1] + f",{member}}}".encode()

        server = Server(ONE["FP32"])
        server.learn(body("r1"))
        server.ask(body(text))
        assert server.recalls(body("r2"))


@pytest.mark.parametrize("value", BROKEN_IDS)
def test_what_is_no_id_is_not_read(value: bytes) -> None:
    server = Server(ONE["FP32"])
    known = request_text("[1,2,3]", start='"id":"r1",')
    server.learn(known)
    assert not server.recalls(known.replace(b'"r1"', value))


def test_members_of_its_name_elsewhere_are_no_id() -> None:
    server = Server(ONE["FP32"])
    known = request_text("[1,2,3]").replace(b'"name"', b'"parameters":{"id":""},"name"')
    server.learn(known)
    assert not server.recalls(known.replace(b'"id":""', b'"id":"x"'))


# --- what has no form ----------------------------------------------------------------------------------------------

PLAIN = request_text("[1,2,3]", start='"id":"r1",')
NO_FORM: dict[str, bytes] = {
    "two ids": PLAIN.replace(b'"id":"r1"', b'"id":"r0","id":"r1"'),
    "two inputs": PLAIN[:-1] + b"," + request_text("[4,5,6]")[1:],
    "two data": PLAIN.replace(b'"data"', b'"data":[7,8,9],"data"'),
    "an escaped name": PLAIN.replace(b'"data"', b'"d\\u0061ta"'),
    "an escaped name beside": PLAIN.replace(b'"data"', b'"d\\u0061ta":[7,8,9],"data"'),
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "parameters": PLAIN[:-1] + b',"parameters":{"p":1}}',
    "control": PLAIN[:-1] + b',"parameters":{"priority":1}}',
    "shared memory": PLAIN[:-1] + b',"x":"shared_memory"}',
    "long": PLAIN[:-1] + b',"x":"%b"}' % (b"x" * 4096),
}


@pytest.mark.parametrize("name", NO_FORM)
def test_requests_that_are_decoded_each_time(name: str) -> None:
    server = Server(ONE["FP32"])
    for _ in range(20):
        assert server.ask(NO_FORM[name]) is not None
    assert server.recalled == 0


def test_long_lists_are_decoded_each_time() -> None:
    count = MAX_JSON_BYTES // 2
    body = request_text(f"[{','.join(['1'] * count)}]", count=count)
    server = Server(ONE["FP32"])
    for _ in range(3):
        assert server.ask(body) is not None
    assert server.recalled == 0


def test_what_is_never_like_another_is_rarely_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As texts that a client writes each time with its members in another order."""
    server = Server(ONE["FP32"])
    tried = []
    monkeypatch.setattr("kserve_v2.rest.recurring.form_of", lambda *args: tried.append(args))
    for _ in range(1000):
        server.ask(PLAIN)
    assert len(tried) == 9


def test_requests_of_several_shapes_in_turn() -> None:
    server = Server(ONE["FP32"])
    batches = [
        b'{"inputs":[{"name":"A","shape":[%d,1],"datatype":"FP32","data":%b}]}' % (rows, orjson.dumps(list(range(rows))))
        for rows in range(1, 9)
    ]  # fmt: skip
    for body in batches * 2:
        server.ask(body)
    assert server.recalled == 0
    for body in batches * 2:
        assert server.recalls(body)


def test_a_view_is_read_as_bytes_are() -> None:
    server = Server(ONE["FP32"])
    server.learn(PLAIN)
    for text, recalled in (("[4,5,6]", True), ("[true,5,6]", False)):
        before = server.recalled
        server.ask(request_text(text, start='"id":"r2",'), view=True)
        assert (server.recalled > before) == recalled


def test_the_way_in_which_tensors_are_sent_decides() -> None:
    """The JSON of one is the JSON of the other."""
    tensor = {"name": "A", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
    text = orjson.dumps({"id": "r1", "inputs": [tensor]})
    server = Server(ONE["FP32"])
    server.learn(text + b"\0\0\1\1", len(text))
    assert not server.recalls(text)
    assert not server.recalls(text + b"\0\0\1\1")
    assert not server.recalls(text + b"\0\0\1\1", len(text) - 1)
    assert not server.recalls(text + b"\0\0\1\1\1", len(text))
    other = text.replace(b"r1", b"another one")
    assert server.recalls(other + b"\0\0\1\1", len(other))
    assert not server.recalls(other + b"\0\0\1\1", len(text))


# --- any sequence ---------------------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-3, 300).map(str),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from([*HARD, *REFUSED, "false"]),
)
STYLES: list[Callable[[Any], str]] = [
    lambda value: orjson.dumps(value).decode(),
    json.dumps,
    lambda value: json.dumps(value, indent=1),
    lambda value: json.dumps(value, sort_keys=True),
]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Requests for TWO, most of them right: numbers stand for places where there may be anything."""
    rows = draw(st.sampled_from([1, 1, 1, 2]))
    nested = draw(st.booleans())
    b: Any = [[["@"] * 2]] * rows if nested else ["@"] * 2 * rows
    document: dict[str, Any] = {
        "inputs": [
            {"name": "A", "shape": [rows, 2], "datatype": "INT32", "data": ["#"] * 2 * rows},
            {"name": "B", "shape": [rows, 1, 2], "datatype": "FP32", "data": b},
        ]
    }
    kind = draw(st.integers(0, 3))
    if kind == 1:
        document = {"id": "?", **document}
    elif kind:
        document["id"] = "?"
    text = draw(st.sampled_from(STYLES))(document)
    usual = draw(st.integers(0, 3)) > 0
    while "#" in text or "@" in text:
        mark, strange = (
            ('"#"', st.integers(-9, 9).map(str)) if '"#"' in text else ('"@"', st.floats(-9, 9).map(repr))
        )
        text = text.replace(mark, draw(strange if usual else NUMBERS).replace("#", "").replace("@", ""), 1)
    text = text.replace(
        '"?"', f'"{draw(st.sampled_from(["r1", "another", *IDS] if not usual else ["r1", "r-22"]))}"'
    )
    body = text.encode()
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(body) - 1))
        body = body[:place] + draw(st.binary(max_size=2)) + body[place + draw(st.integers(0, 2)) :]
    return body


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(bodies(), min_size=4, max_size=12), st.integers(0, 10**6))
def test_any_sequence_of_requests(sent: list[bytes], order: int) -> None:
    server = Server(TWO)
    random = np.random.default_rng(order)
    for index in [*range(len(sent)), *random.integers(0, len(sent), 3 * len(sent))]:
        server.ask(sent[index], view=bool(random.integers(2)))


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 3), st.sampled_from(STYLES))
def test_a_request_with_a_few_other_bytes(
    where: int, put: bytes, dropped: int, style: Callable[[Any], str]
) -> None:
    tensor = {"name": "A", "shape": [1, 3], "datatype": "FP32", "data": [1.5, -2, 3e10]}
    body = style({"id": "r1", "inputs": [tensor]}).encode()
    server = Server(ONE["FP32"])
    server.learn(body)
    place = where % len(body)
    server.ask(body[:place] + put + body[place + dropped :])


def test_how_the_answer_is_wanted_is_that_of_the_form() -> None:
    server = Server(ONE["FP32"])
    binary = PLAIN[:-1] + b',"parameters":{"binary_data_output":true}}'
    for body in [PLAIN, binary] * 3:
        server.ask(body)
    assert server.recalled == 2
    found = server.find(head_for(PLAIN), PLAIN)
    assert found is not None
    assert found[0].wanted is ALL_JSON
