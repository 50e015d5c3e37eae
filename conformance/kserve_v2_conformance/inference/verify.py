"""Judges the outcome of an inference by one expectation, whatever carried it."""

from math import prod

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.request import Failure, InferRequest, InferResponse, Outcome, SeenOutput
from kserve_v2_conformance.requirements import GRPC, REST
from kserve_v2_conformance.tensors import Tensor, difference

# The form in which each carrier returns the tensors of the answer.
_FORMS = {
    "json": ("json",),
    "binary": ("binary",),
    "grpc-raw": ("raw", "typed"),
    "grpc-typed": ("raw", "typed"),
}


class Judge:
    """Judges one outcome. `carrier`: how the request was sent."""

    def __init__(self, checks: Checks, carrier: str) -> None:
        self.checks = checks
        self.carrier = carrier
        self.protocol = GRPC if carrier.startswith("grpc") else REST
        self._problems: list[str] = []

    def success(
        self, outcome: Outcome, request: InferRequest, expected: tuple[Tensor, ...], clauses: list[str]
    ) -> bool:
        """Judge an outcome that has to be a success with exactly these outputs; `clauses` share its fate."""
        if isinstance(outcome, Failure):
            self._note("INFER-001", "a valid request", kept=False, expected="success", got=_show(outcome))
        else:
            self._note("INFER-001", "a valid request", kept=True, expected="success", got="success")
            self._identity(outcome, request)
            self._outputs(outcome, request, expected)
        kept = not self._problems
        for clause in clauses:
            got = "as expected" if kept else self._problems[0]
            self.checks.that(clause, "the answer as a whole", kept, "as expected", got)
        return kept

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
        if isinstance(outcome, Failure):
            for clause in clauses:
                self.checks.that(clause, "answer", True, "an error, or the right answer", _show(outcome))
        else:
            self.success(outcome, request, expected, clauses)

    def _note(self, clause: str, what: str, kept: bool, expected: str, got: str, result: bool = True) -> None:
        """Note a finding. `result`: whether the case's own clauses are broken with it."""
        full = f"{self.protocol}-{clause}"
        if self.carrier == "binary" and clause == "INFER-012":
            full = "REST-BIN-007"
        self.checks.that(full, what, kept, expected, got)
        if result and not kept:
            self._problems.append(f"{what}: expected {expected}, got {got}")

    def _identity(self, response: InferResponse, request: InferRequest) -> None:
        name, version = response.model_name, response.model_version
        self._note(
            "INFER-002", "model_name", name == request.model, repr(request.model), repr(name), result=False
        )
        if version is not None:
            self._note(
                "INFER-003",
                "model_version",
                isinstance(version, str),
                "a string",
                repr(version),
                result=False,
            )
        if request.version:
            same = version in (None, request.version)
            self._note("INFER-014", "model_version", same, repr(request.version), repr(version), result=False)
        if request.id:
            self._note(
                "INFER-004",
                "id",
                response.id == request.id,
                repr(request.id),
                repr(response.id),
                result=False,
            )
        else:
            absent = response.id in (None, "")
            self._note("INFER-005", "id", absent, "no id", repr(response.id), result=False)

    def _outputs(self, response: InferResponse, request: InferRequest, expected: tuple[Tensor, ...]) -> None:
        got = sorted(output.name for output in response.outputs)
        wanted = sorted(tensor.name for tensor in expected)
        clause = "INFER-007" if request.outputs else "INFER-006"
        self._note(clause, "names of the outputs", got == wanted, ", ".join(wanted), ", ".join(got) or "none")
        seen = {output.name: output for output in response.outputs}
        for tensor in expected:
            if tensor.name in seen:
                self._output(tensor, seen[tensor.name])

    def _output(self, want: Tensor, seen: SeenOutput) -> None:
        what = f"output {want.name}"
        if seen.tensor is None:
            self._note("INFER-008", what, kept=False, expected="a readable tensor", got=seen.unreadable)
            return
        have = seen.tensor
        self._note("INFER-008", what, kept=True, expected="a readable tensor", got="one")
        self._note(
            "INFER-009", f"datatype of {what}", have.datatype == want.datatype, want.datatype, have.datatype
        )
        self._note(
            "INFER-010",
            f"shape of {what}",
            have.shape == want.shape,
            str(list(want.shape)),
            str(list(have.shape)),
        )
        self._form(seen, what, empty=not len(want.values))
        count = prod(have.shape)
        self._note(
            "INFER-011",
            f"number of elements of {what}",
            len(have.values) == count,
            str(count),
            str(len(have.values)),
        )
        if have.datatype == want.datatype:
            differs = difference(want, have)
            self._note(
                "INFER-012",
                f"values of {what}",
                differs is None,
                "the exact values",
                differs or "the exact values",
            )

    def _form(self, seen: SeenOutput, what: str, empty: bool) -> None:
        if self.protocol == REST and not empty:
            clause = (
                "REST-BIN-002"
                if self.carrier == "binary"
                else "REST-BIN-005"
                if seen.form == "binary"
                else "REST-INFER-008"
            )
            self.checks.one_of(clause, f"form of {what}", seen.form, _FORMS[self.carrier])


def _show(outcome: Outcome) -> str:
    if isinstance(outcome, Failure):
        return f"{outcome.status} {outcome.message}".strip()
    return "success" + "".join(
        f", {each.name} {each.datatype} {list(each.shape or ())}" for each in outcome.outputs
    )
