"""`infer`: what can be asked for, and what comes."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kserve_v2.client import (
    Class,
    Client,
    InvalidArgumentError,
    NotFoundError,
    SequenceStep,
    UnsupportedError,
)
from tests.conftest import RunningServer


def test_outputs_by_name(client: Any) -> None:
    result = client.infer("two", A=[1, 2], B=[10, 20], request_id="abc")
    assert (result["X"].tolist(), result["Y"].tolist()) == ([11, 22], [-9, -18])
    assert (result.id, result.model_name, result.model_version) == ("abc", "two", "1")
    assert (list(result), len(result), "X" in result) == (["X", "Y"], 2, True)
    assert repr(result) == "<InferResult of two version 1: X: INT32[2], Y: INT32[2]>"
    with pytest.raises(KeyError, match="no output 'Z', there are: X, Y"):
        result["Z"]


def test_only_the_outputs_that_are_asked_for(client: Any) -> None:
    assert list(client.infer("two", A=[1, 2], B=[3, 4], outputs=["Y"])) == ["Y"]


def test_the_batch_dimension_is_added_and_taken_off(client: Any) -> None:
    assert client.infer("two", A=[1, 2], B=[3, 4])["X"].shape == (2,)
    assert client.infer("two", A=[[1, 2]], B=[[3, 4]])["X"].shape == (1, 2)
    assert client.infer("two", A=[[1, 2]], B=[3, 4])["X"].shape == (1, 2)
    assert client.infer("two", A=[[1, 2]] * 3, B=[[3, 4]] * 3)["X"].shape == (3, 2)
    with pytest.raises(InvalidArgumentError, match=r"input 'B' is one row, .* input 'A' has 3 rows"):
        client.infer("two", A=[[1, 2]] * 3, B=[3, 4])


def test_texts(client: Any) -> None:
    one = client.infer("text", IN="grüße")
    assert (one["OUT"].tolist(), one.text("OUT").tolist()) == (["grüße".encode()], ["grüße"])
    assert client.infer("text", IN=["a", b"b"])["OUT"].tolist() == [[b"a"], [b"b"]]
    assert client.infer("text", IN=[["a"]])["OUT"].tolist() == [[b"a"]]
    with pytest.raises(InvalidArgumentError, match="'X' is INT32, and no text"):
        client.infer("two", A=[1, 2], B=[3, 4]).text("X")


def test_versions(client: Any) -> None:
    assert client.infer("versions", IN=0)["VERSION"].tolist() == [2]
    for version in (1, "1"):
        result = client.infer("versions", IN=0, version=version)
        assert (result["VERSION"].tolist(), result.model_version) == ([1], "1")
    with pytest.raises(NotFoundError):
        client.infer("versions", IN=0, version=7)


def test_parameters(client: Any) -> None:
    result = client.infer(
        "parameters", x=1, request_id="r", parameters={"a": 1, "b": 0.5, "c": "d", "e": True}
    )
    assert json.loads(result["said"][0]) == {
        "id": "r",
        "parameters": {"a": 1, "b": 0.5, "c": "d", "e": True},
    }
    assert result.parameters == {"answered": True}
    with pytest.raises(
        InvalidArgumentError, match="parameter 'a': expected a bool, int, float or str, got list"
    ):
        client.infer("parameters", x=1, parameters={"a": [1]})


def test_names_that_are_none_of_python_s_or_are_arguments(client: Any) -> None:
    result = client.infer("odd names", {"time out": 2, "timeout": 3, "model": 1})
    assert result["self"].tolist() == [123]
    assert client.infer("odd names", {"time out": 2, "timeout": 3}, model=1)["self"].tolist() == [123]
    with pytest.raises(InvalidArgumentError, match="input 'model' is given twice"):
        client.infer("odd names", {"model": 2}, model=1)


def test_classes(client: Any) -> None:
    result = client.infer("classes", IN=[0.5, 0.25, 2], classes={"SCORES": 2})
    assert result.classes("SCORES") == [[Class(2.0, 2, "bird: small"), Class(0.5, 0, "cat")]]
    assert result["FLAGS"].tolist() == [True, True, True]
    rows = client.infer("classes", IN=[[0.5, 0.25, 2], [1, 0, 0]], classes=1)
    assert rows.classes("SCORES") == [[Class(2.0, 2, "bird: small")], [Class(1.0, 0, "cat")]]
    assert rows.classes("COUNTS") == [[Class(2.0, 2)], [Class(1.0, 0)]]
    assert rows["FLAGS"].shape == (2, 3)
    with pytest.raises(
        InvalidArgumentError, match="output 'FLAGS' has no classes: ask for them with classes="
    ):
        rows.classes("FLAGS")
    with pytest.raises(InvalidArgumentError, match="has no output 'SCORE', did you mean 'SCORES'"):
        client.infer("classes", IN=[0.5, 0.25, 2], classes={"SCORE": 2})


def test_sequences(client: Any, kind: str) -> None:
    name = f"sequence of {kind}"
    steps = [SequenceStep(name, start=True), SequenceStep(name), SequenceStep(name, end=True)]
    sums = [
        client.infer("sums", x=value, sequence=step)["sum"].tolist()
        for value, step in zip((1, 2, 4), steps, strict=True)
    ]
    assert sums == [[1], [3], [7]]
    with pytest.raises(InvalidArgumentError, match="the id of a sequence is a number that is not 0"):
        client.infer("sums", x=1, sequence=SequenceStep(0, start=True))


@pytest.mark.parametrize(
    ("model", "inputs", "problem"),
    [
        ("two", {"a": [1, 2]}, "model 'two' has no input 'a', did you mean 'A'?"),
        ("versions", {"In": 1}, "model 'versions' has no input 'In', did you mean 'IN'?"),
        ("two", {"A": [1, 2, 3]}, "input 'A' takes shape [-1,2] ([2] without the batch), got shape [3]"),
        ("two", {"A": 1}, "input 'A' takes shape [-1,2] ([2] without the batch), got a single value"),
        ("two", {"A": [1.5, 2]}, "input 'A' takes INT32, got 1.5 (float)"),
        ("id_int32", {"IN": [1, 2]},
         "input 'IN' takes shape [-1,-1] (the model does not batch: if that is the missing dimension, give array[None], "
         "or [VALUE] in JSON), got shape [2]"),
        ("id_int32", {"IN": [1]},
         "input 'IN' takes shape [-1,-1] (the model does not batch: if that is the missing dimension, give array[None], "
         "or [VALUE] in JSON), got shape [1]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_before_it_is_sent(
    sync_client: Client, model: str, inputs: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        sync_client.infer(model, inputs)
    assert error.value.message == problem


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("two", [1, 2]), "expected inputs by name, as in infer('two', image=array) or"),
        (("",), "expected a model's name, got ''"),
        ((None,), "expected a model's name, got None"),
    ],
)
def test_arguments_that_make_no_sense(sync_client: Client, arguments: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        sync_client.infer(*arguments)
    assert error.value.message.startswith(problem)
    for wrong in (
        {"outputs": "Y"},
        {"classes": -1},
        {"timeout": 0},
        {"timeout": "5"},
        {"headers": {"a": "b\n"}},
    ):
        with pytest.raises(InvalidArgumentError):
            sync_client.infer("two", A=[1, 2], B=[3, 4], **wrong)  # type: ignore[arg-type]


def test_what_a_server_says_is_told_as_it_is(client: Any, kind: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        client.infer("failing", COMMAND="refuse")
    assert error.value.message == "COMMAND must not be 'refuse'"
    with pytest.raises(NotFoundError, match="Request for unknown model: 'nobody' is not found"):
        client.infer("nobody", x=1)
    with pytest.raises(InvalidArgumentError, match="expected 2 inputs but got 1 inputs for model 'two'"):
        client.infer("two", A=[1, 2])
    refusal = (
        "HTTP end point doesn't support" if kind.startswith("rest") else "ModelInfer RPC doesn't support"
    )
    with pytest.raises(UnsupportedError, match=refusal):
        client.infer("count", to=1, text="")


def test_threads_share_a_client(sync_client: Client) -> None:
    def ask(number: int) -> list[int]:
        found: list[int] = sync_client.infer("two", A=[number, 0], B=[1, 1])["X"].tolist()
        return found

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(200))) == [[number + 1, 1] for number in range(200)]
    assert threading.active_count() < 100


def test_connections_are_used_again(server: RunningServer) -> None:
    # Of REST; a channel of gRPC is one connection.
    from kserve_v2.client import http_sync  # noqa: PLC0415

    with Client(server.rest) as client:
        for _ in range(5):
            client.infer("two", A=[1, 2], B=[3, 4])
        transport = client._transport
        assert isinstance(transport, http_sync.HttpTransport)
        assert len(transport._client._transport._pool.connections) == 1  # type: ignore[attr-defined]


def test_labels_stand_for_versions(server: RunningServer, client: Any) -> None:
    with Client(server.rest) as operator:
        operator.release("versions", {"labels": {"PROD": 1}})
        try:
            result = client.infer("versions", IN=0, version="PROD")
            assert (result["VERSION"].tolist(), result.model_version) == ([1], "1")
            operator.release("versions", {"labels": {"PROD": 2}})
            assert client.infer("versions", IN=0, version="PROD")["VERSION"].tolist() == [2]
        finally:
            operator.release("versions", {"labels": None})
