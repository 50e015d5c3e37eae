"""Servers that are not this one: without binary tensors, without a configuration, without metadata, and none at all."""

import json
from typing import Any

import numpy as np
import pytest

from kserve_v2.client import (
    Client,
    ConnectionLostError,
    InternalError,
    InvalidArgumentError,
    NoServerError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from tests.client.conftest import Blocking
from tests.client.scripted import Scripted

# As MLServer has it: the extensions are empty, and there is no configuration.
METADATA = {
    "name": "iris",
    "versions": ["v1"],
    "platform": "",
    "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 2], "parameters": None}],
    "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1, 1]}],
}
ANSWER = {
    "model_name": "iris",
    "model_version": "v1",
    "id": "7",
    "parameters": {},
    "outputs": [
        {
            "name": "y",
            "datatype": "INT64",
            "shape": [2, 1],
            "parameters": {"content_type": "np"},
            "data": [3, 4],
        }
    ],
}


@pytest.fixture
def mlserver(scripted: Scripted) -> Scripted:
    scripted.answer("/v2", {"name": "mlserver", "version": "1.7.0", "extensions": []})
    scripted.answer("/v2/models/iris", METADATA)
    return scripted


@pytest.fixture(params=[Client, Blocking])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_tensors_go_as_json_where_the_server_has_no_binary_ones(mlserver: Scripted, make: Any) -> None:
    mlserver.answer("/v2/models/iris/infer", ANSWER)
    client = make(mlserver.url)
    for _ in range(2):
        result = client.infer("iris", x=[[1, 2], [3, 4.5]], request_id="7")
    client.close()
    assert result["y"].tolist() == [[3], [4]]
    assert (result["y"].dtype, result.id, result.model_version) == (np.int64, "7", "v1")
    sent = mlserver.asked[-1]
    assert sent.json == {
        "id": "7",
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1.0, 2.0, 3.0, 4.5]}],
    }
    assert sent.headers["content-type"] == "application/json"
    # What is known is not asked again.
    infer = "/v2/models/iris/infer"
    assert mlserver.paths() == ["/v2/models/iris", "/v2/models/iris/config", "/v2", infer, infer]


def test_nothing_is_guessed_of_batches_where_nobody_says_that_there_are_any(mlserver: Scripted) -> None:
    mlserver.answer("/v2/models/iris/infer", ANSWER)
    with Client(mlserver.url) as client, pytest.raises(InvalidArgumentError) as error:
        client.infer("iris", x=[1, 2])
    assert error.value.message == (
        "input 'x' takes shape [-1,2] (the server does not say that the model batches: if that is the missing dimension, "
        "give array[None], or [VALUE] in JSON), got shape [2]"
    )


def test_without_metadata_values_are_what_they_are(mlserver: Scripted) -> None:
    mlserver.answer("/v2/models/bare", {"name": "bare", "versions": None, "inputs": None, "outputs": []})
    mlserver.answer("/v2/models/bare/infer", {"model_name": "bare", "outputs": []})
    with Client(mlserver.url) as client:
        assert dict(client.infer("bare", x=[[1, 2]], t=["a"], f=0.5, b=np.array([True]))) == {}
        with pytest.raises(
            InvalidArgumentError, match="has bytes that are no UTF-8, and this server takes JSON only"
        ):
            client.infer("bare", t=b"\xff")
    assert mlserver.asked[-1].json["inputs"] == [
        {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [1, 2]},
        {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["a"]},
        {"name": "f", "shape": [], "datatype": "FP64", "data": [0.5]},
        {"name": "b", "shape": [1], "datatype": "BOOL", "data": [True]},
    ]


@pytest.mark.parametrize(
    ("output", "values"),
    [
        ({"datatype": "FP32", "shape": [2, 1], "data": [[1], [2.5]]}, [[1.0], [2.5]]),
        ({"datatype": "BYTES", "shape": [2], "data": ["a", "ü"]}, [b"a", "ü".encode()]),
        ({"datatype": "BOOL", "shape": [1], "data": [True]}, [True]),
        ({"datatype": "FP16", "shape": [1], "data": [0.5]}, [0.5]),
        ({"datatype": "FP64", "shape": [0], "data": []}, []),
        ({"datatype": "UINT64", "shape": [1], "data": [2**64 - 1]}, [2**64 - 1]),
    ],
)
def test_outputs_in_json(mlserver: Scripted, output: dict[str, Any], values: list[Any]) -> None:
    mlserver.answer("/v2/models/iris/infer", {**ANSWER, "outputs": [{"name": "y", **output}]})
    with Client(mlserver.url) as client:
        assert client.infer("iris", x=[[1, 2]])["y"].tolist() == values


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({**ANSWER, "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [None]}]},
         "output 'y' has a null among its numbers, which can be NaN or infinite"),
        ({**ANSWER, "outputs": [{"name": "y", "datatype": "FP32", "shape": [3], "data": [1]}]}, "cannot reshape"),
        ({**ANSWER, "outputs": [{"name": "y", "datatype": "FP33", "shape": [1], "data": [1]}]}, "FP33"),
        ({**ANSWER, "outputs": [{"name": "y", "datatype": "INT8", "shape": [1], "data": [300]}]}, "300"),
        ({**ANSWER, "outputs": [
            {"name": "y", "datatype": "INT8", "shape": [9], "parameters": {"binary_data_size": 9}}]},
         "it ends before the 9 bytes of output 'y'"),
        ([], "cannot be read"),
        (b"<html>", "cannot be read"),
    ],
)  # fmt: skip
def test_answers_that_make_no_sense(mlserver: Scripted, content: Any, problem: str) -> None:
    mlserver.answer("/v2/models/iris/infer", content)
    with Client(mlserver.url) as client, pytest.raises(NoServerError, match=problem):
        client.infer("iris", x=[[1, 2]])


