"""Sets reports side by side: several servers, or two runs of one; as Markdown, as HTML, or one report as a badge."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from kserve_v2_conformance.report.badge import badge
from kserve_v2_conformance.report.html import prose
from kserve_v2_conformance.report.markdown import cell
from kserve_v2_conformance.report.style import CLASSES, VERDICT_CLASSES, bar, page
from kserve_v2_conformance.requirements import requirements
from kserve_v2_conformance.results import Outcome
from kserve_v2_conformance.verdicts import Verdict, Word, parts

_SIGNS = {"pass": "✓", "fail": "✗", "not as advised": "~", "not covered": "·"}
_WORST_FIRST = (Outcome.FAILED, Outcome.ADVISED, Outcome.NOT_COVERED, Outcome.PASSED)
_LEGEND = ", ".join(f"{sign} {name}" for name, sign in _SIGNS.items())


class CompareError(ValueError):
    """Reports that cannot be compared; the text says why."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report, read back. `outcomes`: by clause; `verdicts`: by part; `partial`: why it is not whole."""

    server: str
    date: str
    partial: str
    outcomes: dict[str, Outcome]
    verdicts: dict[str, Verdict]

    def outcome(self, clause: str) -> Outcome:
        """What became of a clause; one that the report's suite did not have was not covered."""
        return self.outcomes.get(clause, Outcome.NOT_COVERED)


def compare(files: Sequence[Path], output: Path | None) -> str:
    """The comparison of report files; written to `output` if given. Raises CompareError."""
    reports = [_read(file) for file in files]
    suffix = output.suffix if output else ".md"
    match suffix:
        case ".md":
            text = _markdown(reports)
        case ".html":
            text = _html(reports)
        case ".svg":
            if len(reports) != 1:
                raise CompareError("a badge is about one server: give one report")
            text = badge(list(reports[0].verdicts.values()))
        case _:
            raise CompareError(f"{output}: expected a name that ends in .md, .html or .svg")
    if output:
        output.write_text(text + "\n", encoding="utf-8")
    return text


def _read(file: Path) -> Report:
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        known = [each for each in document["clauses"] if each["id"] in requirements()]
        outcomes = {each["id"]: Outcome(each["outcome"]) for each in known}
        verdicts = {each["part"]: _verdict(each) for each in document["verdicts"]}
        name = f"{document['server']['name']} {document['server']['version']}".strip()
        return Report(name, document["date"], document["partial"], outcomes, verdicts)
    except (KeyError, TypeError, ValueError) as error:
        raise CompareError(
            f"{file}: no report of this suite, or of another version of it: {type(error).__name__}: {error}"
        ) from None


def _verdict(entry: dict[str, Any]) -> Verdict:
    return Verdict(
        part=entry["part"],
        word=Word(entry["verdict"]),
        required=int(entry["required"]),
        covered=int(entry["covered"]),
        broken=int(entry["broken"]),
        asked=bool(entry["asked"]),
        enough=not entry["why"],
        why=str(entry["why"]),
    )


def _titles(reports: Sequence[Report]) -> list[str]:
    """What the columns are called: runs of one server by their dates, or by their order if those are one, too."""
    names = [each.server for each in reports]
    if len(set(names)) == len(names):
        return names
    dated = [f"{each.server}, {each.date}" for each in reports]
    return dated if len(set(dated)) == len(dated) else [f"{name} ({n})" for n, name in enumerate(dated, 1)]


def _changed(first: Report, second: Report) -> list[tuple[str, Outcome, Outcome]]:
    """The clauses whose outcome is another in the second report, with both outcomes: what is broken there, first."""
    found = [
        (clause, first.outcome(clause), second.outcome(clause))
        for clause in requirements()
        if first.outcome(clause) is not second.outcome(clause)
    ]
    return sorted(found, key=lambda each: _WORST_FIRST.index(each[2]))


def _differing(reports: list[Report]) -> list[str]:
    """The clauses that at least one server does not keep."""
    kept = (Outcome.PASSED, Outcome.NOT_COVERED)
    return [
        clause for clause in requirements() if any(report.outcome(clause) not in kept for report in reports)
    ]


