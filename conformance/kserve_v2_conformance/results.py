"""The results of a run: case by case, and clause by clause."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from kserve_v2_conformance.exchange import Exchange
from kserve_v2_conformance.findings import Finding
from kserve_v2_conformance.requirements import Requirement, requirements


class Outcome(StrEnum):
    """What became of a case, or of a clause."""

    PASSED = "pass"
    FAILED = "fail"
    NOT_COVERED = "not covered"
    ADVISED = "not as advised"
    """Only of clauses: a SHOULD that the server does not follow."""


@dataclass(slots=True)
class CaseResult:
    """One case. `reason`: why it was not covered; `known`: why it may fail without failing the run."""

    id: str
    about: str
    clauses: list[str]
    outcome: Outcome
    reason: str
    findings: list[Finding]
    exchanges: list[Exchange]
    known: str = ""

    def breaks(self, clause: str) -> bool:
        """Whether it found the clause broken."""
        return any(each.clause == clause and not each.kept for each in self.findings)


@dataclass(frozen=True, slots=True)
class ClauseResult:
    """One clause, and the cases that looked at it, those that failed first."""

    requirement: Requirement
    outcome: Outcome
    cases: list[CaseResult]
    reason: str

    @property
    def known(self) -> str:
        """Why it may be broken without failing the run: every case that breaks it is known to fail."""
        broken = [case for case in self.cases if case.breaks(self.requirement.id)]
        reasons = dict.fromkeys(case.known for case in broken)
        return "" if "" in reasons else "; ".join(reasons)


@dataclass(slots=True)
class Results:
    """A whole run.

    `asked`: the parts of the specification that it is meant to test; `unasked`: why the others are left out.
    `stale`: known failures that fail no more; `selected`: whether only some cases were asked for; `planned`: how many
    cases were to be run; `left_out`: how many that are about what a part requires were not, by the caller's selection;
    `interrupted`: by Ctrl-C; `ended`: how the server ended, for each protocol over which it could not be reached any
    more.
    """

    server: dict[str, Any] = field(default_factory=dict)
    cases: list[CaseResult] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    selected: bool = False
    finished: float = 0.0
    asked: frozenset[str] = frozenset()
    unasked: dict[str, str] = field(default_factory=dict)
    planned: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False
    ended: list[str] = field(default_factory=list)

    @property
    def date(self) -> str:
        """When the run ended, in UTC."""
        return datetime.fromtimestamp(self.finished, UTC).strftime("%Y-%m-%d %H:%M UTC")

    @property
    def partial(self) -> str:
        """What is to be said of a run that was stopped before its end, "" if it was not."""
        ran = len(self.cases)
        return f"the run was stopped after {ran} of {self.planned} cases" if ran < self.planned else ""

    def clauses(self) -> list[ClauseResult]:
        """Every clause of the requirements, in their order."""
        return [self._clause(requirement) for requirement in requirements().values()]

    def _clause(self, requirement: Requirement) -> ClauseResult:
        about = [case for case in self.cases if requirement.id in case.clauses]
        seen = [case for case in self.cases if any(each.clause == requirement.id for each in case.findings)]
        broken = [case for case in seen if case.breaks(requirement.id)]
        kept = [case for case in seen if not case.breaks(requirement.id)]
        if broken:
            outcome = Outcome.FAILED if requirement.required else Outcome.ADVISED
            return ClauseResult(requirement, outcome, broken + kept, "")
        if kept:
            return ClauseResult(requirement, Outcome.PASSED, kept, "")
        reasons = dict.fromkeys(case.reason for case in about if case.reason)
        return ClauseResult(
            requirement, Outcome.NOT_COVERED, about, "; ".join(reasons) or self._why_not(requirement)
        )

    def _why_not(self, requirement: Requirement) -> str:
        return self.partial or ("not selected" if self.selected else "no case")
