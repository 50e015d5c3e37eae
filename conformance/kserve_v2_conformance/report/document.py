"""The JSON report: what `compare` reads."""

from typing import Any

from kserve_v2_conformance import __version__
from kserve_v2_conformance.results import CaseResult, Results
from kserve_v2_conformance.verdicts import overall, status_of, verdicts


def document(results: Results) -> dict[str, Any]:
    """The report as a JSON object."""
    clauses = results.clauses()
    found = verdicts(results, clauses)
    return {
        "suite": __version__,
        "date": results.date,
        "server": results.server,
        "verdict": str(overall(found)),
        "status": int(status_of(results)),
        "partial": results.partial,
        "ended": results.ended,
        "stale": results.stale,
        "verdicts": [
            {
                "part": each.part,
                "verdict": str(each.word),
                "required": each.required,
                "covered": each.covered,
                "broken": each.broken,
                "asked": each.asked,
                "why": each.why,
            }
            for each in found
        ],
        "clauses": [
            {
                "id": clause.requirement.id,
                "level": str(clause.requirement.level),
                "extension": clause.requirement.extension,
                "outcome": str(clause.outcome),
                "reason": clause.reason,
                "known": clause.known,
                "cases": [case.id for case in clause.cases],
            }
            for clause in clauses
        ],
        "cases": [_case(case) for case in results.cases],
    }


def _case(case: CaseResult) -> dict[str, Any]:
    """A case; exchanges only of those that show something wrong, so that reports stay small."""
    telling = [finding for finding in case.findings if not finding.kept]
    return {
        "id": case.id,
        "about": case.about,
        "outcome": str(case.outcome),
        "reason": case.reason,
        "known": case.known,
        "clauses": case.clauses,
        "findings": [finding.as_json() for finding in telling],
        "exchanges": [each.as_json() for each in case.exchanges] if telling else [],
    }
