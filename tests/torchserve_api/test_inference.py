"""The inference API over real sockets. What is expected was observed on TorchServe 0.12."""

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.torchserve_api.conftest import Server

pytestmark = pytest.mark.slow


def error(code: int, kind: str, message: str) -> dict[str, Any]:
    return {"code": code, "type": kind, "message": message}


def test_ping(server: Server) -> None:
    answer = server.inference.get("/ping")
    assert (answer.status_code, answer.text) == (200, '{\n  "status": "Healthy"\n}\n')
    headers = dict(answer.headers)
    assert len(headers.pop("x-request-id")) == 36
    assert headers == {
        "pragma": "no-cache",
        "cache-control": "no-cache; no-store, must-revalidate, private",
        "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
        "content-type": "application/json",
        "content-length": "26",
        "connection": "keep-alive",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"content": b"\x00text"}, {"body": "\x00text"}),
        ({"content": b""}, {"body": ""}),
        ({"json": {"a": [1]}}, {"body": {"a": [1]}}),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, {"body": "{"}),
        ({"content": b"hi", "headers": {"content-type": "text/plain"}}, {"body": "hi"}),
        ({"data": {"a": "1", "b": "2"}}, {"a": "1", "b": "2"}),
        ({"content": b"x", "headers": {"content-type": "application/x-www-form-urlencoded"}}, {}),
        ({"files": {"data": ("a.bin", b"bytes")}}, {"data": "bytes"}),
        (
            {
                "files": {
                    "one": ("a.json", b"[1]", "application/json"),
                    "two": (None, b"[1]", "application/json"),
                }
            },
            {"one": [1], "two": "[1]"},
        ),
    ],
)
def test_rows(server: Server, options: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = server.inference.post("/predictions/echo", **options)
    assert (answer.status_code, answer.json()) == (200, expected)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/predictions/echo"),
        ("PUT", "/predictions/echo/1.0"),
        ("DELETE", "/predictions/echo/1.0/more"),
        ("POST", "/predictions/echo?ignored=1"),
        ("POST", "/v1/models/echo:predict"),
        ("POST", "/v2/models/echo/infer"),
        ("POST", "/models/echo/invoke"),
        ("POST", "/echo/predict"),
        ("POST", "/echo/1.0/predict"),
        ("POST", "/explanations/echo"),
    ],
)
def test_ways_to_a_prediction(server: Server, method: str, path: str) -> None:
    answer = server.inference.request(method, path, content=b"x")
    assert answer.status_code == 200
    if not path.startswith("/models"):
        assert answer.json() == {"body": "x"}


def test_parameters_of_invocations_are_fields(server: Server) -> None:
    answer = server.inference.post("/invocations?model_name=echo&a=b", content=b"x")
    assert answer.json() == {"model_name": "echo", "a": "b", "body": "x"}
    answer = server.inference.post("/invocations?model_name=echo", data={"c": "d"})
    assert answer.json() == {"model_name": "echo", "c": "d"}
    for form in ({"data": {"model_name": "echo"}}, {"files": {"model_name": (None, "echo")}}):
        assert server.inference.post("/invocations", **form).json() == {"model_name": "echo"}
    answer = server.inference.post("/invocations", data={"model_name": "nosuch"})
    assert answer.json() == error(404, "ModelNotFoundException", "Model not found: nosuch")
    answer = server.inference.post("/invocations", content=b"x")
    assert answer.json() == error(400, "BadRequestException", "Parameter model_name is required.")


NO_WORKER = (
    "has no worker to serve inference request. Please use scale workers API to add workers. If this is a sequence "
    "inference, please check if it is closed, or expired; or exceeds maxSequenceJobQueueSize"
)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/predictions/nosuch", b"", error(404, "ModelNotFoundException", "Model not found: nosuch")),
        (
            "/predictions/echo/9.0", b"",
            error(404, "ModelVersionNotFoundException", "Model version: 9.0 does not exist for model: echo"),
        ),
        (
            "/predictions", b"",
            error(
                404, "ResourceNotFoundException", "Requested resource is not found, please refer to API document."
            ),
        ),
        ("/predictions/lab", b"raise", error(503, "InternalServerException", "Prediction failed")),
        ("/predictions/lab", b"refuse", error(418, "InternalServerException", "not this")),
        (
            "/predictions/lab", b"wrong length",
            error(503, "InternalServerException", "number of batch response mismatched"),
        ),
        ("/predictions/lab", b"no list", error(503, "InternalServerException", "Invalid model predict output")),
        ("/wfpredict/w", b"", error(404, "WorkflowNotFoundException", "Workflow not found: w")),
    ],
)  # fmt: skip
def test_errors(server: Server, path: str, body: bytes, expected: dict[str, Any]) -> None:
    answer = server.inference.post(path, content=body)
    assert (answer.status_code, answer.json()) == (expected["code"], expected)
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json"


def test_what_a_handler_raises_is_for_the_log_alone(server: Server) -> None:
    answer = server.inference.post("/predictions/lab", content=b"raise")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in server.running.log
    assert "ValueError" in server.running.log


def test_what_a_handler_says_of_its_answer(server: Server) -> None:
    answer = server.inference.post("/predictions/lab", content=b"status")
    assert (answer.status_code, answer.text) == (429, "status")
    answer = server.inference.post("/predictions/lab", content=b"header")
    assert answer.headers["x-own"] == "yes"
    assert answer.headers["content-type"] == "text/csv"
    # It may be made of what a client has sent.
    assert "x-injected" not in answer.headers
    assert "x-bad" not in answer.headers


