"""The HTML report: the verdicts, then what is broken, then every clause, with what was sent and what came back."""

import re
from collections.abc import Iterator
from html import escape

from kserve_v2_conformance import __version__
from kserve_v2_conformance.exchange import Exchange
from kserve_v2_conformance.findings import Finding
from kserve_v2_conformance.report.rows import Row, headline, remarks, rows, untested
from kserve_v2_conformance.report.style import CLASSES, SCRIPT, VERDICT_CLASSES, bar, page
from kserve_v2_conformance.results import CaseResult, ClauseResult, Outcome, Results
from kserve_v2_conformance.verdicts import part_of

_CASES_SHOWN = 3
_FINDINGS_SHOWN = 4


def html_report(results: Results) -> str:
    """One page, which needs nothing else."""
    clauses = results.clauses()
    table = rows(results, clauses)
    title = f"{results.server['name']} {results.server['version']}".strip()
    body = [_head(results, table), _links(clauses), _overview(table), _untested(results), _buttons(clauses)]
    body += _section(
        "Broken, and how it shows",
        "broken",
        [each for each in clauses if each.outcome is Outcome.FAILED],
        open_=True,
    )
    for row in table:
        part = row.verdict.part
        own = [
            each
            for each in clauses
            if part_of(each.requirement) == part and each.outcome is not Outcome.FAILED
        ]
        body += _section(part, anchor(part), own)
    return page(f"{title}: v2 conformance", "\n".join(body), SCRIPT)


def anchor(part: str) -> str:
    """The id of a part's section."""
    return f"part-{part.replace(' ', '-')}"


def prose(text: str) -> str:
    """Text of the requirements as HTML: what stands between backticks is code.

    >>> prose("The boolean `live` < 2")
    'The boolean <code>live</code> &lt; 2'
    """
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _head(results: Results, table: list[Row]) -> str:
    server = results.server
    word, rests_on = headline(table)
    noted = "".join(f'<p class="fail">{escape(each)}</p>' for each in remarks(results))
    addresses = ", ".join(escape(each) for each in (server["rest"], server["grpc"]) if each)
    return (
        f"<h1>{escape(server['name'])} {escape(server['version'])}</h1>"
        f'<p class="verdict {VERDICT_CLASSES[word]}">{word}</p>'
        f'<p>KServe v2 / Open Inference Protocol: {escape(rests_on)}</p>{noted}<p class="dim">{results.date} · '
        f"{addresses} · suite {__version__} · {len(results.cases)} cases<br>extensions: "
        f"{escape(', '.join(server['extensions'])) or 'none advertised'}</p>"
    )


def _links(clauses: list[ClauseResult]) -> str:
    """What is broken, where everybody looks first; the evidence is further down."""
    broken = [each.requirement for each in clauses if each.outcome is Outcome.FAILED]
    lines = "".join(
        f'<li><a href="#{each.id}"><code>{each.id}</code></a> {prose(each.text)}</li>' for each in broken
    )
    return f"<h2>Broken</h2><ul>{lines}</ul>" if broken else ""


def _overview(table: list[Row]) -> str:
    lines = []
    for row in table:
        verdict = row.verdict
        advice = f"{row.ignored} of {row.advice}" if row.advice else "·"
        why = f'<br><span class="dim">{escape(verdict.why)}</span>' if verdict.why else ""
        lines.append(
            f'<tr><td><a href="#{anchor(verdict.part)}">{escape(verdict.part)}</a></td>'
            f'<td class="{VERDICT_CLASSES[verdict.word]}">{verdict.word}{why}</td>'
            f'<td class="n">{verdict.covered} of {verdict.required}, {verdict.share}{bar(row.counts)}</td>'
            f'<td class="n">{row.broken or "·"}</td><td class="n spare">{advice}</td></tr>'
        )
    head = (
        '<tr><th>part</th><th>verdict</th><th class="n">required clauses tested</th><th class="n">broken</th>'
        '<th class="n spare">advice not followed</th></tr>'
    )
    return f'<h2 id="verdicts">Verdicts</h2><div class="wide"><table>{head}{"".join(lines)}</table></div>'


