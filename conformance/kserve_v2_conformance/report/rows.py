"""What all reports say of a part of the specification: its verdict, and how many of its clauses have which outcome."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kserve_v2_conformance.findings import Finding
from kserve_v2_conformance.results import CaseResult, ClauseResult, Outcome, Results
from kserve_v2_conformance.verdicts import Verdict, Word, overall, part_of, verdicts

_MISSING_MODEL = re.compile(r"the server has no model \S+; a profile may name another one for (\S+)")


@dataclass(frozen=True, slots=True)
class Row:
    """A part of the specification.

    `kept`, `broken`: of its required clauses; `advice`: SHOULDs that were tested, `ignored`: those not followed.
    """

    verdict: Verdict
    kept: int
    broken: int
    advice: int
    ignored: int

    @property
    def counts(self) -> dict[str, int]:
        """How many of the required clauses have which outcome."""
        untested = self.verdict.required - self.verdict.covered
        return {"pass": self.kept, "fail": self.broken, "not covered": untested}


def rows(results: Results, clauses: Iterable[ClauseResult]) -> list[Row]:
    """One row for each part, those of the core first."""
    required: dict[str, Counter[Outcome]] = {}
    advice: dict[str, Counter[Outcome]] = {}
    clauses = list(clauses)
    for clause in clauses:
        counted = required if clause.requirement.required else advice
        counted.setdefault(part_of(clause.requirement), Counter())[clause.outcome] += 1
    found = []
    for verdict in verdicts(results, clauses):
        own, advised = required.get(verdict.part, Counter()), advice.get(verdict.part, Counter())
        tested = advised[Outcome.PASSED] + advised[Outcome.ADVISED]
        found.append(Row(verdict, own[Outcome.PASSED], own[Outcome.FAILED], tested, advised[Outcome.ADVISED]))
    return found


def headline(table: Iterable[Row]) -> tuple[Word, str]:
    """The verdict on the server, and how much of what was asked for it rests on."""
    table = list(table)
    asked = [row.verdict for row in table if row.verdict.asked]
    covered, required = sum(each.covered for each in asked), sum(each.required for each in asked)
    broken = sum(row.broken for row in table)
    word = overall(row.verdict for row in table)
    says = f"{covered} of {required} required clauses tested"
    return word, f"{says}, {broken} broken" if broken else says


def telling(clause: ClauseResult) -> tuple[CaseResult, Finding]:
    """The first case that found a clause broken, and what it found."""
    case = clause.cases[0]
    found = (each for each in case.findings if each.clause == clause.requirement.id and not each.kept)
    return case, next(found)


def untested(results: Results) -> dict[str, int]:
    """Why cases were not run, and how many for each reason, the most frequent first; missing models are one reason."""
    reasons: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for case in results.cases:
        if case.outcome is Outcome.NOT_COVERED:
            found = _MISSING_MODEL.fullmatch(case.reason)
            (missing if found else reasons)[found[1] if found else case.reason] += 1
    if missing:
        named = ", ".join(missing)
        reasons[f"the server has no model for {named}; a profile may name some"] = missing.total()
    return dict(reasons.most_common())


def remarks(results: Results) -> Iterator[str]:
    """What has to be known about the run as a whole."""
    if results.partial:
        yield f"partial: {results.partial}"
    yield from results.ended
    for entry in results.stale:
        yield f"known failure that fails no more: {entry}; take it off the list"
    known = sum(bool(case.known) for case in results.cases)
    if known:
        yield (
            f"known failures among the failed cases: {known}; they leave the exit status alone, "
            "and the verdict counts them"
        )