@pytest.mark.parametrize("word", ["status", "refuse"])
@pytest.mark.parametrize(
    ("code", "told"), [(204, 204), (304, 304), (100, 500), (199, 500), (600, 500), (999, 500)]
)
def test_no_status_of_a_handler_begins_another_answer(
    server: Server, word: str, code: int, told: int
) -> None:
    """The body of a 204 would be read as the next answer of the connection, and so would all that follows a 100."""
    connection = http.client.HTTPConnection(server.inference.base_url.netloc.decode(), timeout=60)
    try:
        connection.request("POST", "/predictions/lab", f"{word} {code}".encode())
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == told
        assert (body == b"") == (told < 400)
        connection.request("POST", "/predictions/lab", b"next")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"next")
    finally:
        connection.close()


def test_a_header_that_is_none_takes_no_answer_with_it(server: Server) -> None:
    answer = server.inference.post("/predictions/lab", content=b"odd headers")
    assert (answer.status_code, answer.text, answer.headers["x-own"]) == (200, "odd headers", "yes")
    assert answer.headers["content-length"] == "11"
    assert not {"x", "x:odd", "x-bell", "content-type"} & set(answer.headers)


def test_headers_reach_the_handler_as_they_are_spelt(server: Server) -> None:
    host = urlsplit(server.running.urls["TorchServe inference"])
    connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=60)
    connection.request(
        "POST", "/predictions/lab/1.0/a/b", b"headers", {"X-User": "me", "X-Request-Id": "mine"}
    )
    told = json.loads(connection.getresponse().read())
    connection.close()
    assert told == {"X-User": "me", "x-user": None, "url_path": "a/b", "explain": "False"}
    answer = server.inference.post("/explanations/lab", content=b"headers")
    assert answer.json()["explain"] == "True"


def test_trailers_are_no_headers(server: Server) -> None:
    """A proxy that says who the user is looks at the head."""
    host = urlsplit(server.running.urls["TorchServe inference"])
    with socket.create_connection((str(host.hostname), int(host.port or 0)), timeout=60) as connection:
        connection.sendall(
            b"POST /predictions/lab HTTP/1.1\r\nHost: x\r\nX-User: me\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"7\r\nheaders\r\n0\r\nX-User: other\r\nx-user: other\r\n\r\n"
        )
        response = http.client.HTTPResponse(connection)
        response.begin()
        told = json.loads(response.read())
    assert (told["X-User"], told["x-user"]) == ("me", None)


def test_the_id_of_a_request_is_the_servers(server: Server) -> None:
    answer = server.inference.post("/predictions/lab", content=b"id", headers={"x-request-id": "mine"})
    assert answer.text == answer.headers["x-request-id"] != "mine"


def test_large_requests_and_answers_are_refused(server: Server) -> None:
    answer = server.inference.post("/predictions/echo", content=b"x" * 100_001)
    assert (answer.status_code, answer.content) == (413, b"")
    assert dict(answer.headers) == {"content-length": "0"}

    def chunks() -> Any:
        for _ in range(11):
            yield b"x" * 10_000

    assert server.inference.post("/predictions/echo", content=chunks()).status_code == 413
    answer = server.inference.post("/predictions/lab", content=b"large")
    assert answer.json() == error(
        500, "InternalServerException", "The answer has 300000 bytes, and max_response_size is 200000"
    )


def test_parts_come_one_behind_the_other(server: Server) -> None:
    with server.inference.stream("POST", "/predictions/parts", content=b"x") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.headers["ts_stream_next"] == "true"
        assert b"".join(answer.iter_raw()) == b"abend"


def test_the_first_part_has_what_the_handler_has_said_of_the_answer(server: Server) -> None:
    with server.inference.stream("POST", "/predictions/parts", content=b"event") as answer:
        assert answer.status_code == 207
        assert (answer.headers["content-type"], answer.headers["x-own"]) == ("text/event-stream", "yes")
        assert b"".join(answer.iter_raw()) == b"abend"


def test_what_is_no_http(server: Server) -> None:
    host = urlsplit(server.running.urls["TorchServe inference"])
    with socket.create_connection((str(host.hostname), host.port), timeout=60) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        answer = b""
        while part := connection.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == error(
        400, "BadRequestException", "Invalid HTTP message."
    )


@pytest.mark.parametrize(
    ("api", "method", "path", "keys"),
    [
        ("inference", "OPTIONS", "/", "/predictions/{model_name}"),
        ("inference", "GET", "/api-description", "/ping"),
        ("inference", "OPTIONS", "/predictions/echo", "/predictions/echo"),
        ("management", "OPTIONS", "/", "/models"),
        ("management", "OPTIONS", "/models/echo", "/models/echo"),
    ],
)
def test_descriptions(server: Server, api: str, method: str, path: str, keys: str) -> None:
    answer = getattr(server, api).request(method, path).json()
    assert (answer["openapi"], answer["info"]["title"]) == ("3.0.1", "TorchServe APIs")
    assert keys in answer["paths"]


def test_the_v2_protocol_answers_too(server: Server) -> None:
    tensor = {"name": "body", "datatype": "BYTES", "shape": [1, 1], "data": ["hi"]}
    answer = server.running.infer("lab", {"inputs": [tensor]})
    assert answer.json()["outputs"][0]["data"] == ["hi"]
    assert {each["name"] for each in server.running.post("/v2/repository/index").json()} >= {
        "echo",
        "lab",
        "parts",
    }
