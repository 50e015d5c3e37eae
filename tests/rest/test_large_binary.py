"""Large BYTES tensors behind JSON are read in slices: what comes of a body is what comes of it in one go, or its error."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.rest.codec import decode_request
from kserve_v2.rest.large_binary import json_before, read_texts
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import SLICE_BYTES, any_room, at_once
from kserve_v2.tensors.strings import encode_bytes_tensor

SIGNATURE = ModelSignature(
    parse_config(
        'name: "m" input { name: "x" data_type: TYPE_STRING dims: -1 } '
        'output { name: "y" data_type: TYPE_FP32 dims: 1 }',
        "test",
    )
)
LARGE = [b"", b"\xff", *(b"%d" % number for number in range(SLICE_BYTES // 4))]
RAW = encode_bytes_tensor(LARGE)


def outcome(body: bytes, length: bytes, *, in_slices: bool) -> Any:
    texts = at_once(read_texts(body, length, any_room)) if in_slices else {}
    try:
        request, wanted = decode_request(
            body, length, SIGNATURE, "", SharedMemoryRegions(enabled=False), None, texts
        )
    except InvalidArgumentError as error:
        return error.message
    shown = {
        name: (array.dtype, array.shape, array.tolist() if array.dtype.hasobject else array.tobytes())
        for name, array in request.inputs.items()
    }
    return shown, wanted, request.id


def check_the_same(body: bytes, length: bytes) -> Any:
    found = outcome(body, length, in_slices=True)
    assert found == outcome(body, length, in_slices=False)
    return found


def item(name: str, datatype: str, shape: list[Any], size: Any) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": size},
    }


TENSORS = st.sampled_from([
    (item("x", "BYTES", [len(LARGE)], len(RAW)), RAW), (item("y", "BYTES", [len(LARGE)], len(RAW)), RAW),
    (item("z", "BYTES", [1, len(LARGE), 1], len(RAW)), RAW), (item("w", "BYTES", [len(LARGE) + 1], len(RAW)), RAW),
    (item("v", "BYTES", [len(LARGE)], len(RAW) - 1), RAW[:-1]), (item("u", "BYTES", [len(LARGE)], len(RAW) + 1), RAW),
    (item("t", "INT8", [len(RAW)], len(RAW)), RAW), (item("s", "INT8", [3], 3), b"abc"), (item("r", "BYTES", [0], 0), b""),
    (item("q", "NONE", [1], len(RAW)), RAW), (item("p", "BYTES", [-1], len(RAW)), RAW), (item("o", "BYTES", [1], "7"), b""),
    ({"name": "n", "datatype": "BYTES", "shape": [1], "data": ["text"]}, b""), ({"name": "m", "datatype": "BYTES"}, b""),
    ({"name": "l", "datatype": "BYTES", "shape": [1], "data": ["a"], "parameters": None}, b""), (7, b""),
])  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    st.lists(TENSORS, max_size=4),
    st.sampled_from([b"", b"", b"", b"\0", b"}"]),
    st.sampled_from([0, 0, 0, -1, 1]),
    st.sampled_from(["inputs", "inputs", "outputs"]),
)
def test_what_is_read_in_slices(tensors: list[Any], behind: bytes, more: int, member: str) -> None:
    head = json.dumps({member: [described for described, _ in tensors], "id": "7"}).encode()
    body = head + b"".join(raw for _, raw in tensors) + behind
    check_the_same(body, b"%d" % (len(head) + more))


@pytest.mark.parametrize(
    "head", [b'["BYTES"]', b'"BYTES"', b'{"inputs":{"BYTES":1}}', b'{"inputs":["BYTES"]}', b'{"inputs":[{}],"BYTES"', b'{"inputs":[{"datatype":"BYTES","parameters":[]}]}']
)  # fmt: skip
def test_json_that_is_no_request(head: bytes) -> None:
    assert isinstance(check_the_same(head + RAW, b"%d" % len(head)), str)


@pytest.mark.parametrize("length", [b"", b"-1", b"x", b"99999999", b"9" * 30, "٣".encode(), b"0"])
def test_lengths_that_are_none(length: bytes) -> None:
    assert json_before(b'{"BYTES"}' + RAW, length) == b""
    assert not at_once(read_texts(b'{"BYTES"}' + RAW, length, any_room))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_usual_ones_are_read_in_slices(kind: Any) -> None:
    head = json.dumps(
        {"inputs": [item("a", "INT8", [3], 3), item("x", "BYTES", [len(LARGE)], len(RAW))]}
    ).encode()
    body = kind(head + b"abc" + RAW)
    texts = at_once(read_texts(body, b"%d" % len(head), any_room))
    assert list(texts) == [(3, len(RAW))]
    assert sum(1 for _ in read_texts(body, b"%d" % len(head), any_room)) >= len(RAW) // SLICE_BYTES
    assert not at_once(read_texts(body, b"%d" % len(head), lambda _: False))
