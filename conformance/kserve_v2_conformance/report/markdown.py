"""The Markdown report."""

from kserve_v2_conformance.results import Results


def markdown_report(results: Results) -> str:
    return ""
