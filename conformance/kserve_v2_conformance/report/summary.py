"""The summary in the terminal: what is broken, what was not tested and why, and the verdicts."""

from collections.abc import Iterable, Iterator
from textwrap import indent, shorten

from kserve_v2_conformance.exchange import Exchange
from kserve_v2_conformance.report.rows import Row, headline, remarks, rows, telling, untested
from kserve_v2_conformance.results import CaseResult, ClauseResult, Outcome, Results

_OTHERS_NAMED = 3
_LINES = 12


def summary(results: Results) -> Iterator[str]:
    """The lines of the summary. What matters most is at the end, where people look first."""
    clauses = results.clauses()
    table = rows(results, clauses)
    shown: dict[int, str] = {}
    for clause in clauses:
        if clause.outcome is Outcome.FAILED:
            yield from _broken(clause, shown)
    yield from _advice(clause for clause in clauses if clause.outcome is Outcome.ADVISED)
    yield from _untested(results)
    yield from _table(results, table)
    word, rests_on = headline(table)
    yield ""
    yield from remarks(results)
    yield f"verdict: {word} ({rests_on})"


def _broken(clause: ClauseResult, shown: dict[int, str]) -> Iterator[str]:
    """A clause that is broken, said once, however many cases show it. `shown`: which exchanges were, and for which."""
    requirement = clause.requirement
    case, finding = telling(clause)
    yield f"BROKEN  {requirement.id}  {requirement.level}  {requirement.text}"
    yield f"    case {case.id}: {shorten(finding.what, 200)}"
    yield f"    expected  {shorten(finding.expected, 300)}"
    yield f"    got       {shorten(finding.got, 300)}"
    if 0 <= finding.exchange < len(case.exchanges):
        yield from _exchange(case.exchanges[finding.exchange], requirement.id, shown)
    if clause.known:
        yield f"    known: {clause.known}"
    if case.reason:
        yield indent(case.reason, "    ")
    yield from _others(clause, case)
    yield ""


def _exchange(exchange: Exchange, clause: str, shown: dict[int, str]) -> Iterator[str]:
    """What was sent, what came back, and how to send it again; one that breaks several clauses, once."""
    first = shown.setdefault(id(exchange), clause)
    if first != clause:
        yield f"    seen in the same answer as {first}"
        return
    yield indent(_head(exchange.request), "    > ")
    yield indent(_head(exchange.answer), "    < ")
    yield f"    again: {exchange.command()}"


def _others(clause: ClauseResult, shown: CaseResult) -> Iterator[str]:
    others = [each.id for each in clause.cases if each is not shown and each.breaks(clause.requirement.id)]
    if others:
        more = len(others) - _OTHERS_NAMED
        named = ", ".join(others[:_OTHERS_NAMED])
        yield f"    also by: {named}{f' and {more} more' if more > 0 else ''}"


def _head(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join([*lines[:_LINES], *(["…"] if len(lines) > _LINES else [])])


def _advice(clauses: Iterable[ClauseResult]) -> Iterator[str]:
    for clause in clauses:
        case, finding = telling(clause)
        yield f"not as advised: {clause.requirement.id} {clause.requirement.text}"
        seen = f"{case.id}: {finding.what}: expected {finding.expected}, got {finding.got}"
        yield f"    {shorten(seen, 300)}"


def _untested(results: Results) -> Iterator[str]:
    reasons = untested(results)
    if reasons:
        yield ""
        yield "not tested:"
    for reason, count in reasons.items():
        yield f"    {count} case{'s' if count > 1 else ''}: {reason}"
    plain = next(each for each in results.clauses() if each.requirement.id == "REST-INFER-001")
    if plain.outcome is Outcome.NOT_COVERED and any("has no model" in case.reason for case in plain.cases):
        yield "No inference was tested: the server has none of the test models. Name two of its own in a --profile."


def _table(results: Results, table: list[Row]) -> Iterator[str]:
    server = results.server
    yield ""
    yield f"{server['name']} {server['version']}".strip()
    lines = [("part", "verdict", "clauses tested", "", "broken", "advice not followed", "")]
    for row in table:
        verdict = row.verdict
        lines.append(
            (
                verdict.part,
                str(verdict.word),
                f"{verdict.covered} of {verdict.required}",
                verdict.share,
                str(row.broken or "·"),
                f"{row.ignored} of {row.advice}" if row.advice else "·",
                verdict.why,
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [
            cell.ljust(widths[column]) if column in (0, 1, 6) else cell.rjust(widths[column])
            for column, cell in enumerate(line)
        ]
        yield "  ".join(cells).rstrip()
