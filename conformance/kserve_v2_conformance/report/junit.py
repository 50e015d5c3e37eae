"""The JUnit report, which CI systems show: a suite for each part, a test for each clause."""

import xml.etree.ElementTree as ET
from itertools import groupby

from kserve_v2_conformance.report.rows import rows, telling
from kserve_v2_conformance.results import ClauseResult, Outcome, Results
from kserve_v2_conformance.verdicts import part_of, parts


def junit_report(results: Results) -> str:
    """The XML. Advice that is not followed is a passed test with a note; what was not tested is skipped."""
    order = parts()
    clauses = sorted(results.clauses(), key=lambda each: order.index(part_of(each.requirement)))
    verdict = {row.verdict.part: row.verdict for row in rows(results, clauses)}
    server = f"{results.server['name']} {results.server['version']}".strip()
    root = ET.Element("testsuites", name=_clean(server))
    for part, group in groupby(clauses, key=lambda each: part_of(each.requirement)):
        own = list(group)
        suite = ET.SubElement(root, "testsuite", name=part, tests=str(len(own)))
        suite.set("failures", str(sum(each.outcome is Outcome.FAILED for each in own)))
        suite.set("skipped", str(sum(each.outcome is Outcome.NOT_COVERED for each in own)))
        properties = ET.SubElement(suite, "properties")
        ET.SubElement(properties, "property", name="verdict", value=str(verdict[part].word))
        for clause in own:
            suite.append(_test(part, clause))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _test(part: str, clause: ClauseResult) -> ET.Element:
    test = ET.Element("testcase", classname=part, name=clause.requirement.id)
    if clause.outcome is Outcome.NOT_COVERED:
        ET.SubElement(test, "skipped", message=_clean(clause.reason))
    elif clause.outcome is not Outcome.PASSED:
        case, finding = telling(clause)
        said = f"{clause.requirement.text}\n{case.id}: {finding.what}: expected {finding.expected}, got {finding.got}"
        if 0 <= finding.exchange < len(case.exchanges):
            exchange = case.exchanges[finding.exchange]
            said += f"\n\n{exchange.request}\n\n{exchange.answer}\n\n{exchange.command()}"
        failed = clause.outcome is Outcome.FAILED
        element = ET.SubElement(test, "failure" if failed else "system-out")
        if failed:
            element.set("message", _clean(f"{finding.what}: expected {finding.expected}, got {finding.got}"))
        element.text = _clean(said)
    return test


def _clean(text: str) -> str:
    """Without the characters that XML cannot have."""
    return "".join(
        each if each in "\t\n" or (each >= " " and each not in "\ufffe\uffff") else "�" for each in text
    )
