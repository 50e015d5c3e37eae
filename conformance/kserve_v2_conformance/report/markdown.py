"""The Markdown report: the summary, and what is broken."""

from collections.abc import Iterator
from html import escape

from kserve_v2_conformance.report.table import COLUMNS, rows
from kserve_v2_conformance.results import ClauseResult, Outcome, Results


def markdown_report(results: Results) -> str:
    """A page for a repository or an issue."""
    clauses = results.clauses()
    server = results.server
    lines = [
        f"# {server['name']} {server['version']}".rstrip(),
        "",
        f"{results.date}. Extensions: {', '.join(server['extensions']) or 'none advertised'}.",
        "",
        f"| clauses of | {' | '.join(COLUMNS)} | |",
        f"|---|{'---:|' * len(COLUMNS)}---|",
        *(
            f"| {row.part} | {' | '.join(str(row.counts[each] or '') for each in COLUMNS)} | {row.verdict} |"
            for row in rows(clauses)
        ),
    ]
    lines += _section("Broken", clauses, Outcome.FAILED)
    lines += _section("Known failures", clauses, Outcome.KNOWN)
    lines += _section("Not as advised", clauses, Outcome.ADVISED)
    if results.stale:
        lines += ["", f"Known failures that fail no more: {', '.join(results.stale)}."]
    return "\n".join(lines)


def _section(title: str, clauses: list[ClauseResult], outcome: Outcome) -> Iterator[str]:
    chosen = [clause for clause in clauses if clause.outcome is outcome]
    if not chosen:
        return
    yield from ("", f"## {title}", "", "| clause | says | seen | cases |", "|---|---|---|---|")
    for clause in chosen:
        finding = next(
            each
            for each in clause.cases[0].findings
            if each.clause == clause.requirement.id and not each.kept
        )
        seen = f"{finding.what}: expected {finding.expected}, got {finding.got}"
        broken = [
            case.id
            for case in clause.cases
            if any(e.clause == finding.clause and not e.kept for e in case.findings)
        ]
        cases = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
        cells = (clause.requirement.id, clause.requirement.text, seen, cases)
        yield f"| {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """Text that neither ends a cell nor passes for HTML."""
    return escape(text, quote=False).replace("|", "\\|").replace("\n", " ")
