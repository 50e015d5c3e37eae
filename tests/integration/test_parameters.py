"""Request parameters and raw requests, over both protocols."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import TWO, identity
from tests.integration.support import error_of

# Answers with what it sees of each request.
SEEN = """
import numpy as np
class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"seen": ("BYTES", [1])}
    max_batch_size = 8
    def __call__(self, inputs, requests):
        rows = [repr((r.id, r.rows, sorted(r.parameters.items()))) for r in requests for _ in range(r.rows)]
        for r in requests:
            r.response_parameters.update(flag=True, number=7, share=0.25, word="x")
        return {"seen": np.array(rows, dtype=object)[:, None]}
"""

# Sets the response parameter that it is asked for, by a Python expression.
SETS = """
import numpy as np
class Model:
    inputs = {"VALUE": ("BYTES", [1])}
    outputs = {"OUT": ("INT32", [1])}
    max_batch_size = 8
    def __call__(self, inputs, requests):
        for r, (value,) in zip(requests, inputs["VALUE"]):
            r.response_parameters["p"] = eval(value)
        return {"OUT": np.zeros((len(inputs["VALUE"]), 1), np.int32)}
"""

NO_ID = "[request id: <id_unknown>] "


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root: Path = tmp_path_factory.mktemp("parameters")
    write_model(root, "seen", SEEN)
    write_model(root, "sets", SETS)
    write_model(root, "bat", identity("FP32", [3], max_batch_size=4))
    write_model(root, "wild", identity("INT16", [2, -1]))
    write_model(root, "wilder", identity("INT16", [-1, -1]))
    write_model(root, "word", identity("BYTES", [1]))
    write_model(root, "words", identity("BYTES", [2]))
    write_model(root, "two", TWO)
    return start_server(root)


def ask_http(server: RunningServer, **options: Any) -> Any:
    client = triton_http.InferenceServerClient(server.rest.removeprefix("http://"))
    with closing(client):
        tensor = triton_http.InferInput("IN", [1, 1], "INT32")
        tensor.set_data_from_numpy(np.zeros((1, 1), np.int32))
        return client.infer("seen", [tensor], **options)


def ask_grpc(server: RunningServer, **options: Any) -> Any:
    client = triton_grpc.InferenceServerClient(server.grpc)
    with closing(client):
        tensor = triton_grpc.InferInput("IN", [1, 1], "INT32")
        tensor.set_data_from_numpy(np.zeros((1, 1), np.int32))
        return client.infer("seen", [tensor], **options)


both = pytest.mark.parametrize("ask", [ask_http, ask_grpc])


def seen(result: Any) -> str:
    text: bytes = result.as_numpy("seen").item()
    return text.decode()


@both
def test_parameters_of_every_type_reach_the_model(server: RunningServer, ask: Callable[..., Any]) -> None:
    parameters = {"text": "a", "yes": True, "count": -3, "big": 2**62}
    assert seen(ask(server, parameters=parameters, request_id="42")) == (
        "('42', 1, [('big', 4611686018427387904), ('count', -3), ('text', 'a'), ('yes', True)])"
    )


@both
def test_control_parameters_do_not_reach_the_model(server: RunningServer, ask: Callable[..., Any]) -> None:
    result = ask(server, sequence_id=5, sequence_start=True, sequence_end=True, priority=1, timeout=5_000_000)
    assert seen(result) == "('', 1, [])"


def test_response_parameters(server: RunningServer) -> None:
    body = {"inputs": [{"name": "IN", "datatype": "INT32", "shape": [1, 1], "data": [0]}]}
    answer = server.infer("seen", body).json()
    assert answer["parameters"] == {"flag": True, "number": 7, "share": 0.25, "word": "x"}
    assert list(answer) == ["model_name", "model_version", "parameters", "outputs"]
    parameters = ask_grpc(server).get_response().parameters
    assert (parameters["flag"].bool_param, parameters["number"].int64_param) == (True, 7)
    assert (parameters["share"].double_param, parameters["word"].string_param) == (0.25, "x")


def set_over_rest(server: RunningServer, value: str) -> Any:
    """The parameter that comes back, or the error's text."""
    tensor = {"name": "VALUE", "datatype": "BYTES", "shape": [1, 1], "data": [value]}
    answer = server.infer("sets", {"inputs": [tensor]})
    if answer.status_code != 200:
        return f"{answer.status_code} {error_of(answer)}"
    return json.loads(answer.text)["parameters"]["p"]


def set_over_grpc(server: RunningServer, value: str) -> Any:
    with closing(triton_grpc.InferenceServerClient(server.grpc)) as client:
        tensor = triton_grpc.InferInput("VALUE", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[value.encode()]], np.object_))
        try:
            parameter = client.infer("sets", [tensor]).get_response().parameters["p"]
        except InferenceServerException as error:
            return f"{error.status()} {error.message()}"
        return getattr(parameter, parameter.WhichOneof("parameter_choice"))


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        ("True", True),
        ("np.float32(0.5)", 0.5),
        ("np.int64(7)", 7),
        ("2**64 - 1", 2**64 - 1),
        ("float('inf')", float("inf")),
        ("'x'", "x"),
    ],
)
def test_both_protocols_carry_the_same_response_parameters(
    server: RunningServer, value: str, carried: object
) -> None:
    for ask in (set_over_rest, set_over_grpc):
        got = ask(server, value)
        assert (got, type(got)) == (carried, type(carried))


