"""The Markdown report: the verdicts, and what is broken."""

from collections.abc import Iterator
from html import escape

from kserve_v2_conformance.report.rows import Row, headline, remarks, rows, telling, untested
from kserve_v2_conformance.results import ClauseResult, Outcome, Results

_CASES_NAMED = 3


def markdown_report(results: Results) -> str:
    """A page for a repository or an issue."""
    clauses = results.clauses()
    server, table = results.server, rows(results, clauses)
    word, rests_on = headline(table)
    lines = [
        f"# {server['name']} {server['version']}".rstrip(),
        "",
        f"**{word}**: {rests_on}. {results.date}. "
        f"Extensions: {', '.join(server['extensions']) or 'none advertised'}.",
        *(f"\n{cell(remark)}" for remark in remarks(results)),
        "",
        "| part | verdict | clauses tested | | broken | advice not followed | |",
        "|---|---|---:|---:|---:|---:|---|",
        *map(_row, table),
    ]
    lines += _section("Broken", clauses, Outcome.FAILED)
    lines += _section("Not as advised", clauses, Outcome.ADVISED)
    reasons = untested(results)
    if reasons:
        lines += ["", "## Not tested", "", "| cases | why |", "|---:|---|"]
        lines += [f"| {count} | {cell(reason)} |" for reason, count in reasons.items()]
    return "\n".join(lines)


def _row(row: Row) -> str:
    verdict = row.verdict
    advice = f"{row.ignored} of {row.advice}" if row.advice else ""
    tested = f"{verdict.covered} of {verdict.required} | {verdict.share}"
    return f"| {verdict.part} | {verdict.word} | {tested} | {row.broken or ''} | {advice} | {verdict.why} |"


def _section(title: str, clauses: list[ClauseResult], outcome: Outcome) -> Iterator[str]:
    chosen = [clause for clause in clauses if clause.outcome is outcome]
    if not chosen:
        return
    yield from ("", f"## {title}", "", "| clause | says | seen | cases |", "|---|---|---|---|")
    for clause in chosen:
        _, finding = telling(clause)
        seen = f"{finding.what}: expected {finding.expected}, got {finding.got}"
        seen += f" (known: {clause.known})" if clause.known else ""
        broken = [case.id for case in clause.cases if case.breaks(clause.requirement.id)]
        more = len(broken) - _CASES_NAMED
        cases = ", ".join(broken[:_CASES_NAMED]) + (f" and {more} more" if more > 0 else "")
        cells = (clause.requirement.id, clause.requirement.text, seen, cases)
        yield f"| {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """Text that neither ends a cell nor passes for HTML."""
    return escape(text, quote=False).replace("|", "\\|").replace("\n", " ")
