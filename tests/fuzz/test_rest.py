"""Damaged requests over REST. Whatever is sent, the answer is documented, it is JSON, and it is not 500.

The inputs in `corpus/rest` are sent first: whole requests, as bytes.
"""

import json
import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.conftest import RunningServer
from tests.fuzz.conftest import FUZZ
from tests.fuzz.mutations import damaged_bytes, damaged_documents
from tests.fuzz.target import check_answer, corpus, post, throw
from tests.integration.rest_requests import HEADER_LENGTH, IN
from tests.integration.support import json_tensor

A, B = (json_tensor(name, "INT32", [1, 2], [1, 2]) for name in "AB")
WORDS = json_tensor("IN", "BYTES", [3], ["a", "", "é"])

# Path, and a document that is right for it.
VALID: list[tuple[str, Any]] = [
    ("/v2/models/bat/infer", {"id": "1", "inputs": [IN], "outputs": [{"name": "OUT"}]}),
    ("/v2/models/bat/versions/1/infer", {"inputs": [IN], "parameters": {"binary_data_output": True, "p": 1.5}}),
    ("/v2/models/matrix/infer", {"inputs": [json_tensor("IN", "FP32", [2, 2], [[1, 2], [3.5, -4]])]}),
    ("/v2/models/two/infer", {"inputs": [A, B], "outputs": [{"name": "Y", "parameters": {"binary_data": True}}]}),
    ("/v2/models/opt/infer", {"inputs": [json_tensor(name, "FP32", [1, 1], [1]) for name in "AB"]}),
    ("/v2/models/id_bytes/infer", {"inputs": [WORDS], "outputs": [{"name": "OUT", "parameters": {"binary_data": True}}]}),
    ("/v2/models/id_int8/infer", {"inputs": [json_tensor("IN", "INT8", [3], [1, -128, 127])]}),
    ("/v2/models/id_uint64/infer", {"inputs": [json_tensor("IN", "UINT64", [1], [2**64 - 1])]}),
    ("/v2/models/id_bool/infer", {"inputs": [json_tensor("IN", "BOOL", [2], [True, False])]}),
    ("/v2/models/id_fp16/infer", {"inputs": [json_tensor("IN", "FP16", [1], [1])]}),
    ("/v2/models/classes/infer", {"inputs": [IN], "outputs": [{"name": "SCORES", "parameters": {"classification": 2}}]}),
    ("/v2/models/many/generate", {"COUNT": 1, "TEXT": ["a", "b"], "id": "7", "parameters": {"p": True}}),
    ("/v2/models/many/generate_stream", {"COUNT": 3, "TEXT": "a", "p": 1}),
    ("/v2/models/bat/generate", {"IN": [1, 2, 3]}),
    ("/v2/repository/index", {"ready": True}),
    ("/v2/repository/models/nosuch/load", {"parameters": {"config": "{}"}}),
    ("/v2/repository/models/nosuch/unload", {"parameters": {"unload_dependents": False}}),
    ("/v2/logging", {"log_verbose_level": 0, "log_format": "default"}),
    ("/v2/trace/setting", {"trace_rate": "100", "trace_count": "5"}),
    ("/v2/models/bat/trace/setting", {"trace_level": ["OFF"], "log_frequency": None}),
    ("/v2/systemsharedmemory/region/r/register", {"key": "/nosuch", "offset": 0, "byte_size": 64}),
    ("/v2/cudasharedmemory/region/r/register", {"raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 64}),
]  # fmt: skip


@pytest.mark.parametrize("name", corpus("rest"))
def test_the_corpus(server: RunningServer, name: str) -> None:
    check_answer(server, corpus("rest")[name])


@pytest.mark.slow
@pytest.mark.parametrize(("path", "document"), VALID, ids=[path for path, _ in VALID])
def test_json(server: RunningServer, path: str, document: Any) -> None:
    @FUZZ
    @given(damaged_documents(st.just(document)))
    @example(json.dumps(document).encode())
    def check(body: bytes) -> None:
        check_answer(server, post(path, body))

    check()


@pytest.mark.slow
@FUZZ
@given(
    st.sampled_from([json.dumps(document).encode() for _, document in VALID[:11]]).flatmap(
        lambda t: damaged_bytes(st.just(t))
    )
)
def test_json_text(server: RunningServer, body: bytes) -> None:
    check_answer(server, post("/v2/models/bat/infer", body))


@st.composite
def framed(draw: DrawFn) -> bytes:
    """A request with binary inputs, whose sizes need not agree."""
    data = draw(st.binary(max_size=40) | string_elements())
    sizes = st.sampled_from([len(data), 0, 1, 4, 12, len(data) + 1, 2**40, 2**64])
    datatype = draw(st.sampled_from(["FP32", "BYTES", "FP16", "BF16", "BOOL", "INT64"]))
    names = draw(st.lists(st.sampled_from(["IN", "IN2"]), min_size=1, max_size=2))
    inputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": draw(st.lists(st.sampled_from([0, 1, 2, 3, len(data) // 4, 2**40]), max_size=3)),
            "parameters": {"binary_data_size": draw(sizes)},
        }
        for name in names
    ]
    text = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": draw(st.booleans())}}).encode()
    exact = str(len(text))
    lengths = [
        exact,
        exact,
        exact,
        str(len(text) - 1),
        str(len(text) + 1),
        "0",
        "-1",
        "abc",
        str(2**31),
        str(2**64),
        "",
    ]
    model = draw(st.sampled_from(["matrix", f"id_{datatype.lower()}", f"id_{datatype.lower()}"]))
    return post(
        f"/v2/models/{model}/infer", text + data, f"{HEADER_LENGTH}: {draw(st.sampled_from(lengths))}"
    )


