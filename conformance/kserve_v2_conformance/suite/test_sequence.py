"""The sequence extension: requests that belong together."""

from kserve_v2_conformance.findings import Checks
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


@both("SEQ-003")
def test_no_sequence(carrier: str, target: Target, check: Checks) -> None:
    """A request without an id, and one of a sequence that nobody started."""
    clause = f"{protocol(carrier)}-SEQ-003"
    for what, sequence in (("without an id", None), ("not started", 4004)):
        outcome = _step(target, check, carrier, sequence, 1, _GOES_ON)
        check.that(clause, what, isinstance(outcome, Failure), "an error", str(outcome))


@both("SEQ-004")
def test_string_id(carrier: str, target: Target, check: Checks) -> None:
    """An id that is a UUID."""
    if "sequence(string_id)" not in target.advertised:
        raise NotCovered("the server does not advertise sequence(string_id)")
    sequence = "e333c95a-07fc-42d2-ab16-033b1a566ed5"
    got = _sums(target, check, carrier, sequence, [1, 2, 3])
    check.equal(f"{protocol(carrier)}-SEQ-004", "sums", got, [[1], [3], [6]])
