"""Writes a report in the form that the name of its file asks for."""

import json
from pathlib import Path

from kserve_v2_conformance.report.html import html_report
from kserve_v2_conformance.report.markdown import markdown_report
from kserve_v2_conformance.results import Results


def write_report(results: Results, path: Path) -> None:
    """Write `.json`, `.html` or `.md`. Raises ValueError for another name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".json":
            text = json.dumps(results.as_json(), ensure_ascii=False, indent=1)
        case ".html":
            text = html_report(results)
        case ".md":
            text = markdown_report(results)
        case _:
            raise ValueError(f"--report {path}: expected a name that ends in .json, .html or .md")
    path.write_text(text + "\n", encoding="utf-8")
