"""ModelStreamInfer and decoupled models."""

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import grpc_carrier
from kserve_v2_conformance.inference.request import InferRequest
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.support import request_of, values_of
from kserve_v2_conformance.target import Target

_FINAL = "triton_final_response"
_WANT_FINAL: dict[str, object] = {"triton_enable_empty_final_response": True}


def _messages(target: Target, requests: list[InferRequest]) -> list[pb.ModelStreamInferResponse]:
    return list(target.grpc.stream([grpc_carrier.encode_raw(each) for each in requests]))


def _values(message: pb.ModelStreamInferResponse, name: str) -> object:
    """The values of an output, the error, or None for a response without outputs."""
    if message.error_message:
        return f"error: {message.error_message}"
    if not message.infer_response.outputs:
        return None
    return values_of(grpc_carrier.read_response(message.infer_response, Checks()), name)


def _repeat(target: Target, number: int, count: int, name: str = "", final: bool = False) -> InferRequest:
    model = target.model("repeat")
    return request_of(model, [number], [count], id=name, parameters=_WANT_FINAL if final else None)


@pytest.mark.clause("GRPC-STREAM-001")
def test_ordinary_model(target: Target, check: Checks) -> None:
    """Five requests, five responses, in order."""
    model = target.model("identity")
    requests = [request_of(model, [number], id=f"id-{number}") for number in range(5)]
    if model.inputs[0].datatype == "BYTES":
        requests = [request_of(model, [str(number)], id=f"id-{number}") for number in range(5)]
    messages = _messages(target, requests)
    got = [[message.infer_response.id, _values(message, model.outputs[0].name)] for message in messages]
    expected = [[each.id, each.inputs[0].values.tolist()] for each in requests]
    check.equal("GRPC-STREAM-001", "ids and values", got, expected)


@pytest.mark.clause("GRPC-STREAM-001")
def test_empty_stream(target: Target, check: Checks) -> None:
    """A stream without requests ends without responses."""
    check.equal("GRPC-STREAM-001", "responses", len(_messages(target, [])), 0)


@pytest.mark.clause("GRPC-STREAM-002")
@pytest.mark.parametrize("count", [1, 3])
def test_responses(count: int, target: Target, check: Checks) -> None:
    """As many responses as the request says, numbered from 0."""
    messages = _messages(target, [_repeat(target, 7, count, "a")])
    got = [
        [message.infer_response.id, _values(message, "OUTPUT0"), _values(message, "INDEX")]
        for message in messages
    ]
    check.equal("GRPC-STREAM-002", "responses", got, [["a", [7], [index]] for index in range(count)])


@pytest.mark.clause("GRPC-STREAM-002")
def test_no_responses(target: Target, check: Checks) -> None:
    """None at all, and then an ordinary answer to the next request of the stream."""
    messages = _messages(target, [_repeat(target, 7, 0, "none"), _repeat(target, 8, 1, "one")])
    got = [[message.infer_response.id, _values(message, "OUTPUT0")] for message in messages]
    check.equal("GRPC-STREAM-002", "responses", got, [["one", [8]]])


@pytest.mark.clause("GRPC-STREAM-003")
@pytest.mark.parametrize("count", [0, 2])
def test_final_response(count: int, target: Target, check: Checks) -> None:
    """The last message is marked, and only the last."""
    messages = _messages(target, [_repeat(target, 7, count, "a", final=True)])
    marks = [message.infer_response.parameters[_FINAL].bool_param for message in messages]
    filled = [message for message in messages if message.infer_response.outputs]
    expected = [False] * (len(messages) - 1) + [True]
    check.equal("GRPC-STREAM-003", f"{_FINAL} of the messages", marks, expected)
    check.equal("GRPC-STREAM-003", "responses with outputs", len(filled), count)


@pytest.mark.clause("GRPC-STREAM-004")
def test_error_in_between(target: Target, check: Checks) -> None:
    """A wrong request between two right ones."""
    model = target.model("identity")
    values: list[object] = ["1"] if model.inputs[0].datatype == "BYTES" else [1]
    right = [request_of(model, values, id=name) for name in ("first", "last")]
    wrong = InferRequest("no_such_model", right[0].inputs, id="wrong")
    messages = _messages(target, [right[0], wrong, right[1]])
    errors = [bool(message.error_message) for message in messages]
    check.equal("GRPC-STREAM-004", "errors", sorted(errors), [False, False, True])
    answered = [message.infer_response.id for message in messages if not message.error_message]
    check.equal("GRPC-STREAM-004", "ids of the responses", answered, ["first", "last"])


@pytest.mark.clause("GRPC-STREAM-005")
def test_without_stream(target: Target, check: Checks) -> None:
    """Three responses where the call has room for one."""
    answer = target.grpc.call(grpc_carrier.encode_raw(_repeat(target, 7, 3)), pb.ModelInferResponse)
    check.that("GRPC-STREAM-005", "status", isinstance(answer, GrpcError), "an error", "OK")
