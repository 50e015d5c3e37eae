"""The command that sends a request again says exactly what was sent."""

import base64
import json
import shlex

import pytest
from google.protobuf import json_format

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.repeat import LONGEST_BODY, curl, grpcurl

URL = "http://localhost:8000/v2/models/a%20b/infer"


def _option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


@pytest.mark.parametrize("text", ['{"a": "it\'s"}', "zwölf\n", " ", "$HOME `x` \\"])
def test_text_is_on_the_line(text: str) -> None:
    words = shlex.split(curl(URL, "POST", {"Content-Type": "application/json"}, text.encode()))
    assert words[:2] == ["curl", "-i"]
    assert _option(words, "-X") == "POST"
    assert _option(words, "-H") == "Content-Type: application/json"
    assert _option(words, "--data-binary") == text
    assert words[-1] == URL


@pytest.mark.parametrize("body", [b"\xff\x00", b"a\x00b", b"@file"])
def test_bytes_come_through_a_pipe(body: bytes) -> None:
    """Neither NUL nor what is no text fits an argument, and curl reads a file behind @."""
    encode, _, command = (part.strip() for part in curl(URL, "POST", {}, body).split(" | "))
    assert base64.b64decode(shlex.split(encode)[1]) == body
    assert _option(shlex.split(command), "--data-binary") == "@-"


def test_no_body() -> None:
    assert curl(URL, "GET", {}, b"") == f"curl -i {URL}"
    assert curl(URL, "POST", {}, b"") == f"curl -i -X POST {URL}"


def test_too_long_for_a_line() -> None:
    assert str(LONGEST_BODY + 1) in curl(URL, "POST", {}, bytes(LONGEST_BODY + 1))
    request = pb.ModelInferRequest(raw_input_contents=[bytes(LONGEST_BODY + 1)])
    assert grpcurl("h:1", "s/m", [request]).startswith("# its messages of")


def test_messages_of_a_stream() -> None:
    sent = [pb.ModelInferRequest(model_name="it's", id=str(index)) for index in range(2)]
    words = shlex.split(grpcurl("localhost:8001", "inference.GRPCInferenceService/ModelStreamInfer", sent))
    assert words[-2:] == ["localhost:8001", "inference.GRPCInferenceService/ModelStreamInfer"]
    decoder, text, read = json.JSONDecoder(), _option(words, "-d"), []
    while text:
        value, end = decoder.raw_decode(text)
        read.append(json_format.ParseDict(value, pb.ModelInferRequest()))
        text = text[end:].lstrip()
    assert read == sent
