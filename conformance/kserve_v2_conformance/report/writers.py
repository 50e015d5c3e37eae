"""Writes a report in the form that the name of its file asks for."""

import json
from collections.abc import Callable
from pathlib import Path

from kserve_v2_conformance.report.badge import badge
from kserve_v2_conformance.report.document import document
from kserve_v2_conformance.report.html import html_report
from kserve_v2_conformance.report.junit import junit_report
from kserve_v2_conformance.report.markdown import markdown_report
from kserve_v2_conformance.results import Results
from kserve_v2_conformance.verdicts import verdicts

_WRITERS: dict[str, Callable[[Results], str]] = {
    ".html": html_report,
    ".json": lambda results: json.dumps(document(results), ensure_ascii=False, indent=1),
    ".md": markdown_report,
    ".svg": lambda results: badge(verdicts(results, results.clauses())),
    ".xml": junit_report,
}
FORMS = f"{', '.join(list(_WRITERS)[:-1])} or {list(_WRITERS)[-1]}"


def is_report(path: Path) -> bool:
    """Whether the name of a file says which form of report is wanted."""
    return path.suffix in _WRITERS


def write_report(results: Results, path: Path) -> None:
    """Write a report. Raises ValueError for a name that says no form."""
    if not is_report(path):
        raise ValueError(f"--report {path}: expected a name that ends in {FORMS}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_WRITERS[path.suffix](results) + "\n", encoding="utf-8", errors="replace")
