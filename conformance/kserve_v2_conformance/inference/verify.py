"""Judges the outcome of an inference by one expectation, whatever carried it."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.request import Failure, InferRequest, InferResponse, Outcome, SeenOutput
from kserve_v2_conformance.requirements import GRPC, REST
from kserve_v2_conformance.tensors import Tensor, difference

# Clauses about one property each: a case that is about one of them breaks it by that property alone. All other clauses
# of a case share the fate of the whole answer.
_PROPERTIES = frozenset(f"INFER-{number:03}" for number in (*range(1, 14), 29))
# Properties that every answer shows, whatever the case is about.
_ALWAYS = frozenset(("INFER-002", "INFER-003", "INFER-004", "INFER-005", "INFER-013", "INFER-029"))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A property of an answer."""

    clause: str
    what: str
    kept: bool
    expected: str
    got: str


class Judge:
    """Judges one outcome. `carrier`: how the request was sent."""

    def __init__(self, checks: Checks, carrier: str) -> None:
        self.checks = checks
        self.carrier = carrier
        self.protocol = GRPC if carrier.startswith("grpc") else REST

    def success(
        self, outcome: Outcome, request: InferRequest, expected: tuple[Tensor, ...], clauses: list[str]
    ) -> None:
        """Judge an outcome that has to be a success with exactly these outputs. Only `clauses` are at stake."""
        if isinstance(outcome, Failure):
            for clause in clauses:
                self.checks.that(clause, "a valid request", False, "success", _show(outcome))
            return
        for seen in _identity(outcome, request):
            self._note(seen)
        self._forms(outcome, expected)
        properties = list(_outputs(outcome, request, expected))
        wrong = [seen for seen in properties if not seen.kept]
        got = f"{wrong[0].what}: expected {wrong[0].expected}, got {wrong[0].got}" if wrong else "as expected"
        for clause in clauses:
            bare = clause.split("-", 1)[1]
            own = [seen for seen in properties if seen.clause == bare]
            for seen in own:
                self._note(seen)
            if bare not in _PROPERTIES or (not own and bare not in _ALWAYS):
                self.checks.that(clause, "the answer as a whole", not wrong, "as expected", got)

    def failure(self, outcome: Outcome, clauses: list[str], blames_client: bool) -> None:
        """Judge an outcome that has to be an error."""
        failed = isinstance(outcome, Failure)
        for clause in clauses:
            self.checks.that(clause, "answer", failed, "an error", _show(outcome))
        if isinstance(outcome, Failure) and blames_client:
            what = "status of a mistake of the client"
            self.checks.that(
                f"{self.protocol}-ERROR-003",
                what,
                outcome.blames_client,
                "a status that blames the client",
                outcome.status,
            )

    def failure_or(
        self, outcome: Outcome, request: InferRequest, expected: tuple[Tensor, ...], clauses: list[str]
    ) -> None:
        """Judge an outcome that may be an error, or else a success with exactly these outputs."""
        self.failure_or_one_of(outcome, request, (expected,), clauses)

    def failure_or_one_of(
        self,
        outcome: Outcome,
        request: InferRequest,
        answers: tuple[tuple[Tensor, ...], ...],
        clauses: list[str],
    ) -> None:
        """Judge an outcome that may be an error, or else a success with the outputs of one of these answers."""
        if isinstance(outcome, Failure):
            for clause in clauses:
                self.checks.that(clause, "answer", True, "an error, or the right answer", _show(outcome))
            return
        fitting = (each for each in answers if all(seen.kept for seen in _outputs(outcome, request, each)))
        self.success(outcome, request, next(fitting, answers[0]), clauses)

    def _note(self, seen: _Seen) -> None:
        self.checks.that(f"{self.protocol}-{seen.clause}", seen.what, seen.kept, seen.expected, seen.got)

    def _forms(self, outcome: InferResponse, expected: tuple[Tensor, ...]) -> None:
        """Over REST, how the outputs came; what has no elements may come in any form."""
        if self.protocol == GRPC:
            return
        filled = {each.name for each in expected if len(each.values)}
        clause = "REST-BIN-002" if self.carrier == "binary" else "REST-INFER-008"
        for seen in outcome.outputs:
            if seen.name in filled:
                self.checks.equal(clause, f"form of output {seen.name}", seen.form, self.carrier)


def _identity(response: InferResponse, request: InferRequest) -> Iterator[_Seen]:
    name, version = response.model_name, response.model_version
    yield _Seen("INFER-002", "model_name", name == request.model, repr(request.model), repr(name))
    yield _Seen("INFER-003", "model_version", isinstance(version, str | None), "a string", repr(version))
    if request.version:
        same = version in (None, request.version)
        yield _Seen("INFER-014", "model_version", same, repr(request.version), repr(version))
    if request.id:
        yield _Seen("INFER-004", "id", response.id == request.id, repr(request.id), repr(response.id))
    else:
        yield _Seen("INFER-005", "id", response.id in (None, ""), "no id", repr(response.id))


def _outputs(response: InferResponse, request: InferRequest, expected: tuple[Tensor, ...]) -> Iterator[_Seen]:
    yield _Seen("INFER-001", "a valid request", True, "success", "success")
    got = sorted(output.name for output in response.outputs)
    wanted = sorted(tensor.name for tensor in expected)
    clause = "INFER-007" if request.outputs else "INFER-006"
    yield _Seen(clause, "names of the outputs", got == wanted, ", ".join(wanted), ", ".join(got) or "none")
    outputs = {output.name: output for output in response.outputs}
    for tensor in expected:
        if tensor.name in outputs:
            yield from _output(tensor, outputs[tensor.name])


def _output(want: Tensor, output: SeenOutput) -> Iterator[_Seen]:
    what, have = f"output {want.name}", output.tensor
    yield _Seen("INFER-008", what, have is not None, "a readable tensor", output.unreadable or "one")
    if have is None:
        return
    yield _Seen(
        "INFER-009", f"datatype of {what}", have.datatype == want.datatype, want.datatype, have.datatype
    )
    shapes = str(list(want.shape)), str(list(have.shape))
    yield _Seen("INFER-010", f"shape of {what}", have.shape == want.shape, *shapes)
    count = prod(have.shape)
    elements = f"elements of {what}"
    yield _Seen(
        "INFER-011", f"number of {elements}", len(have.values) == count, str(count), str(len(have.values))
    )
    if have.datatype == want.datatype:
        differs = difference(want, have)
        yield _Seen("INFER-012", elements, differs is None, "the exact values", differs or "the exact values")


def _show(outcome: Outcome) -> str:
    if isinstance(outcome, Failure):
        return f"{outcome.status} {outcome.message}".strip()
    return "success" + "".join(
        f", {each.name} {each.datatype} {list(each.shape or ())}" for each in outcome.outputs
    )
