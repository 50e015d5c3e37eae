"""The HTML report: every clause, what was sent, what came back, and what the specification says."""

from collections.abc import Iterator
from html import escape

from kserve_v2_conformance import __version__
from kserve_v2_conformance.findings import Finding
from kserve_v2_conformance.report.style import CLASSES, FILTER, bar, page
from kserve_v2_conformance.report.table import Row, part_of, rows
from kserve_v2_conformance.results import CaseResult, ClauseResult, Outcome, Results

_CASES_SHOWN = 3
_FINDINGS_SHOWN = 4


def html_report(results: Results) -> str:
    """One page, which needs nothing else."""
    clauses = results.clauses()
    title = f"{results.server['name']} {results.server['version']}: v2 conformance".replace(" :", ":")
    body = [_head(results, clauses), _overview(rows(clauses)), _buttons(clauses)]
    for row in rows(clauses):
        own = [clause for clause in clauses if part_of(clause.requirement) == row.part]
        entries = "\n".join(map(_clause, own))
        body.append(f'<section class="part"><h2>{escape(row.part)}</h2>\n{entries}</section>')
    return page(title, "\n".join(body), FILTER)


def _head(results: Results, clauses: list[ClauseResult]) -> str:
    server = results.server
    failed = sum(clause.outcome is Outcome.FAILED for clause in clauses)
    covered = sum(clause.outcome is not Outcome.NOT_COVERED for clause in clauses)
    verdict = (
        f'<span class="fail">breaks {failed} of {covered} clauses</span>'
        if failed
        else f'<span class="pass">keeps every required clause, of {covered} that were tested</span>'
    )
    stale = "".join(
        f'<p class="fail">Fails no more, but is listed: {escape(entry)}</p>' for entry in results.stale
    )
    addresses = ", ".join(escape(each) for each in (server["rest"], server["grpc"]) if each)
    return (
        f"<h1>{escape(server['name'])} {escape(server['version'])}</h1>"
        f'<p>{verdict} of the KServe v2 / Open Inference Protocol</p><p class="dim">{results.date} · {addresses} · '
        f"suite {__version__} · {len(results.cases)} cases<br>extensions: "
        f"{escape(', '.join(server['extensions'])) or 'none advertised'}</p>{stale}"
    )


def _overview(table: list[Row]) -> str:
    lines = []
    for row in table:
        counts = {str(outcome): count for outcome, count in row.counts.items()}
        kind = {"FAILS": "fail", "conforms": "pass"}.get(row.verdict, "none")
        shown = row.verdict if row.verdict != "-" else "not covered"
        cells = "".join(f'<td class="n">{count or "·"}</td>' for count in counts.values())
        lines.append(
            f'<tr><td>{escape(row.part)}</td>{cells}<td>{bar(counts)}</td><td class="{kind}">{shown}</td></tr>'
        )
    names = "".join(f'<th class="n">{escape(name)}</th>' for name in CLASSES)
    return f"<h2>Overview</h2><table><tr><th>clauses of</th>{names}<th></th><th></th></tr>{''.join(lines)}</table>"


def _buttons(clauses: list[ClauseResult]) -> str:
    counts = {name: sum(clause.outcome == name for clause in clauses) for name in CLASSES}
    buttons = "".join(
        f'<button value="{name}" aria-pressed="false">{escape(name)} {count}</button>'
        for name, count in counts.items()
        if count
    )
    return f'<h2>Clauses</h2><nav><button value="all" aria-pressed="true">all {len(clauses)}</button>{buttons}</nav>'


def _clause(clause: ClauseResult) -> str:
    requirement, outcome = clause.requirement, clause.outcome
    origin = (
        f'<a href="{escape(requirement.url)}">{escape(requirement.source)}</a>, {escape(requirement.section)}'
    )
    reading = (
        f'<p class="dim">Read so because: {escape(requirement.reading)}</p>' if requirement.reading else ""
    )
    reason = f'<p class="dim">{escape(clause.reason)}</p>' if clause.reason else ""
    shown = _CASES_SHOWN if outcome not in (Outcome.PASSED, Outcome.NOT_COVERED) else 1
    evidence = "".join(
        _case(clause, case) for case in clause.cases[:shown] if outcome is not Outcome.NOT_COVERED
    )
    others = f'<p class="dim">also: {escape(", ".join(each.id for each in clause.cases[shown:]))}</p>'
    return (
        f'<details id="{requirement.id}" data-outcome="{outcome}"><summary><code>{requirement.id}</code>'
        f'<span class="level">{requirement.level}</span><span>{escape(requirement.text)}</span>'
        f'<span class="{CLASSES[outcome]}">{outcome}</span></summary>'
        f'<p class="dim">{origin}</p>'
        f"{reading}{reason}{evidence}{others if clause.cases[shown:] else ''}</details>"
    )


def _case(clause: ClauseResult, case: CaseResult) -> str:
    own = sorted(
        (finding for finding in case.findings if finding.clause == clause.requirement.id),
        key=lambda each: each.kept,
    )
    listed = (
        own if clause.outcome is Outcome.PASSED else [finding for finding in own if not finding.kept] or own
    )
    lines = "".join(map(_finding, listed[:_FINDINGS_SHOWN]))
    more = (
        f'<p class="dim">and {len(listed) - _FINDINGS_SHOWN} more</p>'
        if len(listed) > _FINDINGS_SHOWN
        else ""
    )
    known = f'<p class="known">known: {escape(case.reason)}</p>' if case.outcome is Outcome.KNOWN else ""
    return (
        f'<div class="case"><b>{escape(case.id)}</b> <span class="dim">{escape(case.about)}</span>{known}'
        f"{lines}{more}{''.join(_exchange(case, listed))}</div>"
    )


def _finding(finding: Finding) -> str:
    sign = '<span class="pass">✓</span>' if finding.kept else '<span class="fail">✗</span>'
    return (
        f'<div>{sign} {escape(finding.what)}: <span class="dim">expected</span> {escape(finding.expected)}, '
        f'<span class="dim">got</span> {escape(finding.got)}</div>'
    )


def _exchange(case: CaseResult, findings: list[Finding]) -> Iterator[str]:
    """The exchange that the first finding is about."""
    index = next((finding.exchange for finding in findings if finding.exchange >= 0), -1)
    if 0 <= index < len(case.exchanges):
        exchange = case.exchanges[index]
        yield (
            f'<div class="pair"><div><span class="label">request, {exchange.protocol}</span>'
            f'<pre>{escape(exchange.request)}</pre></div><div><span class="label">answer</span>'
            f"<pre>{escape(exchange.answer)}</pre></div></div>"
        )