def _untested(results: Results) -> str:
    reasons = untested(results)
    lines = "".join(
        f"<li>{count} case{'s' if count > 1 else ''}: {escape(reason)}</li>"
        for reason, count in reasons.items()
    )
    return f'<h2 id="untested">Not tested</h2><ul>{lines}</ul>' if reasons else ""


def _buttons(clauses: list[ClauseResult]) -> str:
    counts = {name: sum(clause.outcome == name for clause in clauses) for name in CLASSES}
    buttons = "".join(
        f'<button value="{name}" aria-pressed="false">{escape(name)} {count}</button>'
        for name, count in counts.items()
        if count
    )
    return (
        f'<h2 id="clauses">Clauses</h2><nav><button value="all" aria-pressed="true">all {len(clauses)}</button>'
        f"{buttons}</nav>"
    )


def _section(title: str, name: str, clauses: list[ClauseResult], open_: bool = False) -> Iterator[str]:
    if clauses:
        entries = "\n".join(_clause(each, open_) for each in clauses)
        yield f'<section class="part"><h2 id="{name}">{escape(title)}</h2>\n{entries}</section>'


def _clause(clause: ClauseResult, open_: bool) -> str:
    requirement, outcome = clause.requirement, clause.outcome
    origin = (
        f'<a href="{escape(requirement.url)}">{escape(requirement.source)}</a>, {escape(requirement.section)}'
    )
    reading = (
        f'<p class="dim">Read so because: {prose(requirement.reading)}</p>' if requirement.reading else ""
    )
    reason = f'<p class="dim">{escape(clause.reason)}</p>' if clause.reason else ""
    known = f'<p class="known">known: {escape(clause.known)}</p>' if clause.known else ""
    shown = _CASES_SHOWN if outcome not in (Outcome.PASSED, Outcome.NOT_COVERED) else 1
    evidence = "".join(
        _case(clause, case) for case in clause.cases[:shown] if outcome is not Outcome.NOT_COVERED
    )
    others = f'<p class="dim">also: {escape(", ".join(each.id for each in clause.cases[shown:]))}</p>'
    return (
        f'<details id="{requirement.id}" data-outcome="{outcome}"{" open" if open_ else ""}><summary>'
        f'<a href="#{requirement.id}"><code>{requirement.id}</code></a>'
        f'<span class="level">{requirement.level}</span><span class="says">{prose(requirement.text)}</span>'
        f'<span class="{CLASSES[outcome]}">{outcome}</span></summary>'
        f'<p class="dim">{origin}</p>'
        f"{reading}{reason}{known}{evidence}{others if clause.cases[shown:] else ''}</details>"
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
    trace = f"<pre>{escape(case.reason)}</pre>" if case.reason else ""
    shows_wrong = clause.outcome is not Outcome.PASSED
    return (
        f'<div class="case"><b>{escape(case.id)}</b> <span class="dim">{prose(case.about)}</span>'
        f"{lines}{more}{trace}{''.join(_exchange(case, listed, shows_wrong))}</div>"
    )


def _finding(finding: Finding) -> str:
    sign = '<span class="pass">✓</span>' if finding.kept else '<span class="fail">✗</span>'
    return (
        f'<div class="finding">{sign} {escape(finding.what)}: <span class="dim">expected</span> '
        f'{escape(finding.expected)}, <span class="dim">got</span> {escape(finding.got)}</div>'
    )


def _exchange(case: CaseResult, findings: list[Finding], with_command: bool) -> Iterator[str]:
    """The exchange that the first finding is about."""
    index = next((finding.exchange for finding in findings if finding.exchange >= 0), -1)
    if 0 <= index < len(case.exchanges):
        exchange = case.exchanges[index]
        yield (
            f'<div class="pair"><div><span class="label">request, {exchange.protocol}</span>'
            f'<pre>{escape(exchange.request)}</pre></div><div><span class="label">answer</span>'
            f"<pre>{escape(exchange.answer)}</pre></div></div>{_command(exchange) if with_command else ''}"
        )


def _command(exchange: Exchange) -> str:
    return f'<span class="label">again</span><pre>{escape(exchange.command())}</pre>'
