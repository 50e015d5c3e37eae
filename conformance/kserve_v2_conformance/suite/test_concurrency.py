"""64 clients at once: everybody gets their own answers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.inference import grpc_carrier, rest_carrier
from kserve_v2_conformance.inference.request import Failure, InferRequest, Outcome
from kserve_v2_conformance.suite.support import values_of
from kserve_v2_conformance.target import ServedModel, Target
from kserve_v2_conformance.tensors import Tensor, array

CLIENTS = 64
REQUESTS = 4

_MODELS = ("identity", "identity_batched", "add_sub_batched")


def _tagged(model: ServedModel, client: int, turn: int) -> tuple[InferRequest, list[object]]:
    """A request whose data nobody else sends, and the first output's elements."""
    shape = tuple(1 + client % 3 if size == -1 else size for size in model.inputs[0].shape)
    count = 1
    for size in shape:
        count *= size
    datatype = model.inputs[0].datatype
    numbers: list[object] = [client + turn * 100 + position * 1000 for position in range(count)]
    if datatype == "BYTES":
        numbers = [str(each) for each in numbers]
    values = array(datatype, numbers)
    inputs = tuple(Tensor(each.name, datatype, shape, values) for each in model.inputs)
    expected = values + values if len(inputs) > 1 else values
    return InferRequest(model.name, inputs, id=f"{client}-{turn}"), expected.tolist()


def _over_rest(target: Target, request: InferRequest) -> Outcome:
    encoded = rest_carrier.encode_json(request)
    answer = target.rest.request("POST", encoded.path, encoded.body, encoded.headers)
    return rest_carrier.read(answer, Checks())


def _over_grpc(target: Target, request: InferRequest) -> Outcome:
    return grpc_carrier.read(
        target.grpc.request(grpc_carrier.encode_raw(request), pb.ModelInferResponse), Checks()
    )


_SENDERS: dict[str, Callable[[Target, InferRequest], Outcome]] = {"REST": _over_rest, "GRPC": _over_grpc}


def _client(target: Target, protocol: str, model: ServedModel, client: int) -> list[str]:
    """Send this client's requests one after the other; returns what was wrong."""
    problems = []
    for turn in range(REQUESTS):
        request, expected = _tagged(model, client, turn)
        try:
            outcome = _SENDERS[protocol](target, request)
        except UnreadableAnswer as error:
            problems.append(f"client {client}: {error}")
            continue
        if isinstance(outcome, Failure):
            problems.append(f"client {client}: {outcome.status} {outcome.message}")
            continue
        got = values_of(outcome, model.outputs[0].name)
        if got != expected or outcome.id != request.id:
            problems.append(f"client {client}: sent {request.id} {expected}, got {outcome.id} {got}")
    return problems


@pytest.mark.parametrize(
    "protocol",
    [pytest.param(each, id=each.lower(), marks=pytest.mark.clause(f"{each}-INFER-027")) for each in _SENDERS],
)
@pytest.mark.parametrize("capability", _MODELS)
def test_concurrent_clients(protocol: str, capability: str, target: Target, check: Checks) -> None:
    """Tagged data of 64 clients."""
    model = target.model(capability)
    with ThreadPoolExecutor(CLIENTS) as pool:
        problems = [
            problem
            for found in pool.map(lambda client: _client(target, protocol, model, client), range(CLIENTS))
            for problem in found
        ]
    got = f"{len(problems)} wrong answers, first: {problems[0]}" if problems else "right answers"
    check.that(f"{protocol}-INFER-027", f"{CLIENTS * REQUESTS} answers", not problems, "right answers", got)


@pytest.mark.parametrize(
    "protocol",
    [pytest.param(each, id=each.lower(), marks=pytest.mark.clause(f"{each}-ERROR-008")) for each in _SENDERS],
)
def test_failures_among_successes(protocol: str, target: Target, check: Checks) -> None:
    """Requests that fail do not change those that are answered at the same time."""
    model = target.model("identity")
    wrong = InferRequest("no_such_model", _tagged(model, 0, 0)[0].inputs)

    def client(number: int) -> list[str]:
        if number % 4:
            return _client(target, protocol, model, number)
        return (
            []
            if isinstance(_SENDERS[protocol](target, wrong), Failure)
            else ["an unknown model was answered"]
        )

    with ThreadPoolExecutor(CLIENTS) as pool:
        problems = [problem for found in pool.map(client, range(CLIENTS)) for problem in found]
    check.that(
        f"{protocol}-ERROR-008",
        "answers",
        not problems,
        "right answers",
        "; ".join(problems[:2]) or "right answers",
    )
