"""What came of the trials: a table of the frontier, a chart, a page, and in words what is to be done."""

from collections.abc import Iterator, Mapping
from html import escape
from statistics import median
from typing import Any, NamedTuple

from kserve_v2.bench.charts import Chart, Series
from kserve_v2.bench.page import document, notes_of, table_of
from kserve_v2.bench.table import aligned
from kserve_v2.tuning.candidate import Candidate
from kserve_v2.tuning.frontier import Measured, frontier, together
from kserve_v2.tuning.search import FAILED, Score
from kserve_v2.tuning.trials import Findings, Terms

Json = dict[str, Any]


class Analysis(NamedTuple):
    """Everything of one run. `request`: what was sent, in words. `notes`: what has to be known besides."""

    model: str
    request: str
    terms: Terms
    found: Findings
    candidates: int
    notes: tuple[str, ...] = ()


HEAD = ("configuration", "connections", "rows/s", "p50 ms", "p99 ms", "batch", "")


def rows_of(analysis: Analysis) -> list[list[str]]:
    """The frontier, as a table with HEAD above it."""
    found = analysis.found
    rows = []
    for each in frontier(together(found.measured)):
        marks = [
            name
            for name, candidate in (("current", found.start), ("chosen", found.winner))
            if each.candidate == candidate
        ]
        if not _within(each, analysis.terms):
            marks.append("over the budget")
        batch = "" if each.mean_batch is None else f"{each.mean_batch:.1f}"
        rows.append(
            [str(each.candidate), str(each.concurrency), f"{each.per_second:,.0f}", f"{each.p50_ms:.2f}",
             f"{each.p99_ms:.2f}", batch, ", ".join(marks)]
        )  # fmt: skip
    return rows


def _within(each: Measured, terms: Terms) -> bool:
    return terms.budget_ms is None or each.p99_ms <= terms.budget_ms


def text(analysis: Analysis) -> str:
    """All of it for people."""
    return "\n".join(
        [
            f"{analysis.model}: {analysis.request}",
            "",
            "Throughput against latency: what nothing else beats in both",
            aligned(HEAD, rows_of(analysis)),
            "",
            *notes(analysis),
        ]
    )


def verdict(analysis: Analysis) -> str:
    """What is to be done, in one sentence."""
    found, budget = analysis.found, analysis.terms.budget_ms
    start, best = (found.scores.get(each, FAILED) for each in (found.start, found.best))
    over = (
        "" if start.within or budget is None else f" It does not stay within {budget:g} ms: {_said(start)}."
    )
    if not found.decided:
        if found.best == found.start:
            return f"Keep the current configuration ({found.start}): nothing that was tried is better.{over}"
        if found.over_budget and found.over_budget[-1][0] == found.best:
            return f"Keep the current configuration ({found.start}): {_too_slow(found, budget)}.{over}"
        return (
            f"Keep the current configuration ({found.start}): {found.best} was not better in every round by "
            f"{analysis.terms.least_gain:.0%} or more, which is no difference within the noise.{over}"
        )
    return (
        f"Take {found.winner} in place of {found.start}: {gain(found)}. Measured first: {_said(best)}.{over}"
    )


def _too_slow(found: Findings, budget_ms: float | None) -> str:
    """Why what was faster is not taken."""
    said = [f"{candidate} had a p99 of {p99_ms:.2f} ms" for candidate, p99_ms in found.over_budget]
    return (
        f"measured in turn with it, {', '.join(said)}, the median of the rounds, which is over the budget of "
        f"{budget_ms:g} ms"
    )


def gain(found: Findings) -> str:
    """What the winner brings, by the rounds of the last comparison."""
    rounds = found.rounds
    if not found.scores[found.start].within:
        old, new = (median(each[which].p99_ms for each in rounds) for which in (0, 1))
        return f"a p99 of {new:.2f} ms in place of {old:.2f} ms, the medians of {len(rounds)} rounds"
    ratios = [new.per_second / old.per_second if old.per_second else float("inf") for old, new in rounds]
    span = f"{min(ratios):.2f} to {max(ratios):.2f} in {len(rounds)} rounds"
    return f"{median(ratios):.2f} times the throughput, {span}"


