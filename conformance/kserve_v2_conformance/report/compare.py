"""Sets reports side by side: as Markdown, as HTML, or one of them as a badge."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from kserve_v2_conformance.report.badge import badge
from kserve_v2_conformance.report.markdown import cell
from kserve_v2_conformance.report.style import CLASSES, bar, page
from kserve_v2_conformance.report.table import part_of
from kserve_v2_conformance.requirements import requirements
from kserve_v2_conformance.results import Outcome

_SIGNS = {"pass": "✓", "fail": "✗", "known failure": "(✗)", "not as advised": "~", "not covered": "·"}


class CompareError(ValueError):
    """Reports that cannot be compared; the text says why."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report, read back. `outcomes`: by clause."""

    server: str
    date: str
    outcomes: dict[str, Outcome]

    def counts(self, part: str) -> dict[str, int]:
        """How many clauses of a part have which outcome."""
        own = Counter(str(each) for clause, each in self.outcomes.items() if _part(clause) == part)
        return {name: own[name] for name in CLASSES}


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
            text = badge(reports[0].outcomes)
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
        name = f"{document['server']['name']} {document['server']['version']}".strip()
        return Report(name, document["date"], outcomes)
    except (KeyError, TypeError, ValueError) as error:
        raise CompareError(f"{file}: no report of this suite: {type(error).__name__}: {error}") from None


def _part(clause: str) -> str:
    return part_of(requirements()[clause])


def _parts() -> list[str]:
    return sorted(dict.fromkeys(map(_part, requirements())), key=lambda part: not part.startswith("core"))


def _verdict(counts: dict[str, int]) -> str:
    tested = sum(counts.values()) - counts["not covered"] - counts["not as advised"]
    return f"{counts['pass']} of {tested}" if tested else "–"


def _differing(reports: list[Report]) -> list[str]:
    """The clauses that at least one server does not keep."""
    kept = (Outcome.PASSED, Outcome.NOT_COVERED)
    return [
        clause
        for clause in requirements()
        if any(report.outcomes.get(clause, Outcome.NOT_COVERED) not in kept for report in reports)
    ]


def _markdown(reports: list[Report]) -> str:
    names = " | ".join(cell(report.server) for report in reports)
    line = "---|" * len(reports)
    lines = [f"| clauses kept | {names} |", f"|---|{line}"]
    for part in _parts():
        verdicts = " | ".join(_verdict(report.counts(part)) for report in reports)
        lines.append(f"| {part} | {verdicts} |")
    lines += ["", f"| clause | level | says | {names} |", f"|---|---|---|{line}"]
    for clause in _differing(reports):
        requirement = requirements()[clause]
        signs = " | ".join(_SIGNS[report.outcomes.get(clause, Outcome.NOT_COVERED)] for report in reports)
        lines.append(f"| {clause} | {requirement.level} | {cell(requirement.text)} | {signs} |")
    legend = ", ".join(f"{sign} {name}" for name, sign in _SIGNS.items())
    return "\n".join(
        [*lines, "", f"{legend}. Clauses that every server keeps, or that none was tested for, are left out."]
    )


def _html(reports: list[Report]) -> str:
    names = "".join(
        f'<th>{escape(each.server)}<br><span class="dim">{escape(each.date)}</span></th>' for each in reports
    )
    parts = []
    for part in _parts():
        cells = "".join(f"<td>{_verdict(each.counts(part))}{bar(each.counts(part))}</td>" for each in reports)
        parts.append(f"<tr><td>{escape(part)}</td>{cells}</tr>")
    clauses = []
    for clause in _differing(reports):
        requirement = requirements()[clause]
        outcomes = [report.outcomes.get(clause, Outcome.NOT_COVERED) for report in reports]
        cells = "".join(f'<td class="{CLASSES[each]}">{each}</td>' for each in outcomes)
        origin = f"{escape(requirement.source)}, {escape(requirement.section)}"
        says = f'{escape(requirement.text)}<br><span class="dim">{origin}</span>'
        head = f'<code>{clause}</code><br><span class="level">{requirement.level}</span>'
        clauses.append(f"<tr><td>{head}</td><td>{says}</td>{cells}</tr>")
    head = f"<tr><th>clause</th><th>says</th>{names}</tr>"
    return page(
        "v2 conformance, side by side",
        "<h1>KServe v2 / Open Inference Protocol: servers side by side</h1>"
        f"<h2>Clauses kept</h2><table><tr><th></th>{names}</tr>{''.join(parts)}</table>"
        f"<h2>Clauses that not all keep</h2><table>{head}{''.join(clauses)}</table>",
    )
