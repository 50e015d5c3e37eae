"""The sequence extension: requests that belong together."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference import grpc_carrier
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure, Outcome
from kserve_v2_conformance.suite.support import both, protocol, request_of, values_of
from kserve_v2_conformance.target import NotCovered, Target

_STARTED = {"sequence_start": True, "sequence_end": False}
_GOES_ON = {"sequence_start": False, "sequence_end": False}
_ENDS = {"sequence_start": False, "sequence_end": True}


def _step(
    target: Target, check: Checks, carrier: str, sequence: object, number: int, flags: dict[str, bool]
) -> Outcome:
    parameters = {"sequence_id": sequence, **flags} if sequence is not None else None
    return infer(
        target, request_of(target.model("sequence_sum"), [number], parameters=parameters), carrier, check
    )


def _sums(target: Target, check: Checks, carrier: str, sequence: object, numbers: list[int]) -> list[object]:
    """Send a whole sequence; returns what each request was answered with."""
    answers: list[object] = []
    for index, number in enumerate(numbers):
        flags = _STARTED if index == 0 else _ENDS if index == len(numbers) - 1 else _GOES_ON
        outcome = _step(target, check, carrier, sequence, number, flags)
        answers.append(values_of(outcome, "OUTPUT0") or str(outcome))
    return answers


@both("SEQ-001")
def test_one_sequence(carrier: str, target: Target, check: Checks) -> None:
    """1, 2, 3 add up to 1, 3, 6; the next sequence of the same id starts again."""
    clause = f"{protocol(carrier)}-SEQ-001"
    for _ in range(2):
        check.equal(clause, "sums", _sums(target, check, carrier, 4001, [1, 2, 3]), [[1], [3], [6]])


@both("SEQ-002")
def test_two_sequences(carrier: str, target: Target, check: Checks) -> None:
    """Two sequences in turns."""
    got: list[object] = []
    steps = [
        (4002, 1, _STARTED),
        (4003, 10, _STARTED),
        (4002, 2, _GOES_ON),
        (4003, 20, _ENDS),
        (4002, 3, _ENDS),
    ]
    for sequence, number, flags in steps:
        got.append(values_of(_step(target, check, carrier, sequence, number, flags), "OUTPUT0"))
    check.equal(f"{protocol(carrier)}-SEQ-002", "sums", got, [[1], [10], [3], [30], [6]])


@both("SEQ-002")
def test_sequences_at_once(carrier: str, target: Target, check: Checks) -> None:
    """Eight clients at the same time, each with a sequence of its own."""
    numbers = [[client, 10 * client, 100 * client] for client in range(1, 9)]
    with ThreadPoolExecutor(len(numbers)) as pool:
        each_own = [pool.submit(_sums, target, Checks(), carrier, 4100 + each[0], each) for each in numbers]
        got = [future.result() for future in each_own]
    expected = [[[a], [a + b], [a + b + c]] for a, b, c in numbers]
    check.equal(f"{protocol(carrier)}-SEQ-002", "sums", got, expected)


@both("SEQ-003")
def test_no_sequence(carrier: str, target: Target, check: Checks) -> None:
    """A request without an id, and one of a sequence that nobody started."""
    clause = f"{protocol(carrier)}-SEQ-003"
    for what, sequence in (("without an id", None), ("not started", 4004)):
        outcome = _step(target, check, carrier, sequence, 1, _GOES_ON)
        check.that(clause, what, isinstance(outcome, Failure), "an error", str(outcome))


def _require_string_ids(target: Target) -> None:
    if "sequence(string_id)" not in target.advertised:
        raise NotCovered("the server does not advertise sequence(string_id)")


@both("SEQ-004")
def test_string_id(carrier: str, target: Target, check: Checks) -> None:
    """An id that is a UUID."""
    _require_string_ids(target)
    sequence = "e333c95a-07fc-42d2-ab16-033b1a566ed5"
    got = _sums(target, check, carrier, sequence, [1, 2, 3])
    check.equal(f"{protocol(carrier)}-SEQ-004", "sums", got, [[1], [3], [6]])


@both("SEQ-005")
@pytest.mark.parametrize("sequence", [0, ""], ids=["zero", "empty"])
def test_id_that_is_none(sequence: object, carrier: str, target: Target, check: Checks) -> None:
    """An id that stands for no sequence, at the start of one."""
    outcome = _step(target, check, carrier, sequence, 1, _STARTED)
    kept = isinstance(outcome, Failure)
    check.that(f"{protocol(carrier)}-SEQ-005", f"id {sequence!r}", kept, "an error", str(outcome))


@both("SEQ-006")
@pytest.mark.parametrize("flag", ["sequence_start", "sequence_end"])
def test_flag_without_id(flag: str, carrier: str, target: Target, check: Checks) -> None:
    """The start, or the end, of nothing."""
    request = request_of(target.model("sequence_sum"), [1], parameters={flag: True})
    outcome = infer(target, request, carrier, check)
    kept = isinstance(outcome, Failure)
    check.that(f"{protocol(carrier)}-SEQ-006", f"{flag} without id", kept, "an error", str(outcome))


@both("SEQ-007")
def test_two_string_ids(carrier: str, target: Target, check: Checks) -> None:
    """Two sequences in turns whose ids differ in their last letter."""
    _require_string_ids(target)
    first, second = (f"conformance-of-strings-{letter}" for letter in "ab")
    steps = [
        (first, 1, _STARTED),
        (second, 10, _STARTED),
        (first, 2, _ENDS),
        (second, 20, _ENDS),
    ]
    got = [values_of(_step(target, check, carrier, *step), "OUTPUT0") for step in steps]
    check.equal(f"{protocol(carrier)}-SEQ-007", "sums", got, [[1], [10], [3], [30]])


@pytest.mark.clause("GRPC-SEQ-008")
def test_stream(target: Target, check: Checks) -> None:
    """Two sequences in turns over one stream."""
    steps = [(4008, 1, _STARTED), (4009, 10, _STARTED), (4008, 2, _ENDS), (4009, 20, _ENDS)]
    model = target.model("sequence_sum")
    requests = [
        request_of(model, [number], id=f"{sequence}", parameters={"sequence_id": sequence, **flags})
        for sequence, number, flags in steps
    ]
    got: dict[str, list[object]] = {"4008": [], "4009": []}
    for message in target.grpc.stream([grpc_carrier.encode_raw(each) for each in requests]):
        response = grpc_carrier.read_response(message.infer_response, Checks())
        got.setdefault(message.infer_response.id, []).append(
            message.error_message or values_of(response, "OUTPUT0")
        )
    check.equal("GRPC-SEQ-008", "sums by sequence", got, {"4008": [[1], [3]], "4009": [[10], [30]]})


@both("SEQ-009")
def test_start_again(carrier: str, target: Target, check: Checks) -> None:
    """A sequence that is started again before its end."""
    steps = [(1, _STARTED), (2, _GOES_ON), (10, _STARTED), (20, _ENDS)]
    got = [values_of(_step(target, check, carrier, 4010, *step), "OUTPUT0") for step in steps]
    check.equal(f"{protocol(carrier)}-SEQ-009", "sums", got, [[1], [3], [10], [30]])


@both("SEQ-010")
def test_after_the_end(carrier: str, target: Target, check: Checks) -> None:
    """One more request of a sequence that has ended."""
    _sums(target, check, carrier, 4011, [1, 2])
    outcome = _step(target, check, carrier, 4011, 3, _GOES_ON)
    kept = isinstance(outcome, Failure)
    check.that(f"{protocol(carrier)}-SEQ-010", "a request after the end", kept, "an error", str(outcome))