def _said(score: Score) -> str:
    return f"{score.per_second:,.0f} rows/s with a p99 of {score.p99_ms:.2f} ms"


def notes(analysis: Analysis) -> Iterator[str]:
    """The verdict, and what has to be known of it."""
    found = analysis.found
    yield verdict(analysis)
    tried = len(found.scores)
    yield f"Tried {tried} of {analysis.candidates} configurations, {len(found.measured)} measurements."
    if found.out_of_time:
        yield f"The time (--minutes {analysis.terms.minutes:g}) was over before the search was: others may be better."
    for candidate, why in found.refused.items():
        yield f"Could not be used: {candidate}: {why}"
    for candidate, number in failures(found).items():
        yield f"Failed {number} requests, and does not count: {candidate}"
    yield from analysis.notes


def failures(found: Findings) -> dict[Candidate, int]:
    """Requests that failed, by candidate."""
    failed: dict[Candidate, int] = {}
    for each in found.measured:
        if each.errors:
            failed[each.candidate] = failed.get(each.candidate, 0) + each.errors
    return failed


def chart_of(analysis: Analysis) -> Chart:
    """Latency by throughput: all that was measured, the frontier as a line, the budget as another."""
    terms, found = analysis.terms, analysis.found
    points = together(found.measured)
    best = frontier(points)
    others = [each for each in points if each not in best and each.per_second > 0]
    of_start = [each for each in others if each.candidate == found.start]
    rest = [each for each in others if each.candidate != found.start]
    return Chart(
        f"{analysis.model}: throughput against latency",
        "rows per second",
        "p99 latency, ms",
        [
            Series("what nothing beats", _points(best)),
            Series("current configuration", _points(of_start), _labels(of_start), line=False),
            Series("others", _points(rest), _labels(rest), line=False),
        ],
        None if terms.budget_ms is None else (terms.budget_ms, f"budget {terms.budget_ms:g} ms"),
    )


def _points(measured: list[Measured]) -> list[tuple[float, float]]:
    return [(each.per_second, each.p99_ms) for each in measured]


def _labels(measured: list[Measured]) -> list[str]:
    return [f"{each.candidate}; {each.concurrency} connections" for each in measured]


def page(analysis: Analysis, config: str) -> str:
    """As one HTML file that loads nothing. `config`: what is to be written."""
    parts = (
        f"<p>{escape(analysis.request)}</p>",
        notes_of(notes(analysis)),
        f'<div class="wide">{table_of(HEAD, rows_of(analysis))}</div>',
        f"<h2>config.pbtxt</h2><pre>{escape(config)}</pre>",
    )
    return document(f"{analysis.model}: analyze", parts, [chart_of(analysis)])


def as_json(analysis: Analysis, config: str) -> Json:
    """For programs."""
    found = analysis.found
    return {
        "model": analysis.model,
        "request": analysis.request,
        "latency_budget_ms": analysis.terms.budget_ms,
        "current": found.start._asdict(),
        "chosen": found.winner._asdict(),
        "changed": found.decided,
        "verdict": verdict(analysis),
        "notes": list(notes(analysis))[1:],
        "frontier": [_measured_json(each) for each in frontier(together(found.measured))],
        "measured": [_measured_json(each) for each in found.measured],
        "rounds": [[_finite(old._asdict()), _finite(new._asdict())] for old, new in found.rounds],
        "config": config,
    }


def _measured_json(each: Measured) -> Json:
    members = each._asdict()
    return _finite({**members.pop("candidate")._asdict(), **members})


def _finite(members: Mapping[str, Any]) -> Json:
    """JSON has no infinity."""
    return {name: None if value == float("inf") else value for name, value in members.items()}