@pytest.mark.parametrize("value", ["None", "[1]", "b'x'", "2**64", "'\\ud800'"])
def test_both_protocols_refuse_the_same_response_parameters(server: RunningServer, value: str) -> None:
    rest, grpc = set_over_rest(server, value), set_over_grpc(server, value)
    assert rest.startswith("500 response parameter 'p' of model 'sets' ")
    assert grpc == rest.replace("500", "StatusCode.INTERNAL", 1)
    assert set_over_rest(server, "1") == set_over_grpc(server, "1") == 1


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"a": None}, "parameter 'a' has invalid type. It should be either 'int', 'bool', or 'string'."),
        ({"a": [1]}, "parameter 'a' has invalid type. It should be either 'int', 'bool', or 'string'."),
        (
            {"triton_x": 1},
            "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
        ),
        ({"sequence_id": -1}, "Unable to parse 'sequence_id': attempt to access JSON non-string as string"),
        (
            {"sequence_start": 1},
            "Unable to parse 'sequence_start': attempt to access JSON non-boolean as boolean",
        ),
        (
            {"priority": -1},
            "Unable to parse 'priority': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (
            {"timeout": "1"},
            "Unable to parse 'timeout': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        ([], "failed to get request params.: attempt to get members for non-object"),
        ({"p": None}, "parameter 'p' has invalid type. It should be either 'int', 'bool', or 'string'."),
        (
            {"binary_data_output": [1]},
            "Unable to parse 'binary_data_output': attempt to access JSON non-boolean as boolean",
        ),
    ],
)
def test_wrong_parameters_over_rest(server: RunningServer, parameters: object, text: str) -> None:
    body = {
        "parameters": parameters,
        "inputs": [{"name": "IN", "datatype": "INT32", "shape": [1, 1], "data": [0]}],
    }
    response = server.infer("seen", body)
    assert response.status_code == 400
    assert error_of(response) == text


def test_huge_integers_become_floating_point_numbers(server: RunningServer) -> None:
    body = {
        "parameters": {"n": 2**63},
        "inputs": [{"name": "IN", "datatype": "INT32", "shape": [1, 1], "data": [0]}],
    }
    (output,) = server.infer("seen", body).json()["outputs"]
    assert output["data"] == ["('', 1, [('n', 9.223372036854776e+18)])"]


# --- raw requests -----------------------------------------------------------------------------------------------------


def raw(server: RunningServer, model: str, data: bytes) -> Any:
    headers = {"inference-header-content-length": "0"}
    return server.post(f"/v2/models/{model}/infer", content=data, headers=headers)


@pytest.mark.parametrize(
    ("model", "data", "shape"),
    [
        ("bat", np.arange(3, dtype=np.float32).tobytes(), [1, 3]),
        ("wild", np.arange(10, dtype=np.int16).tobytes(), [2, 5]),
        ("wild", b"", [2, 0]),
        ("word", b"any bytes \xff\0", [1]),
        ("word", b"", [1]),
    ],
)
def test_a_raw_request_is_the_data_of_the_only_input(
    server: RunningServer, model: str, data: bytes, shape: list[int]
) -> None:
    response = raw(server, model, data)
    assert response.status_code == 200, response.text
    # Where there are no bytes, there is no binary part either.
    header = int(response.headers.get("inference-header-content-length", len(response.content)))
    (output,) = json.loads(response.content[:header])["outputs"]
    assert output["shape"] == shape
    assert response.content[header:] == (len(data).to_bytes(4, "little") + data if model == "word" else data)


@pytest.mark.parametrize(
    ("model", "data", "text"),
    [
        (
            "bat",
            b"12345678",
            f"{NO_ID}input byte size mismatch for input 'raw_input' for model 'bat'. Expected 12, got 8",
        ),
        (
            "two",
            b"",
            f"{NO_ID}Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'two' model "
            "configuration",
        ),
        (
            "wilder",
            b"1234",
            f"{NO_ID}The shape of the raw input 'IN' can not be deduced because there are more than one "
            "variable-sized dimension",
        ),
        ("words", b"ab", f"{NO_ID}For BYTE datatype raw input 'IN', the model must have input shape [1]"),
        (
            "wild",
            b"123",
            f"{NO_ID}input byte size mismatch for input 'raw_input' for model 'wild'. Expected 0, got 3",
        ),
    ],
)
def test_a_raw_request_that_does_not_fit(server: RunningServer, model: str, data: bytes, text: str) -> None:
    response = raw(server, model, data)
    assert response.status_code == 400
    assert error_of(response) == text
