"""The schedule policy extension: priorities and time-outs of requests that wait."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import grpc_carrier, rest_carrier
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure, InferRequest, InferResponse, Outcome
from kserve_v2_conformance.suite.support import both, protocol, request_of, succeed
from kserve_v2_conformance.target import ServedModel, Target

_BUSY_MS = 600
_HEAD_START_SECONDS = 0.2
# From outside nobody can see whether the first request has reached the model: on a busy machine it may come too late.
ATTEMPTS = 4


def _infer(target: Target, carrier: str, request: InferRequest) -> Outcome:
    """From any thread; nothing is kept."""
    if carrier == "json":
        encoded = rest_carrier.encode_json(request)
        return rest_carrier.read(
            target.rest.request("POST", encoded.path, encoded.body, encoded.headers), Checks()
        )
    return grpc_carrier.read(
        target.grpc.request(grpc_carrier.encode_raw(request), pb.ModelInferResponse), Checks()
    )


@both("SCHED-001")
def test_defaults(carrier: str, target: Target, check: Checks) -> None:
    """Both parameters are 0: the model's defaults."""
    model = target.model("queued")
    request = request_of(model, [0], parameters={"priority": 0, "timeout": 0})
    succeed(target, check, carrier, request, f"{protocol(carrier)}-SCHED-001")


@both("SCHED-001")
def test_given(carrier: str, target: Target, check: Checks) -> None:
    """The highest priority, and a minute."""
    model = target.model("queued")
    request = request_of(model, [0], parameters={"priority": 1, "timeout": 60_000_000})
    succeed(target, check, carrier, request, f"{protocol(carrier)}-SCHED-001")


@both("SCHED-002")
def test_timeout(carrier: str, target: Target, check: Checks) -> None:
    """1 ms to wait, behind a request that takes longer."""
    model = target.model("queued")
    late, busy = _behind_a_busy_model(target, carrier, model)
    for _ in range(ATTEMPTS - 1):
        if isinstance(late, InferResponse):
            late, busy = _behind_a_busy_model(target, carrier, model)
    clause = f"{protocol(carrier)}-SCHED-002"
    check.that(clause, "the request that waits too long", isinstance(late, Failure), "an error", str(late))
    check.that(clause, "the request before it", isinstance(busy, InferResponse), "success", str(busy))


def _behind_a_busy_model(target: Target, carrier: str, model: ServedModel) -> tuple[Outcome, Outcome]:
    """The outcome of a request that may wait for 1 ms, and of the one that it had to wait for."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(_infer, target, carrier, request_of(model, [_BUSY_MS]))
        Event().wait(_HEAD_START_SECONDS)
        late = pool.submit(_infer, target, carrier, request_of(model, [0], parameters={"timeout": 1000}))
        return late.result(), first.result()


@both("SCHED-003")
def test_priority(carrier: str, target: Target, check: Checks) -> None:
    """Two requests wait: the second has the higher priority, and is answered first."""
    _check_order(target, check, carrier, f"{protocol(carrier)}-SCHED-003", low=2)


@both("SCHED-004")
def test_priority_of_zero(carrier: str, target: Target, check: Checks) -> None:
    """As before, but the lower priority, which is the model's default, is asked for by 0."""
    _check_order(target, check, carrier, f"{protocol(carrier)}-SCHED-004", low=0)


@both("SCHED-005")
@pytest.mark.parametrize("name", ["priority", "timeout"])
def test_wrong_type(name: str, carrier: str, target: Target, check: Checks) -> None:
    """A text where an integer has to be."""
    request = request_of(target.model("queued"), [0], parameters={name: "soon"})
    outcome = infer(target, request, carrier, check)
    kept = isinstance(outcome, Failure)
    check.that(f"{protocol(carrier)}-SCHED-005", f"{name} of a text", kept, "an error", str(outcome))


def _check_order(target: Target, check: Checks, carrier: str, clause: str, low: int) -> None:
    model = target.model("prioritized")
    wanted = ["first", "high", "low"]
    order, failed = _order_of_answers(target, carrier, model, low)
    for _ in range(ATTEMPTS - 1):
        if order != wanted:
            order, failed = _order_of_answers(target, carrier, model, low)
    check.equal(clause, "failures", failed, [])
    check.equal(clause, "order of the answers", order, wanted)


def _order_of_answers(
    target: Target, carrier: str, model: ServedModel, low: int
) -> tuple[list[str], list[str]]:
    """Who was answered when, and what failed: a long request first, then one of low and one of high priority."""
    order: list[str] = []

    def send(name: str, priority: int, wait_ms: int) -> Outcome:
        outcome = _infer(target, carrier, request_of(model, [wait_ms], parameters={"priority": priority}))
        order.append(name)
        return outcome

    with ThreadPoolExecutor(3) as pool:
        outcomes = [pool.submit(send, "first", 1, _BUSY_MS)]
        for name, priority in (("low", low), ("high", 1)):
            Event().wait(_HEAD_START_SECONDS)
            outcomes.append(pool.submit(send, name, priority, 100))
    return order, [str(each.result()) for each in outcomes if isinstance(each.result(), Failure)]