@st.composite
def string_elements(draw: DrawFn) -> bytes:
    """Elements of a BYTES tensor, whose lengths need not be true."""
    elements = draw(st.lists(st.binary(max_size=5), max_size=4))
    wrong = st.sampled_from([0, 0, 0, 1, -1, 2**31, 2**32 - 10])
    encoded = b"".join(struct.pack("<I", (len(e) + draw(wrong)) % 2**32) + e for e in elements)
    return encoded[: len(encoded) - draw(st.sampled_from([0, 0, 0, 1, 3]))]


@pytest.mark.slow
@FUZZ
@given(framed())
def test_binary_tensors(server: RunningServer, request_bytes: bytes) -> None:
    check_answer(server, request_bytes)


@pytest.mark.slow
@FUZZ
@given(data=string_elements(), count=st.integers(0, 5), extra=st.integers(-1, 1))
def test_strings(server: RunningServer, data: bytes, count: int, extra: int) -> None:
    """What is well framed comes back as it was."""
    size = max(0, len(data) + extra)
    item = {"name": "IN", "datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
    answer = check_answer(
        server, post("/v2/models/id_bytes/infer", text + data, f"{HEADER_LENGTH}: {len(text)}")
    )
    if answer.status == 200 and data:
        assert answer.body[int(answer.headers["inference-header-content-length"]) :] == data


@pytest.mark.slow
@FUZZ
@given(st.binary(max_size=60))
def test_raw_requests(server: RunningServer, data: bytes) -> None:
    answer = check_answer(server, post("/v2/models/id_int32/infer", data, f"{HEADER_LENGTH}: 0"))
    assert (answer.status == 200) == (len(data) % 4 == 0)


_SEGMENTS = [
    "v2",
    "models",
    "bat",
    "infer",
    "versions",
    "1",
    "99999999999999999999",
    "-1",
    "..",
    "%2e%2e",
    "%00",
    "%ff",
    "a%2Fb",
]
_HEADERS = [
    "Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: br", "Accept-Encoding: gzip;q=nan",
    "Accept-Encoding: deflate, gzip;q=1e999", "Expect: 100-continue", "Inference-Header-Content-Length: 1_0",
    "Content-Type: text/xml", "traceparent: 00-x", "endpoint-load-metrics-format: json",
]  # fmt: skip


@pytest.mark.slow
@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE"]),
    path=st.sampled_from([path for path, _ in VALID])
    | st.lists(st.sampled_from(_SEGMENTS)).map(lambda parts: "/" + "/".join(parts)),
    headers=st.lists(st.sampled_from(_HEADERS), max_size=2),
    body=st.sampled_from([b"", b"{}", b"\x1f\x8b\x08"]),
)
def test_paths_and_headers(
    server: RunningServer, method: str, path: str, headers: list[str], body: bytes
) -> None:
    request_bytes = post(path, body, *headers).replace(b"POST", method.encode(), 1)
    if method == "HEAD":
        assert throw(server.rest, request_bytes) is not None  # it has no body to look at
    else:
        check_answer(server, request_bytes)


@pytest.mark.slow
@pytest.mark.parametrize("port", ["rest", "metrics"])
def test_random_bytes(server: RunningServer, port: str) -> None:
    whole = post("/v2/models/bat/infer", json.dumps(VALID[0][1]).encode())

    @FUZZ
    @given(st.binary(max_size=200) | damaged_bytes(st.just(whole)))
    def check(data: bytes) -> None:
        received = throw(getattr(server, port), data)
        assert received == b"" or received.startswith(b"HTTP/1.1 ")

    check()
