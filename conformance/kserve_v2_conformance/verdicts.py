"""The verdict on each part of the specification: core REST, core gRPC, and every extension.

A part *fails* if one required clause of it is broken. It *conforms* if none is, and if enough of it was really run:
the clauses without which nothing else means anything, two thirds of those that are required, and every case that is
about one: who leaves out what fails is told nothing else than that. Otherwise it was *not tested*, whatever the few
clauses said that were. Advice (SHOULD) is counted nowhere here.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from kserve_v2_conformance.requirements import GRPC, REST, Requirement, requirements
from kserve_v2_conformance.results import ClauseResult, Outcome, Results

MINIMUM_SHARE = 2 / 3
"""Of a part's required clauses, how many must have been looked at before it can conform."""

ESSENTIAL = ("LIVE-001", "READY-001", "META-001", "MODEL-001", "INFER-001")
"""What must have been looked at in each core part: a server that was asked for no inference was not tested."""

_CORE = {REST: "core REST", GRPC: "core gRPC"}


class Word(StrEnum):
    """A verdict in one word."""

    CONFORMS = "conforms"
    FAILS = "fails"
    NOT_TESTED = "not tested"


class Status(IntEnum):
    """How `conformance run` ends."""

    CONFORMS = 0
    FAILS = 1
    COULD_NOT_RUN = 2
    NOT_TESTED = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of one part. `required`, `covered`, `broken`: numbers of its required clauses.

    `asked`: whether the run was meant to test it; `enough`: whether enough was run; `why`: what was missing.
    """

    part: str
    word: Word
    required: int
    covered: int
    broken: int
    asked: bool
    enough: bool
    why: str

    @property
    def share(self) -> str:
        """The covered clauses in a hundred; 100 only if all are, 0 only if none is."""
        return share(self.covered, self.required)


def share(covered: int, required: int) -> str:
    """A percentage that is never rounded to all or to nothing.

    >>> share(1, 3), share(999, 1000), share(1, 1000), share(0, 5)
    ('33 %', '99 %', '1 %', '0 %')
    """
    if not covered:
        return "0 %"
    return f"{max(1, 100 * covered // required)} %"


def part_of(requirement: Requirement) -> str:
    """The part of the specification that a clause belongs to."""
    return requirement.extension or _CORE[requirement.protocol]


def parts() -> tuple[str, ...]:
    """All parts, those of the core first."""
    names = dict.fromkeys(map(part_of, requirements().values()))
    return tuple(sorted(names, key=lambda part: part not in _CORE.values()))


def verdicts(results: Results, clauses: Iterable[ClauseResult]) -> list[Verdict]:
    """The verdict on each part; `clauses` are those of `results`."""
    by_part: dict[str, list[ClauseResult]] = {part: [] for part in parts()}
    for clause in clauses:
        if clause.requirement.required:
            by_part[part_of(clause.requirement)].append(clause)
    return [_verdict(part, own, results) for part, own in by_part.items()]


def _verdict(part: str, clauses: list[ClauseResult], results: Results) -> Verdict:
    outcomes = {clause.requirement.id: clause.outcome for clause in clauses}
    covered = {clause for clause, outcome in outcomes.items() if outcome is not Outcome.NOT_COVERED}
    broken = sum(outcome is Outcome.FAILED for outcome in outcomes.values())
    why = "" if part in results.asked else results.unasked.get(part, "the server does not advertise it")
    why = why or _missing(part, covered, outcomes, results)
    word = Word.FAILS if broken else Word.NOT_TESTED if why else Word.CONFORMS
    asked = part in results.asked
    return Verdict(part, word, len(outcomes), len(covered), broken, asked, not why, why)


def _missing(part: str, covered: Collection[str], required: Collection[str], results: Results) -> str:
    """What keeps a part from having been tested, or "" if enough of it was."""
    essential = [each for each in required if each.split("-", 1)[1] in ESSENTIAL and each not in covered]
    if essential:
        return f"{essential[0]} was not tested"
    if len(covered) < MINIMUM_SHARE * len(required):
        return f"{len(covered)} of {len(required)} required clauses were tested, too few"
    if results.partial or not (left := results.left_out[part]):
        return results.partial
    return f"{left} of its cases {'was' if left == 1 else 'were'} not selected"


def overall(found: Iterable[Verdict]) -> Word:
    """The verdict on the server: on all that the run was meant to test, and on whatever failed beside it."""
    found = list(found)
    if any(each.word is Word.FAILS for each in found):
        return Word.FAILS
    asked = [each for each in found if each.asked]
    conforms = bool(asked) and all(each.word is Word.CONFORMS for each in asked)
    return Word.CONFORMS if conforms else Word.NOT_TESTED


def status_of(results: Results) -> Status:
    """How the run ends. Known failures are looked at here, and nowhere else."""
    if results.interrupted:
        return Status.COULD_NOT_RUN
    unknown = any(case.outcome is Outcome.FAILED and not case.known for case in results.cases)
    if unknown or results.stale or results.ended:
        return Status.FAILS
    asked = [each for each in verdicts(results, results.clauses()) if each.asked]
    if results.partial or not asked or not all(each.enough for each in asked):
        return Status.NOT_TESTED
    return Status.CONFORMS
