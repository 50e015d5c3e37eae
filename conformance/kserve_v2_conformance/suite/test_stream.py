"""ModelStreamInfer and decoupled models."""

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import grpc_carrier
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import InferRequest
from kserve_v2_conformance.rpc import GrpcError
from kserve_v2_conformance.suite.support import request_of, values_of
from kserve_v2_conformance.target import Target

# More than fit into what a client takes before it reads.
_MANY = 5000
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


@pytest.mark.clause("GRPC-STREAM-006")
def test_no_final_response_unasked(target: Target, check: Checks) -> None:
    """Two responses, and nothing behind them."""
    messages = _messages(target, [_repeat(target, 7, 2, "a")])
    empty = [message for message in messages if not message.infer_response.outputs]
    check.equal("GRPC-STREAM-006", "number of messages", len(messages), 2)
    check.equal("GRPC-STREAM-006", "messages without outputs", len(empty), 0)


@pytest.mark.clause("GRPC-STREAM-007")
def test_error_behind_responses(target: Target, check: Checks) -> None:
    """Two responses and an error, and then a request that is answered."""
    model = target.model("generate_failing")
    failing = request_of(model, ["again"], [2], id="failing")
    messages = _messages(target, [failing])
    got = [_values(message, "text_output") for message in messages]
    kept = got[:2] == [[b"again"], [b"again"]] and len(got) >= 3 and bool(messages[2].error_message)
    check.that("GRPC-STREAM-007", "messages", kept, "two responses and an error", str(got))
    answered = _messages(target, [failing, request_of(target.model("repeat"), [8], [1], id="next")])
    ids = [each.infer_response.id for each in answered if each.infer_response.outputs]
    check.equal("GRPC-STREAM-007", "responses of the request behind it", ids.count("next"), 1)


@pytest.mark.clause("GRPC-STREAM-008")
def test_cancelled_stream(target: Target, check: Checks) -> None:
    """Thousands of responses, of which one is read."""
    stream = target.grpc.stream([grpc_carrier.encode_raw(_repeat(target, 7, _MANY, "a"))])
    first = next(stream, None)
    stream.close()
    check.that("GRPC-STREAM-008", "the first response", first is not None, "one", "none")
    got = [_values(message, "OUTPUT0") for message in _messages(target, [_repeat(target, 8, 1)])]
    check.equal("GRPC-STREAM-008", "responses of the next request", got, [[8]])
    model = target.model("identity.INT32")
    outcome = infer(target, request_of(model, [3]), "grpc-raw", check)
    got = [values_of(outcome, model.outputs[0].name)]
    check.equal("GRPC-STREAM-008", "answer of another model", got, [[3]])


@pytest.mark.clause("GRPC-STREAM-009")
def test_final_response_of_ordinary_model(target: Target, check: Checks) -> None:
    """Each of two responses is the last to its request."""
    model = target.model("identity.INT32")
    messages = _messages(target, [request_of(model, [number]) for number in (1, 2)])
    marks = [message.infer_response.parameters[_FINAL].bool_param for message in messages]
    check.equal("GRPC-STREAM-009", f"{_FINAL} of the messages", marks, [True, True])
