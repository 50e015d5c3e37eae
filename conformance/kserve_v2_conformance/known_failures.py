"""The list of failures that the owner of a server knows about.

One entry a line: a clause or a case, and the reason behind `#`. An entry that fails no more is stale: the run fails.

    REST-READY-002                  # health answers have no body
    infer/nan-fp32-json             # the parser refuses NaN, issue 123
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from kserve_v2_conformance.requirements import requirements
from kserve_v2_conformance.results import CaseResult, Outcome, Results


class KnownFailuresError(ValueError):
    """A list that cannot be used; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class KnownFailures:
    """Reasons by clause or case."""

    reasons: dict[str, str]

    def excuse(self, case: CaseResult) -> str:
        """Why a failed case may fail, or "" if it may not: the case is listed, or all clauses that it breaks are."""
        if case.id in self.reasons:
            return self.reasons[case.id]
        broken = {finding.clause for finding in case.findings if finding.broken}
        if broken and broken <= self.reasons.keys():
            return "; ".join(dict.fromkeys(self.reasons[clause] for clause in sorted(broken)))
        return ""

    def unknown(self, cases: Collection[str]) -> list[str]:
        """The entries that are neither a clause nor one of the suite's cases."""
        return [each for each in self.reasons if each not in requirements() and each not in cases]

    def stale(self, results: Results) -> list[str]:
        """The entries whose cases ran and did not fail."""
        return [entry for entry in self.reasons if self._is_stale(entry, results)]

    def _is_stale(self, entry: str, results: Results) -> bool:
        if entry in requirements():
            findings = [each for case in results.cases for each in case.findings if each.clause == entry]
            return bool(findings) and all(each.kept for each in findings)
        ran = [case for case in results.cases if case.id == entry and case.outcome is not Outcome.NOT_COVERED]
        return bool(ran) and all(case.outcome is Outcome.PASSED for case in ran)


def read_known_failures(path: Path) -> KnownFailures:
    """Read a list. Raises KnownFailuresError, and OSError."""
    reasons: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise KnownFailuresError(f"{path}: {error}") from None
    for number, line in enumerate(lines, 1):
        entry, _, reason = (part.strip() for part in line.partition("#"))
        if not entry:
            continue
        if not reason:
            raise KnownFailuresError(f"{path}:{number}: {entry} has no reason; write one behind #")
        if entry in reasons:
            raise KnownFailuresError(f"{path}:{number}: {entry} is there twice")
        if "/" not in entry and entry not in requirements():
            raise KnownFailuresError(f"{path}:{number}: {entry} is neither a clause nor a case (module/name)")
        reasons[entry] = reason
    return KnownFailures(reasons)
