"""The results of a run: case by case, and clause by clause."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from kserve_v2_conformance import __version__
from kserve_v2_conformance.exchange import Exchange
from kserve_v2_conformance.findings import Finding
from kserve_v2_conformance.requirements import Requirement, requirements


class Outcome(StrEnum):
    """What became of a case, or of a clause."""

    PASSED = "pass"
    FAILED = "fail"
    KNOWN = "known failure"
    NOT_COVERED = "not covered"
    ADVISED = "not as advised"
    """Only of clauses: a SHOULD that the server does not follow."""


@dataclass(slots=True)
class CaseResult:
    """One case. `reason`: why it was not covered, or why it may fail."""

    id: str
    about: str
    clauses: list[str]
    outcome: Outcome
    reason: str
    findings: list[Finding]
    exchanges: list[Exchange]


@dataclass(frozen=True, slots=True)
class ClauseResult:
    """One clause, and the cases that looked at it, those that failed first."""

    requirement: Requirement
    outcome: Outcome
    cases: list[CaseResult]
    reason: str


@dataclass(slots=True)
class Results:
    """A whole run. `stale`: known failures that fail no more; `selected`: whether only some cases were asked for."""

    server: dict[str, Any] = field(default_factory=dict)
    cases: list[CaseResult] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    selected: bool = False
    finished: float = 0.0

    @property
    def date(self) -> str:
        """When the run ended, in UTC."""
        return datetime.fromtimestamp(self.finished, UTC).strftime("%Y-%m-%d %H:%M UTC")

    def clauses(self) -> list[ClauseResult]:
        """Every clause of the requirements, in their order."""
        return [self._clause(requirement) for requirement in requirements().values()]

    def _clause(self, requirement: Requirement) -> ClauseResult:
        about = [case for case in self.cases if requirement.id in case.clauses]
        seen = [case for case in self.cases if any(each.clause == requirement.id for each in case.findings)]
        broken = [
            case
            for case in seen
            if any(each.clause == requirement.id and not each.kept for each in case.findings)
        ]
        kept = [case for case in seen if case not in broken]
        if broken:
            return ClauseResult(requirement, _worst(requirement, broken), broken + kept, "")
        if kept:
            return ClauseResult(requirement, Outcome.PASSED, kept, "")
        reasons = dict.fromkeys(case.reason for case in about if case.reason)
        return ClauseResult(
            requirement, Outcome.NOT_COVERED, about, "; ".join(reasons) or self._why_not(requirement)
        )

    def _why_not(self, requirement: Requirement) -> str:
        return "not selected" if self.selected else "no case"

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object: what `compare` reads."""
        return {
            "suite": __version__,
            "date": self.date,
            "server": self.server,
            "stale": self.stale,
            "clauses": [
                {
                    "id": clause.requirement.id,
                    "level": str(clause.requirement.level),
                    "extension": clause.requirement.extension,
                    "outcome": str(clause.outcome),
                    "reason": clause.reason,
                    "cases": [case.id for case in clause.cases],
                }
                for clause in self.clauses()
            ],
            "cases": [_case_json(case) for case in self.cases],
        }


def _worst(requirement: Requirement, broken: list[CaseResult]) -> Outcome:
    if not requirement.required:
        return Outcome.ADVISED
    return Outcome.KNOWN if all(case.outcome is Outcome.KNOWN for case in broken) else Outcome.FAILED


def _case_json(case: CaseResult) -> dict[str, Any]:
    """A case; exchanges only of those that show something wrong, so that reports stay small."""
    telling = [finding for finding in case.findings if not finding.kept]
    return {
        "id": case.id,
        "about": case.about,
        "outcome": str(case.outcome),
        "reason": case.reason,
        "clauses": case.clauses,
        "findings": [finding.as_json() for finding in telling],
        "exchanges": [
            {"protocol": each.protocol, "request": each.request, "answer": each.answer}
            for each in case.exchanges
        ]
        if telling
        else [],
    }
