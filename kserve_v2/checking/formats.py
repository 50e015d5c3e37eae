"""Reports of what was found, for people and for what runs checks: text, JSON, GitHub's annotations, SARIF."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kserve_v2.checking.findings import Finding, Level, Rule
from kserve_v2.plain_text import in_a_line

Format = Callable[[Sequence[Finding], int], str]
"""Of all findings, and the number of models that were looked at. Ends without a line break."""

_GITHUB_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}
# What has a meaning in a URL.
_IN_URLS = "%:/?#[]@!$&'()*+,;="
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def counts(findings: Sequence[Finding]) -> Mapping[Level, int]:
    """How many there are of each level."""
    return {level: sum(finding.level is level for finding in findings) for level in Level}


def as_text(findings: Sequence[Finding], models: int) -> str:
    """As compilers do it: a line for each finding, which editors and terminals lead to its place."""
    lines: list[str] = []
    for finding in findings:
        place = f":{finding.line}:{finding.column}" if finding.line else ""
        first, *others = f"{finding.level.value}: {finding.text}".splitlines()
        lines.append(f"{in_a_line(_file(finding))}{place}: {first}")
        lines += [f"    {line}" for line in others]
        if finding.instead:
            lines.append(f"    write instead: {finding.instead}")
    number = counts(findings)
    found = ", ".join(
        f"{number[level]} {level.value}{'' if number[level] == 1 else 's'}"
        for level in Level
        if number[level] or level is not Level.NOTE
    )
    lines.append(f"{models} model{'' if models == 1 else 's'} checked: {found}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], models: int) -> str:
    """One object with all that is known. Members are added to it in later versions, and none is taken away."""
    number = counts(findings)
    report = {
        "models": models,
        "errors": number[Level.ERROR],
        "warnings": number[Level.WARNING],
        "notes": number[Level.NOTE],
        "findings": [
            {
                "level": finding.level.value,
                "rule": finding.rule.value,
                "model": finding.model or None,
                "versions": list(finding.versions),
                "file": _file(finding),
                "line": finding.line or None,
                "column": finding.column or None,
                "field": finding.field or None,
                "message": finding.message,
                "instead": finding.instead or None,
            }
            for finding in findings
        ],
    }
    return json.dumps(report, indent=2, ensure_ascii=False)


def as_github(findings: Sequence[Finding], models: int) -> str:
    """Workflow commands, which GitHub shows at the lines of a pull request."""
    lines = [_annotation(finding) for finding in findings]
    return "\n".join([*lines, as_text(findings, models).splitlines()[-1]])


def _annotation(finding: Finding) -> str:
    properties = {"file": _file(finding)}
    if finding.line:
        properties |= {"line": str(finding.line), "col": str(finding.column)}
    properties["title"] = finding.rule.about
    shown = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    text = finding.text + (f"\nwrite instead: {finding.instead}" if finding.instead else "")
    return f"::{_GITHUB_COMMANDS[finding.level]} {shown}::{_escaped(text)}"


def _escaped(text: str, also: str = "") -> str:
    """As GitHub reads it; the sign that escapes comes first."""
    for character in f"%\r\n{also}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def as_sarif(findings: Sequence[Finding], models: int) -> str:
    """SARIF 2.1.0, which code scanning services read. The number of models has no place in it."""
    del models
    rules = list(Rule)
    driver = {
        "name": "kserve-v2 check",
        "version": version("kserve-v2"),
        "rules": [{"id": rule.value, "shortDescription": {"text": rule.about}} for rule in rules],
    }
    results = [
        {
            "ruleId": finding.rule.value,
            "ruleIndex": rules.index(finding.rule),
            "level": finding.level.value,
            "message": {
                "text": finding.text + (f"\nWrite instead: {finding.instead}" if finding.instead else "")
            },
            "locations": [{"physicalLocation": _location(finding)}],
        }
        for finding in findings
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    log = {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False)


def _location(finding: Finding) -> dict[str, Any]:
    path = Path(_path(finding.path))
    uri = quote(finding.url, safe=_IN_URLS) or (
        path.as_uri() if path.is_absolute() else quote(path.as_posix())
    )
    location: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if finding.line:
        location["region"] = {"startLine": finding.line, "startColumn": finding.column}
    return location


def _file(finding: Finding) -> str:
    return finding.url or _path(finding.path)


def _path(path: Path) -> str:
    """Relative to where the command was started, if it lies below that."""
    whole = Path.cwd() / path
    try:
        return whole.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return whole.as_posix()


FORMATS: Mapping[str, Format] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
}
