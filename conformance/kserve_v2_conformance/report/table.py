"""The summary: one row for each part of the specification."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kserve_v2_conformance.requirements import REST, Requirement
from kserve_v2_conformance.results import ClauseResult, Outcome, Results

COLUMNS = (Outcome.PASSED, Outcome.FAILED, Outcome.KNOWN, Outcome.ADVISED, Outcome.NOT_COVERED)


@dataclass(frozen=True, slots=True)
class Row:
    """A part of the specification, and how many of its clauses have which outcome."""

    part: str
    counts: dict[Outcome, int]

    @property
    def verdict(self) -> str:
        """In one word."""
        if self.counts[Outcome.FAILED]:
            return "FAILS"
        return "conforms" if self.counts[Outcome.PASSED] or self.counts[Outcome.KNOWN] else "-"


def part_of(requirement: Requirement) -> str:
    """The part of the specification that a clause belongs to."""
    return requirement.extension or ("core REST" if requirement.protocol == REST else "core gRPC")


def rows(clauses: Iterable[ClauseResult]) -> list[Row]:
    """One row for each part, in the order of the requirements."""
    parts: dict[str, Counter[Outcome]] = {}
    for clause in clauses:
        parts.setdefault(part_of(clause.requirement), Counter())[clause.outcome] += 1
    order = sorted(parts, key=lambda part: not part.startswith("core"))
    return [Row(part, {outcome: parts[part][outcome] for outcome in COLUMNS}) for part in order]


def summary(results: Results) -> Iterator[str]:
    """The lines of the summary."""
    clauses = results.clauses()
    header = ("clauses of", *(str(each) for each in COLUMNS), "")
    table = [
        header,
        *(
            (row.part, *(str(row.counts[each] or "·") for each in COLUMNS), row.verdict)
            for row in rows(clauses)
        ),
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(header))]
    server = results.server
    yield f"{server['name']} {server['version']}".strip()
    for line in table:
        cells = [
            cell.ljust(widths[0]) if not column else cell.rjust(widths[column])
            for column, cell in enumerate(line)
        ]
        yield "  ".join(cells).rstrip()
    yield from _listed("broken", (each for each in clauses if each.outcome is Outcome.FAILED))
    yield from _listed("not as advised", (each for each in clauses if each.outcome is Outcome.ADVISED))
    plain = next(each for each in clauses if each.requirement.id == "REST-INFER-001")
    if plain.outcome is Outcome.NOT_COVERED and not results.selected:
        yield "No inference was tested: the server has none of the test models. Name two of its own in a --profile."
    for entry in results.stale:
        yield f"known failure that fails no more: {entry}; take it off the list"


def _listed(title: str, clauses: Iterable[ClauseResult]) -> Iterator[str]:
    for clause in clauses:
        case = clause.cases[0]
        finding = next(
            each for each in case.findings if each.clause == clause.requirement.id and not each.kept
        )
        yield f"{title}: {clause.requirement.id} {clause.requirement.text}"
        yield f"    {case.id}: {finding.what}: expected {finding.expected}, got {finding.got}"[:300]
