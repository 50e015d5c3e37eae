"""The HTML report."""

from kserve_v2_conformance.results import Results


def html_report(results: Results) -> str:
    return ""