def _kept(report: Report, part: str) -> tuple[Word, str, dict[str, int]]:
    """The verdict on a part, how many of its clauses are kept of those tested, and the counts of its bar."""
    verdict = report.verdicts.get(part)
    if verdict is None:
        return Word.NOT_TESTED, "", {}
    kept = verdict.covered - verdict.broken
    counts = {"pass": kept, "fail": verdict.broken, "not covered": verdict.required - verdict.covered}
    return verdict.word, f"{kept} of {verdict.covered}" if verdict.covered else "", counts


def _markdown(reports: list[Report]) -> str:
    names = " | ".join(map(cell, _titles(reports)))
    line = "---|" * len(reports)
    lines = [
        f"{name}: {each.partial}\n"
        for name, each in zip(_titles(reports), reports, strict=True)
        if each.partial
    ]
    lines += [f"| verdict, required clauses kept | {names} |", f"|---|{line}"]
    for part in parts():
        cells = (
            f"{word}, {kept}" if kept else "–" for word, kept, _ in (_kept(each, part) for each in reports)
        )
        lines.append(f"| {part} | {' | '.join(cells)} |")
    if len(reports) == 2:
        changed = _changed(*reports)
        lines += ["", f"Clauses with another outcome in the second report: {len(changed)}."]
        lines += ["", "| clause | first | second | says |", "|---|---|---|---|"] if changed else []
        lines += [
            f"| {clause} | {old} | {new} | {cell(requirements()[clause].text)} |"
            for clause, old, new in changed
        ]
    lines += ["", f"| clause | level | says | {names} |", f"|---|---|---|{line}"]
    for clause in _differing(reports):
        requirement = requirements()[clause]
        signs = " | ".join(_SIGNS[report.outcome(clause)] for report in reports)
        lines.append(f"| {clause} | {requirement.level} | {cell(requirement.text)} | {signs} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{_LEGEND}. Clauses that every server keeps, or that none was tested for, are left out.",
        ]
    )


def _html(reports: list[Report]) -> str:
    names = "".join(
        f'<th>{escape(title)}<br><span class="dim">{escape(each.partial or each.date)}</span></th>'
        for title, each in zip(_titles(reports), reports, strict=True)
    )
    lines = []
    for part in parts():
        cells = "".join(
            f'<td><span class="{VERDICT_CLASSES[word]}">{word}</span> {kept}{bar(counts)}</td>'
            for word, kept, counts in (_kept(each, part) for each in reports)
        )
        lines.append(f"<tr><td>{escape(part)}</td>{cells}</tr>")
    clauses = "".join(_html_clause(clause, reports) for clause in _differing(reports))
    head = f"<tr><th>clause</th><th>says</th>{names}</tr>"
    return page(
        "v2 conformance, side by side",
        "<h1>KServe v2 / Open Inference Protocol: servers side by side</h1>"
        f'<h2>Verdicts, and required clauses kept</h2><div class="wide"><table><tr><th></th>{names}</tr>'
        f"{''.join(lines)}</table></div>{_html_changes(reports)}"
        f'<h2>Clauses that not all keep</h2><div class="wide"><table>{head}{clauses}</table></div>',
    )


def _html_changes(reports: list[Report]) -> str:
    if len(reports) != 2:
        return ""
    lines = "".join(
        f'<li><code>{clause}</code>: <span class="{CLASSES[old]}">{old}</span>, then '
        f'<span class="{CLASSES[new]}">{new}</span>. {prose(requirements()[clause].text)}</li>'
        for clause, old, new in _changed(*reports)
    )
    return f"<h2>Changed in the second</h2><ul>{lines or '<li>nothing</li>'}</ul>"


def _html_clause(clause: str, reports: list[Report]) -> str:
    requirement = requirements()[clause]
    cells = "".join(
        f'<td class="{CLASSES[outcome]}">{outcome}</td>'
        for outcome in (report.outcome(clause) for report in reports)
    )
    origin = f"{escape(requirement.source)}, {escape(requirement.section)}"
    says = f'{prose(requirement.text)}<br><span class="dim">{origin}</span>'
    head = f'<code>{clause}</code><br><span class="level">{requirement.level}</span>'
    return f'<tr id="{clause}"><td>{head}</td><td>{says}</td>{cells}</tr>'
