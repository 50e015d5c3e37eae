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


class ReportError(ValueError):
    """A report that cannot be written; the text says why."""


def check_report(path: Path) -> None:
    """Before a long run: whether its name says which form is wanted, and it can be written. Raises ReportError."""
    if path.suffix not in _WRITERS:
        raise ReportError(f"--report {path}: expected a name that ends in {FORMS}")
    existed = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise ReportError(f"--report {path}: {error.strerror}: {error.filename}") from None
    if not existed:
        path.unlink()


def write_report(results: Results, path: Path) -> None:
    """Write a report. Raises OSError."""
    path.write_text(_WRITERS[path.suffix](results) + "\n", encoding="utf-8", errors="replace")