@pytest.mark.parametrize(
    ("status", "content", "headers", "kind", "message"),
    [
        (502, b"<html>", {}, UnavailableError, "the answer of URL is 502 Bad Gateway"),
        (500, {"error": "boom"}, {}, InternalError, "boom"),
        # As servers that are made with FastAPI have it.
        (422, {"detail": "no"}, {}, InvalidArgumentError, "no"),
        (422, {"detail": [{"msg": "no"}]}, {}, InvalidArgumentError, '[{"msg": "no"}]'),
        (500, {"error": ""}, {}, InternalError, "the answer of URL is 500 Internal Server Error"),
        (429, {"error": "slowly"}, {"retry_after": "0"}, OverloadedError, "slowly"),
        (418, b"", {}, NoServerError, "the answer of URL is 418 I'm a Teapot"),
        (404, b"<html>", {}, NotFoundError,
         "the answer of URL is 404 Not Found, without a reason: is that a v2 server?"),
        (307, b"", {"location": "http://elsewhere/"}, NoServerError,
         "URL leads to http://elsewhere/, which is not followed: give that one"),
        (200, b"<html>", {}, NoServerError, "the answer of URL is none of a v2 server: it is no JSON"),
        (200, [1], {}, NoServerError, "the answer of URL is none of a v2 server: it is no object of JSON"),
        (200, {}, {}, None, ""),
    ],
)  # fmt: skip
def test_each_status_is_an_error_of_its_own(
    scripted: Scripted, status: int, content: Any, headers: dict[str, str], kind: Any, message: str
) -> None:
    scripted.answer("/v2/models/m", content, status=status, **headers)
    with Client(scripted.url) as client:
        if kind is None:
            assert client.metadata("m") == {}
            return
        with pytest.raises(kind) as error:
            client.metadata("m")
    assert error.value.message == message.replace("URL", f"{scripted.url}/v2/models/m")
    assert type(error.value) is kind
    # Asked once: nothing of this is worth another try.
    assert len(scripted.asked) == 1


def test_metadata_that_is_none(scripted: Scripted) -> None:
    for name, content in (
        ("a", {}),
        ("b", {"name": "b", "inputs": [1]}),
        ("c", {"name": "c", "inputs": {"x": 1}}),
    ):
        scripted.answer(f"/v2/models/{name}", content)
        with Client(scripted.url) as client, pytest.raises(NoServerError, match="is no metadata of a model"):
            client.infer(name, x=1)
    with Client(scripted.url) as client, pytest.raises(NotFoundError, match="no /v2/models/d"):
        client.infer("d", x=1)


def test_a_connection_that_breaks(mlserver: Scripted, make: Any) -> None:
    mlserver.answer("/v2/models/iris/infer", b"", status=0)
    mlserver.answer("/v2/models/cut", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}", status=0)
    client = make(mlserver.url)
    with pytest.raises(ConnectionLostError, match="the request may have been executed"):
        client.infer("iris", x=[[1, 2]])
    with pytest.raises(ConnectionLostError, match="before its answer was complete"):
        client.metadata("cut")
    client.close()
    # It was sent once.
    assert mlserver.paths().count("/v2/models/iris/infer") == 1


def test_headers_and_tokens(scripted: Scripted, make: Any) -> None:
    scripted.answer("/v2/models/m", METADATA | {"name": "m", "inputs": []})
    scripted.answer("/v2", {"extensions": ["binary_tensor_data"]})
    scripted.answer("/v2/models/m/infer", json.loads(json.dumps(ANSWER)))
    tokens = iter(["first", "second"])
    client = make(scripted.url + "/", headers={"X-Team": "a"}, token=lambda: next(tokens))
    client.metadata("m")
    client.infer("m", x=[[1.5, 2]], headers={"x-user": "b", "X-TEAM": "c"})
    client.close()
    first, last = scripted.asked[0].headers, scripted.asked[-1].headers
    assert (first["authorization"], first["x-team"]) == ("Bearer first", "a")
    assert (last["authorization"], last["x-team"], last["x-user"]) == ("Bearer second", "c", "b")
    # One token for one call, whatever it asks on the way.
    assert {asked.headers["authorization"] for asked in scripted.asked[1:]} == {"Bearer second"}
    assert last["accept-encoding"] == "identity"
    assert int(last["inference-header-content-length"]) < len(scripted.asked[-1].body)
